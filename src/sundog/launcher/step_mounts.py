"""The mounts of a build's step, which leave no trace in the layer that is made of it.

A mount point that the image lacks is made, and goes again when the command has ended; the directory
that it was made in gets its time back.  What a mount shows is taken hold of before the change of
root, as for all ``operations``.

Not part of ``ch-run``, but made of the same parts.
"""

import errno
import os

from sundog.errors import KernelError, SundogError
from sundog.kernel.libc import kernel_error, printable
from sundog.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    MNT_DETACH,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MS_NODEV,
    MS_NOSUID,
    OPEN_TREE_CLONE,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    UMOUNT_NOFOLLOW,
    mount,
    mount_setattr,
    move_mount,
    open_tree,
    openat2,
    umount2,
)
from sundog.kernel.overlay import mount_layers
from sundog.launcher.mountpoint import INSIDE, make_mount_point
from sundog.launcher.operations import CREATED, OPTIONAL, Detached, copy_of_mounts
from sundog.launcher.root import DirectoryRoot, OverlayRoot


class StepMount(Detached):
    """A mount whose mount point, if it was missing, goes again before the layer is committed.

    ``inside`` says how that is looked for (RESOLVE_*): not across mounts, unless it lies on one
    where mount points may be made.
    """

    __slots__ = ("inside", "made", "restored", "writable")

    def __init__(self, destination: bytes, *, writable: bool) -> None:
        super().__init__(destination, CREATED)
        self.writable = writable
        self.inside = INSIDE
        self.made: list[bytes] = []  # the innermost first
        # The directory that the outermost was made in: its times before, and its change after.
        self.restored: tuple[bytes, tuple[int, int], int] | None = None

    def describe(self) -> str:
        """Say in one line what it does."""
        return f"mount at {printable(self.destination)} ({self.need})"

    def attach(self) -> None:
        """Mount it at its destination, which is made if missing."""
        path = self.destination
        while not os.path.lexists(path):
            self.made.append(path)
            path = os.path.dirname(path)
        if self.made:
            # A symlink that leads nowhere is there, and make_mount_point complains.
            before = os.stat(path) if os.path.exists(path) else os.lstat(path)
            make_mount_point(
                self.destination, is_directory=self.covers_directory(), inside=self.inside
            )
            times = (before.st_atime_ns, before.st_mtime_ns)
            self.restored = path, times, os.stat(path).st_mtime_ns
        super().attach()

    def remove(self) -> None:
        """Unmount it and remove what was made for it, unless the command put something there."""
        if self.restored is None:
            return
        try:
            umount2(self.destination, MNT_DETACH | UMOUNT_NOFOLLOW)
            parent, times, changed = self.restored
            is_as_it_was = os.stat(parent).st_mtime_ns == changed
            for path in self.made:
                if os.path.isdir(path):
                    os.rmdir(path)
                else:
                    os.unlink(path)
            if is_as_it_was:
                os.utime(parent, ns=times)
        except (KernelError, OSError):
            return  # moved or filled by the command: then it is the command's


class StepBind(StepMount):
    """A file or directory of the host, and all mounts below it.

    What is missing in it is the host's business, and not made.
    """

    __slots__ = ("source",)

    def __init__(self, source: bytes, destination: bytes, *, writable: bool = True) -> None:
        super().__init__(destination, writable=writable)
        self.source = source

    def describe(self) -> str:
        """Say in one line what it does."""
        how = self.need if self.writable else f"{self.need}, read-only"
        return f"bind {printable(self.source)} at {printable(self.destination)} ({how})"

    def acquire(self) -> None:
        """Take a copy of the source's mounts."""
        self.tree = copy_of_mounts(self.source, writable=self.writable)


class Cover(StepBind):
    """A read-only bind over whatever is at its destination: over a symbolic link itself, too."""

    __slots__ = ()

    def __init__(self, path: bytes) -> None:
        super().__init__(path, path, writable=False)
        self.need = OPTIONAL

    def move(self) -> None:
        """Mount it at its destination, which exists; a symbolic link there is not followed."""
        move_mount(self.tree, b"", AT_FDCWD, self.destination, MOVE_MOUNT_F_EMPTY_PATH)


