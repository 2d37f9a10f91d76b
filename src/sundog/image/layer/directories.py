"""The directories of one tree, opened by path and kept open while they are in use.

A path that is opened here can't lead out of the tree: the kernel refuses every symlink on the way
(openat2, RESOLVE_NO_SYMLINKS).

The kernel resolves a path component by component.  To open each directory of a deep tree from the
root would therefore take quadratic time.  A directory is opened from its parent on the way down,
and, where the path is long, from its child on the way up.  This is right only while no other
process moves directories of the tree.
"""

from __future__ import annotations

import os
from typing import Self

from sundog.base.kernel.mounts import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from sundog.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RESOLVE = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH
_CAPACITY = 32
_NEAR = 16  # components that are resolved at once; this many cost next to nothing


class Directories:
    """Open directories below ``root``, by their paths relative to it; a context manager.

    At most ``_CAPACITY`` are open.  A descriptor is good until that many others have been
    opened.
    """

    def __init__(self, root: bytes) -> None:
        self.root = root
        self._root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._open: dict[bytes, int] = {}  # the least recently used first

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.forget(b"")
        os.close(self._root_fd)

    def open(self, path: bytes) -> int:
        """Return a descriptor of the directory ``path``; b"" is the root.

        The descriptor stays this object's; do not close it.  Raises OSError.
        """
        if not path:
            return self._root_fd
        fd = self._open.pop(path, -1)
        if fd < 0:
            return self._keep(path, self._open_new(path))
        self._open[path] = fd
        return fd

    def forget(self, path: bytes) -> None:
        """Close ``path`` and the directories below it, for example before they are removed."""
        below = path + b"/" if path else b""
        for opened in [o for o in self._open if o == path or o.startswith(below)]:
            os.close(self._open.pop(opened))

    def _keep(self, path: bytes, fd: int) -> int:
        while len(self._open) >= _CAPACITY:
            os.close(self._open.pop(next(iter(self._open))))
        self._open[path] = fd
        return fd

    def _open_new(self, path: bytes) -> int:
        parent, _, name = path.rpartition(b"/")
        if not parent or parent in self._open:
            return _open_from(self.open(parent), name, path)  # the parent is now the last used
        if path.count(b"/") <= _NEAR:
            ancestor, fd = self._nearest(path)
            return _open_from(fd, path[len(ancestor) :].lstrip(b"/"), path)
        fd = self._from_child(path)
        if fd >= 0:
            return fd
        ancestor, fd = self._nearest(parent)
        rest = parent[len(ancestor) :].lstrip(b"/")
        return _open_from(self._keep(parent, _open_from(fd, rest, parent)), name, path)

    def _nearest(self, path: bytes) -> tuple[bytes, int]:
        """Return the nearest directory above ``path`` that is open, and its descriptor."""
        nearest = max((o for o in self._open if path.startswith(o + b"/")), key=len, default=b"")
        return nearest, self.open(nearest)

    def _from_child(self, path: bytes) -> int:
        """Open ``path`` from the directory used last, if that is its child; else return -1."""
        last = next(reversed(self._open), b"")
        if last.rpartition(b"/")[0] != path:
            return -1
        try:
            return os.open(b"..", _FLAGS, dir_fd=self._open[last])
        except PermissionError:  # the child's mode may forbid it
            return -1


def _open_from(fd: int, rest: bytes, path: bytes) -> int:
    """Open ``rest`` relative to the directory ``fd``; ``path`` is for the error."""
    try:
        return openat2(fd, rest, _FLAGS, _RESOLVE)
    except KernelError as error:
        raise OSError(error.errno, os.strerror(error.errno), path) from error
