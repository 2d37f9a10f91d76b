"""The directories of one tree, opened by path and kept open while they are in use.

A path that is opened here can't lead out of the tree: the kernel refuses every symlink on the way
(openat2, RESOLVE_NO_SYMLINKS).

Must not import anything of ``sundog`` but ``errors`` and ``kernel``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from sundog.errors import KernelError
from sundog.kernel.mounts import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

if TYPE_CHECKING:
    from types import TracebackType

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RESOLVE = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH
_PATH_LIMIT = 4000  # PATH_MAX is 4096


class Directories:
    """Open directories below ``root``, by path relative to it; a context manager.

    At most ``capacity`` are open.  A descriptor is good until that many others have been opened.
    """

    def __init__(self, root: bytes, capacity: int = 32) -> None:
        self.root = root
        self._root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._open: dict[bytes, int] = {}  # the least recently used first
        self._capacity = capacity

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

        It is still this object's: not to be closed.  Raises OSError.
        """
        if not path:
            return self._root_fd
        fd = self._open.pop(path, -1)
        if fd < 0:
            fd = self._open_below(path)
            if len(self._open) >= self._capacity:
                os.close(self._open.pop(next(iter(self._open))))
        self._open[path] = fd
        return fd

    def forget(self, path: bytes) -> None:
        """Close ``path`` and what is below it: it may be about to go."""
        below = path + b"/" if path else b""
        for opened in [o for o in self._open if o == path or o.startswith(below)]:
            os.close(self._open.pop(opened))

    def _open_below(self, path: bytes) -> int:
        """Open ``path`` from the nearest ancestor that is open, piecewise if it is very long."""
        ancestor, fd = path, -1
        while ancestor and fd < 0:
            ancestor = ancestor.rpartition(b"/")[0]
            fd = self._open.get(ancestor, -1)
        if fd < 0:
            fd = self._root_fd
        rest = path[len(ancestor) :].lstrip(b"/")
        on_the_way = -1
        try:
            while len(rest) > _PATH_LIMIT:
                end = rest.rfind(b"/", 0, _PATH_LIMIT)
                piece, rest = rest[:end], rest[end + 1 :]
                fd = openat2(fd, piece, _FLAGS, _RESOLVE)
                if on_the_way >= 0:
                    os.close(on_the_way)
                on_the_way = fd
            return openat2(fd, rest, _FLAGS, _RESOLVE)
        except KernelError as error:
            raise OSError(error.errno, os.strerror(error.errno), path) from error
        finally:
            if on_the_way >= 0:
                os.close(on_the_way)
