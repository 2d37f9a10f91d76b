"""The plan of mounts: what a container's file system is made of, as data, and how it is made.

A plan is built without a system call, so that it can be printed (-vv) and tested; executing it
needs the namespaces of ``enter.py``.  It runs in three phases: ``acquire`` takes hold of what the
host has to show, as long as nothing of ours is mounted over it; ``generate`` makes what the host
does not have; and after the change of root ``attach`` mounts both where the container wants them.
By then "/" is the container's, so a symbolic link in the image, absolute or not, leads where
its programs would see it lead, and never to a path of the host.

Floor 0.
"""

import errno
import os

from sundog.errors import KernelError, SundogError
from sundog.kernel.libc import kernel_error, printable
from sundog.kernel.mounts import (
    AT_FDCWD,
    MNT_DETACH,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_SYMLINKS,
    MS_NODEV,
    MS_NOSUID,
    OPEN_TREE_CLONE,
    mount,
    move_mount,
    open_tree,
    umount2,
)
from sundog.launcher.enter import change_root, copy_tree, cover_root, mount_overlay, mount_scratch
from sundog.launcher.mountpoint import make_mount_point, reserve_mount_point
from sundog.launcher.paths import is_directory
from sundog.launcher.root import DirectoryRoot, OverlayRoot

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

OVERLAY_HINT = (
    "for -W the image must be on a file system that can be overlaid, "
    "and nothing may be mounted inside it"
)
MISSING_HINT = "create it in the image; or -W lets it be created for this one run"
MISSING_HINTS = {
    b"/etc/passwd": "--no-passwd does without; or " + MISSING_HINT,
    b"/etc/group": "--no-passwd does without; or " + MISSING_HINT,
}

# What of the host a container sees, in this order.  All are read-write, as far as the user may.
REQUIRED_BINDS = (b"/dev", b"/proc", b"/sys")
OPTIONAL_BINDS = (
    b"/etc/hosts",
    b"/etc/machine-id",
    b"/etc/resolv.conf",
    b"/var/lib/hugetlbfs",
    b"/var/spool/slurmd",
)
# Cray's workload manager and network.  Other machines are spared seven look-ups at each start.
CRAY_DIRECTORY = b"/opt/cray"
CRAY_BINDS = (
    b"/etc/opt/cray/wlm_detect",
    b"/opt/cray/wlm_detect",
    b"/opt/cray/alps",
    b"/opt/cray/udreg",
    b"/opt/cray/ugni",
    b"/opt/cray/xpmem",
    b"/var/opt/cray/alps",
)


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
        attach_at(self.destination, self.need, self.covers_directory, self.move)
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
        try:
            self.tree = copy_tree(self.source, writable=self.writable)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                raise SundogError(
                    f"can't bind: source not found: {printable(self.source)}"
                ) from None
            raise kernel_error(
                error.call, self.source, error.errno, f"bind {printable(self.source)}"
            ) from None


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


class Plan:
    """All mounts of a container: the root, then the ``operations`` in their order.

    ``overlay_size`` puts a tmpfs of that size over the root, which makes it writable until the end
    of the container.
    """

    __slots__ = ("operations", "overlay_size", "root", "writable")

    def __init__(
        self,
        root: DirectoryRoot | OverlayRoot,
        operations: "list[Operation]",
        *,
        writable: bool = False,
        overlay_size: bytes | None = None,
    ) -> None:
        self.root = root
        self.operations = operations
        self.writable = writable
        self.overlay_size = overlay_size

    def describe(self) -> list[str]:
        """Return the plan in lines, in the order of execution."""
        lines = [describe_root(self.root, writable=self.writable)]
        if self.overlay_size is not None:
            lines.append(f"overlay it with a tmpfs of size {printable(self.overlay_size)}")
        return lines + [operation.describe() for operation in self.operations]

    def mount(self, skipped: "Callable[[str], None]") -> "tuple[int, list[Operation]]":
        """Take hold of all that the host has to show, and mount the root, on top of the host's.

        The process is in the namespaces of ``enter_namespaces``.  Returns what ``enter`` wants; if
        it fails, nothing of it stays, and it may be tried again.  ``skipped`` is told what was left
        out, and why.  Raises KernelError and SundogError.
        """
        operations = each(self.operations, lambda step: step.acquire(), skipped)
        root = self.root
        tree = None
        if isinstance(root, DirectoryRoot) and self.overlay_size is None:
            tree = copy_tree(root.path, writable=self.writable)
        scratch = self.mount_scratch()
        try:
            operations = each(operations, lambda step: step.generate(scratch), skipped)
            if tree is not None:
                cover_root(tree)
                return tree, operations
            if isinstance(root, OverlayRoot) and self.overlay_size is None:
                return mount_overlay(root), operations
            return mount_overlaid(root, scratch, operations), operations
        except (SundogError, OSError):
            umount2(b"/", MNT_DETACH)
            raise

    def mount_scratch(self) -> int:
        """Mount the tmpfs for -W and for generated files; return its directory."""
        if self.overlay_size is None:
            return mount_scratch()
        try:
            if b"," not in self.overlay_size:
                return mount_scratch(self.overlay_size)
        except KernelError as error:
            if error.errno != errno.EINVAL:
                raise
        raise SundogError(
            f"can't mount tmpfs for -W: not a size: {printable(self.overlay_size)}",
            "SIZE is a number of bytes, perhaps with k, m or g, or a percentage of the memory",
        )


