"""Read a small file that a user wrote: a Dockerfile, an ignore file.

The directory may come from anywhere.  So the reader first checks the type and the size of the file:
reading a FIFO or a device might never end.
"""

from __future__ import annotations

import errno
import os
import stat

from sundog.base.kernel.files import Closing
from sundog.errors import BuildError

# Links to the files that the shell opened for this process: a pipe is as good as a file there.
_STREAMS = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")


def read_document(path: str, limit: int) -> bytes:
    """Return the contents of the file ``path``.

    Raises OSError, or BuildError if it is not a regular file or has more than ``limit`` bytes.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    return read_open_document(fd, path, limit, any_kind=path.startswith(_STREAMS))


def read_open_document(fd: int, path: str, limit: int, *, any_kind: bool = False) -> bytes:
    """Return the contents of the open file ``fd`` and close it; else as ``read_document``."""
    with Closing(fd):
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode) and not any_kind:
            raise BuildError(f"can't read {path}: it is not a regular file")
        os.set_blocking(fd, True)
        with open(fd, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    if len(data) > limit:
        raise BuildError(f"can't read {path}: it has more than {limit >> 10} kiB")
    return data