class TreeMount(StepMount):
    """What is at ``path`` in ``root``, where symbolic links lead as in a root directory."""

    __slots__ = ("path", "root")

    def __init__(
        self,
        root: DirectoryRoot | OverlayRoot,
        path: bytes,
        destination: bytes,
        *,
        writable: bool = False,
    ) -> None:
        super().__init__(destination, writable=writable)
        self.root = root
        self.path = path

    def describe(self) -> str:
        """Say in one line what it does."""
        how = "" if self.writable else ", read-only"
        return f"bind {printable(self.path)} of {self.root!r} at {printable(self.destination)}{how}"

    def acquire(self) -> None:
        """Take a copy of the mount of a directory of the host's."""
        if isinstance(self.root, DirectoryRoot):
            top = os.open(self.root.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self.take(top, AT_RECURSIVE)

    def generate(self, scratch: int) -> None:
        """Mount layers out of sight, and take a copy of that.  Changes the working directory."""
        if isinstance(self.root, OverlayRoot):
            root = self.root
            place = own_directory(scratch, self.destination)
            os.chdir(root.base)
            mount_layers(place, root.lowers, root.upper, root.work, volatile=True)
            self.take(os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), 0)

    def take(self, top: int, recursive: int) -> None:
        """Copy the mount of what is at ``path`` below the directory ``top``, which is closed."""
        try:
            resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
            found = openat2(top, self.path or b".", os.O_PATH | os.O_CLOEXEC, resolve)
        except KernelError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise
            raise SundogError(f"can't bind: source not found: {printable(self.path)}") from None
        finally:
            os.close(top)
        self.tree = open_tree(found, b"", OPEN_TREE_CLONE | AT_EMPTY_PATH | recursive)
        os.close(found)
        if not self.writable:
            mount_setattr(self.tree, b"", AT_EMPTY_PATH | recursive, MOUNT_ATTR_RDONLY)


class TmpfsMount(StepMount):
    """An empty tmpfs; ``size`` in bytes, None for the kernel's default."""

    __slots__ = ("size",)

    def __init__(
        self, destination: bytes, size: int | None = None, *, writable: bool = True
    ) -> None:
        super().__init__(destination, writable=writable)
        self.size = size

    def describe(self) -> str:
        """Say in one line what it does."""
        return f"mount tmpfs at {printable(self.destination)} ({self.need})"

    def generate(self, scratch: int) -> None:
        """Mount it out of sight."""
        self.tree = new_tmpfs(scratch, self.destination, self.size)
        if not self.writable:
            mount_setattr(self.tree, b"", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY)


class FileMount(StepMount):
    """A read-only file with ``contents`` that are on no disk; it has the permissions ``mode``."""

    __slots__ = ("contents", "mode")

    def __init__(self, contents: bytes, destination: bytes, mode: int) -> None:
        super().__init__(destination, writable=False)
        self.contents = contents
        self.mode = mode

    def describe(self) -> str:
        """Say in one line what it does."""
        size = len(self.contents)
        return f"bind a file of {size} bytes at {printable(self.destination)} ({self.need})"

    def generate(self, scratch: int) -> None:
        """Write the file to a tmpfs of its own."""
        place = own_directory(scratch, self.destination)
        mount_tmpfs(place, len(self.contents) + (1 << 16))
        path = place + b"/file"
        with open(path, "xb") as file:
            file.write(self.contents)
            os.fchmod(file.fileno(), self.mode)
        self.tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE)
        mount_setattr(self.tree, b"", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY)


def new_tmpfs(scratch: int, destination: bytes, size: int | None) -> int:
    """Return a tmpfs that is mounted nowhere but in the ``scratch`` tmpfs."""
    place = own_directory(scratch, destination)
    mount_tmpfs(place, size)
    return open_tree(AT_FDCWD, place, OPEN_TREE_CLONE)


def mount_tmpfs(place: bytes, size: int | None) -> None:
    """Mount a tmpfs of ``size`` bytes, None for the kernel's default."""
    options = None if size is None else b"size=%d" % size
    try:
        mount(b"sundog", place, b"tmpfs", MS_NOSUID | MS_NODEV, options)
    except KernelError as error:
        raise kernel_error("mount", place, error.errno, "mount a tmpfs") from None


def own_directory(scratch: int, destination: bytes) -> bytes:
    """Make a directory in the ``scratch`` tmpfs for what goes to ``destination``."""
    name = b"mount-" + destination.strip(b"/").replace(b"/", b"%")[:200]
    while True:
        try:
            os.mkdir(name, dir_fd=scratch)
        except FileExistsError:
            name += b"+"
        else:
            return b"/proc/self/fd/%d/%b" % (scratch, name)


def arranged(mounts: "list[StepMount]") -> "list[StepMount]":
    """Return ``mounts`` in the order in which they are attached: what lies on another, later.

    Mount points are made in those that are writable, of which nothing is kept that is the host's.
    """
    ordered = sorted(mounts, key=depth)
    for position, inner in enumerate(ordered):
        for outer in ordered[:position]:
            if outer.writable and inner.destination.startswith(outer.destination + b"/"):
                inner.inside = RESOLVE_NO_MAGICLINKS
    return ordered


def depth(operation: StepMount) -> int:
    """Return how many names the path of the mount point has."""
    return operation.destination.count(b"/")
