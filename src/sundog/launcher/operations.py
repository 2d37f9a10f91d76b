"""The mounts that a plan is made of: what each shows, of the host or of our own, and where.

A mount runs in three phases: ``acquire`` takes hold of what the host has to show, as long as
nothing of ours is mounted over it; ``generate`` makes what the host does not have; and after the
change of root ``attach`` mounts either where the container wants it.  By then "/" is the
container's, so a symbolic link in the image, absolute or not, leads where its programs would see
it lead, and never to a path of the host.

Floor 0.
"""

import errno
import os

from sundog.errors import KernelError, SundogError
from sundog.kernel.libc import kernel_error, printable
from sundog.kernel.mounts import (
    AT_FDCWD,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_SYMLINKS,
    MS_NODEV,
    MS_NOSUID,
    OPEN_TREE_CLONE,
    mount,
    move_mount,
    open_tree,
)
from sundog.launcher.enter import copy_tree
from sundog.launcher.mountpoint import make_mount_point
from sundog.launcher.paths import is_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Operation(Protocol):
        """A step of a plan."""

        need: str
        destination: bytes

        def describe(self) -> str: ...  # noqa: D102
        def acquire(self) -> None: ...  # noqa: D102
        def generate(self, scratch: int, /) -> None: ...  # noqa: D102
        def attach(self) -> None: ...  # noqa: D102
        def covers_directory(self) -> bool: ...  # noqa: D102


# What if a mount point is missing?
OPTIONAL = "optional"  # skip the mount, and likewise if its source is missing
REQUIRED = "required"  # fail
CREATED = "created"  # make it

SOURCE_HINT = "the source of a bind is a path of the host"
SOURCE_HINTS = {b"/tmp": "it is what $TMPDIR says; -t gives the container a /tmp of its own"}

MISSING_HINT = "create it in the image; or -W lets it be created for this one run"
MISSING_HINTS = {
    b"/etc/passwd": "--no-passwd does without; or " + MISSING_HINT,
    b"/etc/group": "--no-passwd does without; or " + MISSING_HINT,
}


class Detached:
    """A mount that is taken hold of on the host's side and attached on the container's.

    ``need`` is OPTIONAL, REQUIRED or CREATED.
    """

    __slots__ = ("destination", "need", "tree")

    def __init__(self, destination: bytes, need: str) -> None:
        self.destination = destination
        self.need = need
        self.tree = -1  # the detached mount, from acquire to attach

    def acquire(self) -> None:
        """Take hold of something of the host's."""

    def generate(self, scratch: int) -> None:
        """Make something in the ``scratch`` tmpfs."""

    def attach(self) -> None:
        """Mount it at its destination, from the container's point of view."""
        try:
            attach_at(self.destination, self.need, self.covers_directory, self.move)
        finally:
            os.close(self.tree)

    def covers_directory(self) -> bool:
        """Tell whether it has to be mounted on a directory."""
        return is_directory(self.tree)

    def move(self) -> None:
        """Mount it at its destination, which exists; symbolic links there are followed."""
        flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS
        move_mount(self.tree, b"", AT_FDCWD, self.destination, flags)


class Bind(Detached):
    """Show ``source``, a file or directory of the host and all mounts below, in the container."""

    __slots__ = ("source", "writable")

    def __init__(
        self, source: bytes, destination: bytes, need: str = REQUIRED, *, writable: bool = True
    ) -> None:
        super().__init__(destination, need)
        self.source = source
        self.writable = writable

    def describe(self) -> str:
        """Say in one line what it does."""
        how = self.need if self.writable else f"{self.need}, read-only"
        return f"bind {printable(self.source)} at {printable(self.destination)} ({how})"

    def acquire(self) -> None:
        """Take a copy of the source's mounts."""
        hint = SOURCE_HINTS.get(self.destination, SOURCE_HINT)
        self.tree = copy_of_mounts(self.source, hint, writable=self.writable)


class GeneratedFile(Detached):
    """Show a file with ``contents``, which exists nowhere on the host, at ``destination``."""

    __slots__ = ("contents",)

    def __init__(self, contents: bytes, destination: bytes, need: str = REQUIRED) -> None:
        super().__init__(destination, need)
        self.contents = contents

    def describe(self) -> str:
        """Say in one line what it does."""
        size = len(self.contents)
        return f"bind a file of {size} bytes at {printable(self.destination)} ({self.need})"

    def generate(self, scratch: int) -> None:
        """Write the file to the scratch tmpfs."""
        name = self.destination.replace(b"/", b"%")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(name, flags, 0o644, dir_fd=scratch)
        os.write(fd, self.contents)
        os.close(fd)
        self.tree = open_tree(scratch, name, OPEN_TREE_CLONE)


class Tmpfs:
    """Mount an empty tmpfs of the default size and mode at ``destination``."""

    __slots__ = ("destination", "need")

    def __init__(self, destination: bytes, need: str = REQUIRED) -> None:
        self.destination = destination
        self.need = need

    def describe(self) -> str:
        """Say in one line what it does."""
        return f"mount tmpfs at {printable(self.destination)} ({self.need})"

    def acquire(self) -> None:
        """Do nothing: it needs nothing of the host."""

    def generate(self, scratch: int) -> None:
        """Do nothing: it is made where it is wanted."""

    def attach(self) -> None:
        """Mount it, from the container's point of view."""
        attach_at(self.destination, self.need, self.covers_directory, self.mount)

    def covers_directory(self) -> bool:
        """Tell that it has to be mounted on a directory."""
        return True

    def mount(self) -> None:
        """Mount it at its destination, which exists; symbolic links there are followed."""
        mount(b"sundog", self.destination, b"tmpfs", MS_NOSUID | MS_NODEV, None)


def copy_of_mounts(source: bytes, hint: str = SOURCE_HINT, *, writable: bool) -> int:
    """Return a detached copy of the mount of ``source`` and of all below.

    Raises KernelError, or SundogError with the ``hint`` if there is no ``source``.
    """
    try:
        return copy_tree(source, writable=writable)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            raise SundogError(f"can't bind: source not found: {printable(source)}", hint) from None
        action = f"bind {printable(source)}"
        raise kernel_error(error.call, source, error.errno, action) from None


def attach_at(
    destination: bytes,
    need: str,
    covers_directory: "Callable[[], bool]",
    attach: "Callable[[], None]",
) -> None:
    """Call ``attach``; if its ``destination`` is missing and is to be CREATED, make it first."""
    try:
        attach()
    except KernelError as error:
        if error.errno == errno.EINVAL and covers_directory() != is_directory(destination):
            raise SundogError(
                f"can't bind to {printable(destination)}: one is a directory, the other is not",
                "a directory can only cover a directory, a file only a file",
            ) from None
        if error.errno != errno.ENOENT:
            action = f"bind to {printable(destination)}"
            raise kernel_error(error.call, destination, error.errno, action) from None
        if need != CREATED:
            raise SundogError(
                f"can't bind: destination not found: {printable(destination)}",
                MISSING_HINTS.get(destination, MISSING_HINT),
            ) from None
        make_mount_point(destination, is_directory=covers_directory())
        attach()
