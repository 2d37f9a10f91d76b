"""From the ``mounts`` of a configuration to the operations of a plan.

A user namespace may mount tmpfs, devpts, mqueue and overlay, and proc in a PID namespace of its
own.  Other file systems that every container asks for are binds of the host's: sysfs, cgroup, and
proc without a PID namespace.  Specification: runtime-spec, config.md "Mounts", config-linux.md.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import escaped, printable
from sundog.base.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    OPEN_TREE_CLONE,
    RESOLVE_NO_MAGICLINKS,
    mount,
    mount_setattr,
    move_mount,
    open_tree,
    openat2,
)
from sundog.errors import KernelError, PidNamespaceRefused, RuntimeConfigError
from sundog.front.oci_runtime.mount_options import Options
from sundog.runtime.container.enter import copy_tree
from sundog.runtime.container.hidden import lies_in
from sundog.runtime.container.mountpoint import INSIDE, components
from sundog.runtime.container.operations import (
    CREATED,
    DESIRED,
    OPTIONAL,
    Bind,
    DetachedMount,
    own_directory,
)
from sundog.runtime.container.own_devices import DEVICE_LINKS, DEVICES
from sundog.runtime.container.paths import OPEN_DIRECTORY, is_directory
from sundog.runtime.steps.mounts import Traceless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sundog.front.oci_runtime.log import Log
    from sundog.front.oci_runtime.specification import Configuration, MountEntry
    from sundog.runtime.container.operations import Operation

# File systems of the host that the kernel shows by a bind only: where they are there.
_HOSTS = {"proc": b"/proc", "sysfs": b"/sys", "cgroup": b"/sys/fs/cgroup", "mqueue": b"/dev/mqueue"}
_HOSTS["cgroup2"] = _HOSTS["cgroup"]
# File systems that a user namespace may mount.
_MOUNTABLE = ("tmpfs", "devpts", "mqueue", "overlay", "ramfs")
_MS_FLAGS = MS_NOSUID | MS_NODEV
_FLAGS = {
    "devpts": MS_NOSUID | MS_NOEXEC,  # terminals are devices
    "mqueue": _MS_FLAGS | MS_NOEXEC,
    "proc": _MS_FLAGS | MS_NOEXEC,
}
COVER = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH


class BindMount(Bind):
    """A bind of the configuration.

    In a user namespace the kernel binds only with all mounts below.  So a bind that is not
    ``recursive`` gives its attributes to those, too.
    """

    __slots__ = ("_is_recursive", "_options")

    def __init__(
        self,
        source: bytes,
        destination: bytes,
        need: str,
        options: Options,
        *,
        recursive: bool,
        writable: bool = True,
        is_own: bool = False,
    ) -> None:
        super().__init__(source, destination, need, writable=writable, is_own=is_own)
        self._options = options
        self._is_recursive = recursive

    def acquire(self) -> None:
        """See ``DetachedMount``."""
        super().acquire()
        self._options.apply(self.tree, to_all=not self._is_recursive)


class FileSystem(DetachedMount):
    """A file system of the configuration that is made for the container.

    If the kernel refuses it, the host's one at ``fallback`` takes its place; with no ``fallback``,
    that is an error.
    """

    __slots__ = ("_fallback", "_flags", "_kind", "_options", "_saved")

    def __init__(self, entry: MountEntry, options: Options, fallback: bytes) -> None:
        super().__init__(entry.destination, DESIRED if entry.kind == "mqueue" else CREATED)
        self._kind = entry.kind.encode()
        self._flags = _FLAGS.get(entry.kind, _MS_FLAGS)
        self._options = options
        self._fallback = fallback
        self._saved = -1

    def what(self) -> str:
        """See ``DetachedMount``."""
        return f"mount {printable(self._kind)}"

    def acquire(self) -> None:
        """Take hold of the host's file system."""
        if self._fallback:
            try:
                self._saved = copy_tree(self._fallback, writable=True)
            except KernelError:
                self._saved = -1

    def generate(self, scratch: int) -> None:
        """Mount it out of sight, or take the host's."""
        place = own_directory(scratch, self.destination)
        try:
            self.fill(place)
            self.tree = open_tree(AT_FDCWD, place, OPEN_TREE_CLONE | AT_RECURSIVE)
        except KernelError as error:
            if self._kind == b"proc":
                raise PidNamespaceRefused(error.message) from None
            if self._saved < 0:
                raise
            self.tree, self._saved = self._saved, -1
        if self._saved >= 0:
            os.close(self._saved)
        self._options.apply(self.tree)

    def fill(self, place: bytes) -> None:
        """Mount it at ``place``.  Raises KernelError."""
        data = self._options.data
        if self._kind == b"overlay":
            data = b",".join(filter(None, (data, b"userxattr")))
        mount(self._kind, place, self._kind, self._flags, data or None)


