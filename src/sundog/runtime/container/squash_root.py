"""A root file system that is one file: SquashFS, which a server of FUSE shows."""

from __future__ import annotations

import os

from sundog.base.kernel.libc import printable
from sundog.base.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    MOVE_MOUNT_F_EMPTY_PATH,
    OPEN_TREE_CLONE,
    move_mount,
    open_tree,
)
from sundog.runtime.container.enter import cover_root, topmost_mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.root import Root

SQUASH_PLACE = b"image"


class SquashRoot:
    """The file ``path``, which the detached mount ``tree`` shows.  See ``root.Root``."""

    __slots__ = ("_is_attached", "path", "tree")

    binds: tuple[tuple[bytes, bytes], ...] = ()
    directory = b""

    def __init__(self, path: bytes, tree: int) -> None:
        self.path = path
        self.tree = tree
        self._is_attached = False

    def describe(self, *, writable: bool) -> str:  # noqa: ARG002 - nothing can write to it
        """See ``Root``."""
        return f"mount the file {printable(self.path)} at / (read-only)"

    def attach(self, place: bytes) -> None:
        """Show the file at ``place``, a directory.  Raises KernelError."""
        move_mount(self.tree, b"", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH)
        self._is_attached = True

    def hold(self, *, writable: bool) -> int:  # noqa: ARG002
        """See ``Root``."""
        if self._is_attached:
            return open_tree(self.tree, b"", OPEN_TREE_CLONE | AT_EMPTY_PATH)
        return self.tree

    def mount(self, held: int) -> int:
        """See ``Root``."""
        cover_root(held)
        self._is_attached = True
        return held

    def show(self, place: bytes) -> tuple[int, int]:
        """See ``Root``."""
        self.attach(place)
        return self.tree, 0

    def lowers(self) -> tuple[bytes, list[bytes]]:
        """See ``Root``.

        Overlayfs takes only lowers that are attached.  So this attaches the mount in the topmost
        mount, which is a scratch tmpfs, unless it is attached already.
        """
        if not self._is_attached:
            place = b"/proc/self/fd/%d/%b" % (topmost_mount(), SQUASH_PLACE)
            os.mkdir(place)
            self.attach(place)
        return b"/", [b"/proc/self/fd/%d" % self.tree]

    def unchanged(self) -> Root:
        """See ``Root``: nothing can be written to it."""
        return self