def enter(directory: int, operations: "list[Operation]", skipped: "Callable[[str], None]") -> None:
    """Make what ``Plan.mount`` mounted this process's root, and finish the plan inside."""
    change_root(directory)
    each(operations, lambda step: step.attach(), skipped)


def build_plan(
    root: DirectoryRoot | OverlayRoot,
    *,
    writable: bool = False,
    overlay_size: bytes | None = None,
    host_tmp: bytes | None = b"/tmp",
    accounts: tuple[bytes, bytes] | None = None,
    binds: list[tuple[bytes, bytes]],
    cray: bool = False,
) -> Plan:
    """Return the plan of an ordinary ``ch-run``.

    ``host_tmp`` is bound at /tmp; without it /tmp is a tmpfs.  ``accounts`` are the contents of
    /etc/passwd and /etc/group; without them the image keeps its own.  ``binds`` are the user's:
    source and destination, made if missing.  ``cray`` says that the machine is one.
    """
    # Under -W a missing mount point costs the image nothing.
    required = REQUIRED if overlay_size is None else CREATED
    operations: list[Operation] = []
    if isinstance(root, DirectoryRoot):
        operations += [Bind(source, b"/" + inside, writable=False) for source, inside in root.binds]
    operations += [Bind(path, path, required) for path in REQUIRED_BINDS]
    optional = OPTIONAL_BINDS + CRAY_BINDS if cray else OPTIONAL_BINDS
    operations += [Bind(path, path, OPTIONAL) for path in optional]
    if accounts is not None:
        passwd, group = accounts
        operations.append(GeneratedFile(passwd, b"/etc/passwd", required))
        operations.append(GeneratedFile(group, b"/etc/group", required))
    operations.append(
        Tmpfs(b"/tmp", required) if host_tmp is None else Bind(host_tmp, b"/tmp", required)
    )
    operations += [Bind(source, destination, CREATED) for source, destination in binds]
    return Plan(root, operations, writable=writable, overlay_size=overlay_size)


def describe_root(root: DirectoryRoot | OverlayRoot, *, writable: bool) -> str:
    """Say in one line what the root is made of."""
    if isinstance(root, DirectoryRoot):
        return f"mount {printable(root.path)} at / ({'read-write' if writable else 'read-only'})"
    layers = f"overlay {len(root.lowers)} directories of {printable(root.base)} at /"
    return f"{layers} ({'read-only' if root.upper is None else 'read-write'})"


def mount_overlaid(
    root: DirectoryRoot | OverlayRoot, scratch: int, operations: "list[Operation]"
) -> int:
    """Mount ``root`` below an upper in the ``scratch`` tmpfs, which gets the mode of the root.

    The layers of an OverlayRoot are this user's own, where mount points can be made later; in a
    directory they may be not, so those of ``operations`` are made in the upper now.
    """
    for name in (b"upper", b"work"):
        os.mkdir(name, dir_fd=scratch)
    directory = b"/proc/self/fd/%d/" % scratch
    upper, work = directory + b"upper", directory + b"work"
    if isinstance(root, DirectoryRoot):
        base, lowers = b"/", [root.path]
        reserve_mount_points(root.path, upper, operations)
    else:
        base, lowers = root.base, root.lowers
    os.chdir(base)
    os.chmod(upper, os.stat(lowers[0]).st_mode & 0o7777)
    try:
        return mount_overlay(OverlayRoot(base, lowers, upper, work, volatile=True))
    except KernelError as error:
        if error.errno == errno.EINVAL:
            error.hint = OVERLAY_HINT
        raise


def reserve_mount_points(image: bytes, upper: bytes, operations: "list[Operation]") -> None:
    """Make the mount points that ``image`` lacks in ``upper``."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    lower_fd, upper_fd = os.open(image, flags), os.open(upper, flags)
    for operation in operations:
        if operation.need == CREATED:
            path, is_directory = operation.destination, operation.covers_directory()
            reserve_mount_point(path, lower_fd, upper_fd, is_directory=is_directory)
    os.close(lower_fd)
    os.close(upper_fd)


def each(
    operations: "list[Operation]",
    act: "Callable[[Operation], None]",
    skipped: "Callable[[str], None]",
) -> "list[Operation]":
    """Call ``act`` with each operation in turn; return those where it succeeded.

    The failure of an optional one is only told to ``skipped``.
    """
    done = []
    for operation in operations:
        try:
            act(operation)
        except SundogError as error:
            if operation.need != OPTIONAL:
                raise
            skipped(f"skipped: {error}")
        else:
            done.append(operation)
    return done


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
