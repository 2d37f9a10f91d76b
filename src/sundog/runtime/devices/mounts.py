"""The mounts that edits of CDI become: links, binds with options, device nodes.

A link is made where other mounts have their mount points.  If something is there already, a mounted
link covers it, as a file can be covered.  So it needs no writable image, and no image keeps it.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import symlink
from sundog.base.kernel.libc import printable
from sundog.base.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    AT_SYMLINK_NOFOLLOW,
    MOVE_MOUNT_F_EMPTY_PATH,
    OPEN_TREE_CLONE,
    mount_setattr,
    move_mount,
    open_tree,
)
from sundog.runtime.container.mountpoint import MountPoint
from sundog.runtime.container.operations import (
    CREATED,
    OPTIONAL,
    Bind,
    DetachedMount,
    copy_of_mounts,
    own_directory,
)

STALE_HINT = "check the path; if a CDI specification names it, generate the specification again"


class LinkMount(DetachedMount):
    """Show a symbolic link to ``target``."""

    __slots__ = ("target",)

    def __init__(self, target: bytes, destination: bytes) -> None:
        super().__init__(destination, CREATED)
        self.target = target

    def what(self) -> str:
        """See ``DetachedMount``."""
        return f"link to {printable(self.target)}"

    def generate(self, scratch: int) -> None:
        """Make the link in the scratch tmpfs."""
        path = own_directory(scratch, self.destination) + b"/link"
        symlink(self.target, path)
        self.tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | AT_SYMLINK_NOFOLLOW)

    def covers_directory(self) -> bool:
        """See ``DetachedMount``."""
        return False

    def mount_point(self) -> MountPoint:
        """See ``DetachedMount``."""
        return MountPoint(self.destination, is_directory=False, link=self.target)

    def attach(self) -> None:
        """Make the link, or cover what is at its destination, unless that is an equal link."""
        if self._is_there():
            os.close(self.tree)
        else:
            super().attach()

    def _is_there(self) -> bool:
        try:
            return os.readlink(self.destination) == self.target
        except OSError:
            return False

    def move(self) -> None:
        """See ``DetachedMount``; a link at the destination is covered, and not followed."""
        if self._is_there():
            return
        move_mount(self.tree, b"", AT_FDCWD, self.destination, MOVE_MOUNT_F_EMPTY_PATH)


class DriverBind(Bind):
    """Show a file or a directory of the host with ``attributes`` (MOUNT_ATTR_*)."""

    __slots__ = ("attributes",)

    def __init__(self, source: bytes, destination: bytes, attributes: int) -> None:
        super().__init__(source, destination, CREATED)
        self.attributes = attributes

    def acquire(self) -> None:
        """See ``DetachedMount``."""
        self.tree = copy_of_mounts(self.source, STALE_HINT, writable=True)
        if self.attributes:
            mount_setattr(self.tree, b"", AT_EMPTY_PATH | AT_RECURSIVE, self.attributes)


class HostNode(DetachedMount):
    """A device node that the container sees in the host's /dev, without a mount of its own."""

    __slots__ = ()

    def __init__(self, destination: bytes) -> None:
        super().__init__(destination, OPTIONAL)

    def describe(self) -> str:
        """Describe it in one line."""
        return f"device {printable(self.destination)} of the host's /dev"

    def attach(self) -> None:
        """Do nothing: it is there."""