class DeviceDirectory(FileSystem):
    """A tmpfs at /dev with the devices and links that every container has.

    The kernel lets nobody make a device in a user namespace; so these are binds of the host's.
    """

    __slots__ = ("_files", "_found")

    def __init__(self, entry: MountEntry, options: Options, *, has_terminal: bool) -> None:
        super().__init__(entry, options, b"")
        self._files = (b"console",) if has_terminal else ()  # the terminal will cover it
        self._found: list[tuple[bytes, int]] = []

    def acquire(self) -> None:
        """Take hold of the host's devices."""
        for name in DEVICES:
            try:
                self._found.append((name, copy_tree(b"/dev/" + name, writable=True)))
            except KernelError as error:
                if error.errno not in (errno.ENOENT, errno.EACCES):
                    raise

    def fill(self, place: bytes) -> None:
        """See ``FileSystem``."""
        # Not nodev: the binds inside have the attributes of the host's mounts.
        mount(b"tmpfs", place, b"tmpfs", MS_NOSUID, self._options.data or b"mode=755,size=64k")
        with Closing(os.open(place, OPEN_DIRECTORY)) as top:
            for name in (*self._files, *dict(self._found)):
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666, dir_fd=top))
            for name, tree in self._found:
                move_mount(tree, b"", top, name, MOVE_MOUNT_F_EMPTY_PATH)
                os.close(tree)
            for link, target in DEVICE_LINKS:
                os.symlink(target, link, dir_fd=top)


class DeviceBind(Bind):
    """A device of the configuration, if the host has the same one at the same path."""

    __slots__ = ()

    def __init__(self, path: bytes) -> None:
        super().__init__(path, path, CREATED)


class Masked(DetachedMount):
    """A path of the container, covered by nothing: by /dev/null, or by an empty directory."""

    __slots__ = ("_empty", "_null")

    def __init__(self, path: bytes) -> None:
        super().__init__(path, OPTIONAL)
        self._empty = self._null = -1

    def what(self) -> str:
        """See ``DetachedMount``."""
        return "hide what is"

    def acquire(self) -> None:
        """Take hold of the host's /dev/null."""
        self._null = copy_tree(b"/dev/null", writable=False)

    def generate(self, scratch: int) -> None:
        """Make an empty directory."""
        place = own_directory(scratch, b"masked")
        mount(b"tmpfs", place, b"tmpfs", _MS_FLAGS | MS_RDONLY, b"size=0,mode=555")
        self._empty = open_tree(AT_FDCWD, place, OPEN_TREE_CLONE)

    def attach(self) -> None:
        """Cover the path, unless it is missing."""
        with Closing(self._null), Closing(self._empty):
            for fd in found(self.destination):
                tree = self._empty if is_directory(fd) else self._null
                move_mount(tree, b"", fd, b"", COVER)


class ReadOnly(DetachedMount):
    """A path of the container that nobody there can write to."""

    __slots__ = ()

    def __init__(self, path: bytes) -> None:
        super().__init__(path, OPTIONAL)

    def what(self) -> str:
        """See ``DetachedMount``."""
        return "write-protect what is"

    def attach(self) -> None:
        """Cover the path by itself, read-only, unless it is missing."""
        for fd in found(self.destination):
            flags = OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE
            with Closing(open_tree(fd, b"", flags)) as tree:
                mount_setattr(tree, b"", AT_EMPTY_PATH | AT_RECURSIVE, MOUNT_ATTR_RDONLY)
                move_mount(tree, b"", fd, b"", COVER)


def found(path: bytes) -> Iterator[int]:
    """Yield a descriptor of a path of the container, or nothing if it is missing."""
    try:
        fd = openat2(AT_FDCWD, path, os.O_PATH, RESOLVE_NO_MAGICLINKS)
    except KernelError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP):
            return
        raise
    with Closing(fd):
        yield fd


class Mounted:
    """The places of mounts so far: where mount points may be made, and where never.

    They may be made in file systems that nobody else sees, and in the root.
    """

    __slots__ = ("_places",)

    def __init__(self) -> None:
        self._places: list[tuple[list[bytes], bool]] = []

    def add(self, destination: bytes, *, is_fresh: bool) -> None:
        """Take note of a mount; ``is_fresh`` says that nobody else sees its file system."""
        self._places.append((components(destination), is_fresh))

    def lookup(self, destination: bytes) -> int:
        """Return how the mount point may be made: RESOLVE_*, across mounts or not."""
        names = components(destination)
        for place, is_fresh in reversed(self._places):
            if names[: len(place)] == place:
                return RESOLVE_NO_MAGICLINKS if is_fresh and b".." not in names else INSIDE
        return INSIDE


