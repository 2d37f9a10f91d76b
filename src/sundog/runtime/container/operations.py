"""The mounts of a plan: what each shows (of the host, or made by Sundog), and where.

A mount runs in phases.  ``acquire`` takes hold of the host's files, before Sundog mounts anything
over them.  ``generate`` makes what the host does not have, and ``inspect`` what depends on the
root.  After the change of root, ``attach`` mounts each at its place in the container.  By then "/"
is the container's.  So a symbolic link in the image, absolute or not, leads where the image's
programs see it lead, and never to a path of the host.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.files import Closing, write_all
from sundog.base.kernel.libc import kernel_error, printable
from sundog.base.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_SYMLINKS,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    OPEN_TREE_CLONE,
    RESOLVE_NO_MAGICLINKS,
    mount,
    mount_setattr,
    move_mount,
    open_tree,
)
from sundog.errors import KernelError, SundogError
from sundog.runtime.container.enter import copy_tree
from sundog.runtime.container.mountpoint import MountPoint, components, make_mount_point
from sundog.runtime.container.paths import is_directory, shown_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class Operation(Protocol):
        """A step of a plan."""

        need: str
        destination: bytes
        is_own: bool

        def describe(self) -> str: ...  # noqa: D102
        def acquire(self) -> None: ...  # noqa: D102
        def generate(self, scratch: int, /) -> None: ...  # noqa: D102
        def inspect(self, root: int, scratch: int, /) -> None: ...  # noqa: D102
        def attach(self) -> None: ...  # noqa: D102
        def mount_point(self) -> MountPoint: ...  # noqa: D102
        def remove(self) -> None: ...  # noqa: D102


# Treatments of a missing mount point:
OPTIONAL = "optional"  # skip the mount; also skip it if its source is missing
REQUIRED = "required"  # fail
CREATED = "created"  # make it
DESIRED = "desired"  # make it; skip the mount if that is not possible
MADE = (CREATED, DESIRED)
SKIPPED = (OPTIONAL, DESIRED)

_SMALL_FILE = 1 << 16  # in bytes: a few of them fit into the scratch tmpfs

_SOURCE_HINT = "the source of a bind is a path of the host"
_SOURCE_HINTS = {b"/tmp": "$TMPDIR names it; -t gives the container a /tmp of its own"}

_MISSING_HINT = "create it in the image, or use -W to create it for this one run"
_MISSING_HINTS = {
    b"/etc/passwd": "use --no-passwd; or " + _MISSING_HINT,
    b"/etc/group": "use --no-passwd; or " + _MISSING_HINT,
}


class DetachedMount:
    """A mount that Sundog takes hold of on the host's side and attaches on the container's side.

    ``need`` is OPTIONAL, REQUIRED, CREATED or DESIRED.  Each kind says ``what`` it does.  It takes
    hold of its source in ``acquire``, or makes it in ``generate``.  From then on, until it is
    attached, ``tree`` is the detached mount.  ``is_own`` says that the source is in a directory
    that is hidden from others (``hidden.Hidden``).  With ``in_tmpfs``, the destination lies in a
    tmpfs of this container, so the mount point can be made there.
    """

    __slots__ = ("destination", "in_tmpfs", "is_own", "need", "tree", "writable")

    def __init__(
        self,
        destination: bytes,
        need: str = REQUIRED,
        *,
        writable: bool = True,
        in_tmpfs: bool = False,
        is_own: bool = False,
    ) -> None:
        self.destination = destination
        self.in_tmpfs = in_tmpfs
        self.need = need
        self.writable = writable
        self.is_own = is_own
        self.tree = -1

    def follow(self, earlier: Sequence[Operation]) -> None:
        """Take into account whether one of the ``earlier`` mounts is a tmpfs below this one."""
        self.in_tmpfs = self.in_tmpfs or _is_in_tmpfs(self.destination, earlier)

    def describe(self) -> str:
        """Describe in one line what it does."""
        how = self.need if self.writable else f"{self.need}, read-only"
        return f"{self.what()} at {printable(self.destination)} ({how})"

    def what(self) -> str:
        """Describe what is mounted."""
        raise NotImplementedError

    def acquire(self) -> None:
        """Take hold of the source on the host."""

    def generate(self, scratch: int) -> None:
        """Make the source in the ``scratch`` tmpfs."""

    def inspect(self, root: int, scratch: int) -> None:
        """Make in ``scratch`` what depends on the mounted ``root``, a directory."""

    def attach(self) -> None:
        """Mount it at its destination, from the container's point of view."""
        with Closing(self.tree):
            self._attach()

    def remove(self) -> None:
        """Undo changes that attaching it made in the image: none."""

    def covers_directory(self) -> bool:
        """Tell whether its mount point must be a directory."""
        return is_directory(self.tree)

    def mount_point(self) -> MountPoint:
        """Return what has to be at its destination."""
        return MountPoint(self.destination, is_directory=self.covers_directory())

    def move(self) -> None:
        """Mount it at its destination, which exists; follow symbolic links there."""
        flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS
        move_mount(self.tree, b"", AT_FDCWD, self.destination, flags)

    def _attach(self) -> None:
        destination = self.destination
        try:
            self.move()
        except KernelError as error:
            if error.errno == errno.EINVAL and self.covers_directory() != is_directory(destination):
                raise SundogError(
                    f"can't bind to {printable(destination)}: one is a directory, the other is not",
                    "a directory can only cover a directory, a file only a file",
                ) from None
            if error.errno != errno.ENOENT:
                action = f"bind to {printable(destination)}"
                raise kernel_error(error.call, destination, error.errno, action) from None
            if self.need not in MADE:
                raise SundogError(
                    f"can't bind: destination not found: {printable(destination)}",
                    _MISSING_HINTS.get(destination, _MISSING_HINT),
                ) from None
            self.make_mount_point()
            self.move()

    def make_mount_point(self) -> None:
        """Make the mount point at the destination, in the image or in a tmpfs."""
        if self.in_tmpfs:
            make_mount_point(self.mount_point(), inside=RESOLVE_NO_MAGICLINKS)
        else:
            make_mount_point(self.mount_point())


