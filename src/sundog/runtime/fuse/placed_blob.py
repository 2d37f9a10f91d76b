"""The bytes of a layer file that stays in an OCI layout, perhaps a stranger's: read there.

The user hears once for each blob what is wrong with it.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.files import STDERR_FILENO, open_regular
from sundog.base.kernel.libc import printable
from sundog.base.kernel.mounts import RESOLVE_BENEATH
from sundog.base.record.layer_path import LAYER_FILE
from sundog.base.record.lazy_layer import read_place
from sundog.runtime.fuse.blob import WholeBlob
from sundog.runtime.fuse.waiting import read_at

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class PlacedBlob(WholeBlob):
    """The blob of a layer in an OCI layout."""

    __slots__ = ("_fd", "_has_told", "_shown", "_size")

    def __init__(self, directory: int, place: int) -> None:
        """Open the blob of the layer in ``directory``; ``place`` is the layer's open file.

        Raises OSError if no such blob is there any more.
        """
        self._size = os.stat(LAYER_FILE[1:], dir_fd=directory, follow_symlinks=False).st_size
        layout, name = read_place(place)
        self._shown = printable(layout + b"/" + name)
        self._has_told = False
        try:
            root = os.open(layout, _DIRECTORY)
        except OSError:
            self._fd = -1
        else:
            self._fd = open_regular(root, name, RESOLVE_BENEATH)
            os.close(root)
        if self._fd < 0 or os.fstat(self._fd).st_size != self._size:
            raise OSError(errno.EIO, "the blob is not there, or is another one")

    def read(self, offset: int, size: int) -> bytes:
        """See ``Blob``."""
        if not 0 <= offset <= offset + size <= self._size:
            raise OSError(errno.EIO, "no such bytes in the layer file")
        try:
            data = read_at(self._fd, size, offset)
            while len(data) < size:
                more = read_at(self._fd, size - len(data), offset + len(data))
                if not more:
                    raise self._error("is shorter than before")
                data += more
        except OSError as error:
            raise self._error(os.strerror(error.errno or errno.EIO).lower()) from None
        return data

    def discard(self, offset: int, wrong: bytes) -> bool:
        """See ``Blob``: no other place has it."""
        self._error(f"has wrong bytes: {len(wrong)} at {offset}")
        return False

    def _error(self, what: str) -> OSError:
        """Tell the user, once; return an error."""
        if not self._has_told:
            self._has_told = True
            line = f"ch-run[{os.getpid()}]: the image can't be read: {self._shown} {what}\n"
            try:  # noqa: SIM105 - contextlib is no part of the server
                os.write(STDERR_FILENO, line.encode("utf-8", "backslashreplace"))
            except OSError:
                pass  # nobody reads it any more
        return OSError(errno.EIO, what)
