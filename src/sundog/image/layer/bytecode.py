"""Byte code of Python that stays valid in an archive whose times have a limit.

``import`` writes the time and the size of a source into the ``.pyc`` file.  If the source leaves
with an earlier time, Python would compile it anew at each start.  A ``.pyc`` file may name a hash
of the source in their place, and is valid then as long as the source has these contents.

Specification: PEP 552 (the header), PEP 3147 (the names); ``_imp.source_hash`` (the hash).
"""

from __future__ import annotations

import os
import stat

from sundog.base.cpython import source_hash
from sundog.base.kernel.files import Closing
from sundog.base.kernel.mounts import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from sundog.errors import KernelError
from sundog.image.layer.names import joined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    # Returns a descriptor of the regular file at a path, or None.
    Find = Callable[[bytes], int | None]

HEAD_SIZE = 16
_CHECKED_HASH = 3  # the flags of a file that names a hash, which Python compares with the source
_FIRST_MAGIC = 3450  # of Python 3.11, which has this hash, and so have all later ones
_LAST_MAGIC = 20_000  # larger numbers are those of Python 2
_SOURCE_LIMIT = 64 << 20
_WORD = 0xFFFFFFFF


def head_with_hash(path: bytes, file: int, latest: int, find: Find) -> bytes:
    """Return the header that the open ``file`` at ``path`` gets in an archive; b"" for its own.

    No member of the archive is younger than ``latest``, in seconds since 1970.  ``find`` looks for
    the source.  The header changes only if the source is younger, and the file is valid now.
    """
    source_path = _source_path(path)
    if not source_path:
        return b""
    head = os.pread(file, HEAD_SIZE, 0)
    magic, flags, seconds, size = (
        int.from_bytes(head[start : start + 4], "little") for start in range(0, HEAD_SIZE, 4)
    )
    is_known = _FIRST_MAGIC <= magic & 0xFFFF < _LAST_MAGIC and head[2:4] == b"\r\n"
    if len(head) < HEAD_SIZE or not is_known or flags or seconds <= latest:
        return b""
    source = find(source_path)
    if source is None:
        return b""
    with Closing(source):
        status = os.fstat(source)
        if (int(status.st_mtime) & _WORD, status.st_size) != (seconds, size):
            return b""
        if not stat.S_ISREG(status.st_mode) or status.st_size > _SOURCE_LIMIT:
            return b""
        with open(source, "rb", closefd=False) as opened:
            text = opened.read()
    return head[:4] + _CHECKED_HASH.to_bytes(4, "little") + source_hash(magic, text)


def finder(trees: Sequence[bytes]) -> Find:
    """Return what looks for a file in the directories ``trees``, the topmost first."""

    def find(path: bytes) -> int | None:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        for tree in trees:
            with Closing(os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
                try:
                    return openat2(root, path, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
                except KernelError:
                    continue
        return None

    return find


def _source_path(path: bytes) -> bytes:
    """Return the path of the source of byte code; b"" if ``path`` is no byte code."""
    directory, _, name = path.rpartition(b"/")
    if not name.endswith(b".pyc"):
        return b""
    parent, _, last = directory.rpartition(b"/")
    if last != b"__pycache__":
        return path[:-1]
    return joined(parent, name.partition(b".")[0] + b".py")