def operations(
    configuration: Configuration,
    bundle: bytes,
    ids: tuple[int, int],
    own: frozenset[str],
    log: Log,
    *,
    hidden: Sequence[bytes],
    has_terminal: bool,
) -> list[Operation]:
    """Return the operations for a configuration, in its order.

    ``own`` are the kinds of namespaces that the container has for itself.  ``hidden`` are real
    paths of directories of Sundog's own.  Raises RuntimeConfigError.
    """
    made: list[Operation] = []
    mounted = Mounted()
    if all(entry.destination.rstrip(b"/") != b"/dev" for entry in configuration.mounts):
        made += [Bind(b"/dev/" + name, b"/dev/" + name, DESIRED) for name in DEVICES]
    for entry in configuration.mounts:
        if not components(entry.destination):
            raise RuntimeConfigError("cannot mount on the root directory", "that is root.path")
        options = Options(entry, ids, log)
        if entry.kind == "tmpfs" and components(entry.destination) == [b"dev"]:
            made.append(DeviceDirectory(entry, options, has_terminal=has_terminal))
            mounted.add(entry.destination, is_fresh=True)
            continue
        step = mount_operation(entry, options, bundle, own, log, hidden=hidden)
        if step is None:
            continue
        made.append(Traceless(step, mounted.lookup(entry.destination)))
        is_fresh = isinstance(step, FileSystem) and entry.kind in ("tmpfs", "ramfs")
        mounted.add(entry.destination, is_fresh=is_fresh)
    for device in configuration.devices:
        made += device_operations(device.path, (device.major, device.minor), mounted, log)
    made += [Masked(path) for path in configuration.masked_paths]
    made += [ReadOnly(path) for path in configuration.read_only_paths]
    return made


def session(env: Sequence[bytes], bundle: bytes) -> list[Operation]:
    """Return the bind of the directory in which Slurm has the session of PMIx, if there is one.

    It is the parent of $PMIX_SERVER_TMPDIR, because the shared memory of PMIx is beside it, too.
    The variable may be the image's, and must not choose a directory of the host: Slurm's bundle is
    in the same directory.
    """
    for string in env:
        name, _, value = string.partition(b"=")
        if name != b"PMIX_SERVER_TMPDIR":
            continue
        parent = os.path.dirname(os.path.realpath(value))
        if parent == os.path.dirname(bundle):
            return [Traceless(Bind(parent, parent, CREATED), INSIDE)]
    return []


def mount_operation(
    entry: MountEntry,
    options: Options,
    bundle: bytes,
    own: frozenset[str],
    log: Log,
    *,
    hidden: Sequence[bytes],
) -> DetachedMount | None:
    """Return the operation for one entry, None for one that is left out."""
    if options.binds:
        source = entry.source if entry.source.startswith(b"/") else bundle + b"/" + entry.source
        is_own = lies_in(source, hidden)
        writable = not is_own or "rw" in entry.options
        if not writable:
            log.warn_once(
                "own",
                f"mounts: {printable(source)} is in a directory of Sundog's own, so it is"
                " read-only; the option rw changes that",
            )
        return BindMount(
            source,
            entry.destination,
            CREATED,
            options,
            recursive="rbind" in entry.options,
            writable=writable,
            is_own=is_own,
        )
    if entry.kind in _MOUNTABLE or (entry.kind == "proc" and "pid" in own):
        return FileSystem(entry, options, _HOSTS.get(entry.kind, b""))
    host = _HOSTS.get(entry.kind)
    if host is None:
        raise RuntimeConfigError(
            f"cannot mount {printable(entry.destination)}: the kernel lets no unprivileged user"
            f" mount type {escaped(entry.kind[:40]) or '(missing)'}",
            f"types that work: bind {' '.join(_MOUNTABLE)} proc {' '.join(_HOSTS)}",
        )
    if not os.path.isdir(host):
        log.warn_once("mount", f"mounts: {printable(host)} left out: the host does not have it")
        return None
    return BindMount(host, entry.destination, CREATED, options, recursive=True)


def device_operations(
    path: bytes, numbers: tuple[int, int], mounted: Mounted, log: Log
) -> list[Operation]:
    """Return the bind of a device, if the host has the same one at its path."""
    if path.removeprefix(b"/dev/") in DEVICES:
        return []
    try:
        status = os.stat(path)
        is_same = (os.major(status.st_rdev), os.minor(status.st_rdev)) == numbers
    except OSError:
        is_same = False
    if not is_same:
        log.warn_once(
            "devices",
            f"linux.devices: {printable(path)} left out: only privileges make a device, and the"
            " host has no such one there",
        )
        return []
    return [Traceless(DeviceBind(path), mounted.lookup(path))]