class Bind(DetachedMount):
    """Show ``source``, a file or directory of the host and all mounts below, in the container.

    With ``covers_link``, it covers a symbolic link at its destination, and not the link's target.
    """

    __slots__ = ("covers_link", "source")

    def __init__(
        self,
        source: bytes,
        destination: bytes,
        need: str = REQUIRED,
        *,
        writable: bool = True,
        covers_link: bool = False,
        in_tmpfs: bool = False,
        is_own: bool = False,
    ) -> None:
        super().__init__(destination, need, writable=writable, in_tmpfs=in_tmpfs, is_own=is_own)
        self.source = source
        self.covers_link = covers_link

    def what(self) -> str:
        """See ``DetachedMount``."""
        return f"bind {shown_path(self.source)}"

    def acquire(self) -> None:
        """Take a copy of the source's mounts."""
        hint = _SOURCE_HINTS.get(self.destination, _SOURCE_HINT)
        self.tree = copy_of_mounts(self.source, hint, writable=self.writable)

    def move(self) -> None:
        """See ``DetachedMount``."""
        if not self.covers_link:
            return super().move()
        return move_mount(self.tree, b"", AT_FDCWD, self.destination, MOVE_MOUNT_F_EMPTY_PATH)


class FileMount(DetachedMount):
    """Show a file with ``contents``, which is on no disk; its permissions are ``mode``."""

    __slots__ = ("contents", "mode")

    def __init__(
        self,
        contents: bytes,
        destination: bytes,
        need: str = REQUIRED,
        *,
        mode: int = 0o644,
        writable: bool = True,
    ) -> None:
        super().__init__(destination, need, writable=writable)
        self.contents = contents
        self.mode = mode

    def what(self) -> str:
        """See ``DetachedMount``."""
        return f"bind a file of {len(self.contents)} bytes"

    def generate(self, scratch: int) -> None:
        """Write the file: a small one to the scratch tmpfs, a large one to a tmpfs of its own."""
        place = own_directory(scratch, self.destination)
        if len(self.contents) > _SMALL_FILE:
            mount_tmpfs(place, b"size=%d" % (len(self.contents) + _SMALL_FILE))
        path = place + b"/file"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        write_all(fd, self.contents)
        os.fchmod(fd, self.mode)
        os.close(fd)
        self.tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE)
        if not self.writable:
            mount_setattr(self.tree, b"", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY)


class TmpfsMount(DetachedMount):
    """Show an empty tmpfs; ``options`` are those of tmpfs(5), for mount(2)."""

    __slots__ = ("executable", "options")

    def __init__(
        self,
        destination: bytes,
        need: str = REQUIRED,
        *,
        options: bytes = b"",
        executable: bool = True,
        writable: bool = True,
    ) -> None:
        super().__init__(destination, need, writable=writable)
        self.options = options
        self.executable = executable

    def what(self) -> str:
        """See ``DetachedMount``."""
        return "mount tmpfs"

    def generate(self, scratch: int) -> None:
        """Mount it out of sight."""
        place = own_directory(scratch, self.destination)
        mount_tmpfs(place, self.options, 0 if self.executable else MS_NOEXEC)
        self.tree = open_tree(AT_FDCWD, place, OPEN_TREE_CLONE)
        if not self.writable:
            mount_setattr(self.tree, b"", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY)


def _is_in_tmpfs(destination: bytes, earlier: Sequence[Operation]) -> bool:
    """Tell whether ``destination`` lies in a tmpfs, and below no mount of another kind."""
    names = components(destination)
    is_found = False
    for step in earlier:
        above = components(step.destination)
        if names[: len(above)] == above:
            is_found = isinstance(step, TmpfsMount) and len(above) < len(names)
            if not is_found:
                break
    return is_found and b".." not in names


def mount_tmpfs(place: bytes, options: bytes, flags: int = 0) -> None:
    """Mount a tmpfs with ``options`` of tmpfs(5), and with further ``flags`` of mount(2)."""
    try:
        mount(b"sundog", place, b"tmpfs", MS_NOSUID | MS_NODEV | flags, options or None)
    except KernelError as error:
        raise kernel_error("mount", place, error.errno, "mount a tmpfs") from None


def own_directory(scratch: int, destination: bytes) -> bytes:
    """Make a directory in the ``scratch`` tmpfs for the files that go to ``destination``."""
    name = b"mount-" + destination.strip(b"/").replace(b"/", b"%")[:200]
    while True:
        try:
            os.mkdir(name, dir_fd=scratch)
        except FileExistsError:
            name += b"+"
        else:
            return b"/proc/self/fd/%d/%b" % (scratch, name)


def copy_of_mounts(source: bytes, hint: str = _SOURCE_HINT, *, writable: bool) -> int:
    """Return a detached copy of the mount of ``source`` and of all mounts below.

    Raises KernelError, or SundogError with the ``hint`` if ``source`` does not exist.
    """
    try:
        return copy_tree(source, writable=writable)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            raise SundogError(f"can't bind: source not found: {printable(source)}", hint) from None
        action = f"bind {printable(source)}"
        raise kernel_error(error.call, source, error.errno, action) from None
