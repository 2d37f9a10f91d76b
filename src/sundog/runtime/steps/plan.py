"""The plan of mounts of a build's step, with a /proc and a /dev of its own.

/tmp and the accounts are the image's.  Of the host, the step sees a few devices, the kernel's /sys,
the network configuration, and the files that it is given.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_RECURSIVE,
    MOVE_MOUNT_F_EMPTY_PATH,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    OPEN_TREE_CLONE,
    mount,
    move_mount,
    open_tree,
)
from sundog.errors import KernelError, PidNamespaceRefused
from sundog.runtime.container.enter import copy_tree
from sundog.runtime.container.fast_path import LibraryMount
from sundog.runtime.container.hidden import Hidden
from sundog.runtime.container.operations import CREATED, OPTIONAL, Bind, DetachedMount
from sundog.runtime.container.paths import OPEN_DIRECTORY
from sundog.runtime.container.plan import Plan
from sundog.runtime.steps.mounts import Traceless, arranged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.operations import Operation
    from sundog.runtime.steps.command import Step

# A RUN sees these files of the host's network configuration, whatever the image has in their place.
_NETWORK_FILES = (b"/etc/hosts", b"/etc/resolv.conf")

# A RUN sees these devices of the host, and has its own instances of the rest that runtime-spec
# (config-linux.md, "Default Devices") has.
_DEVICES = (b"null", b"zero", b"full", b"random", b"urandom", b"tty", b"fuse")
_DEVICES_SIZE = b"1m"
DEVICE_LINKS = (
    (b"fd", b"/proc/self/fd"),
    (b"stdin", b"/proc/self/fd/0"),
    (b"stdout", b"/proc/self/fd/1"),
    (b"stderr", b"/proc/self/fd/2"),
    (b"ptmx", b"pts/ptmx"),
)
_DEVICE_MOUNTS = (
    (b"pts", b"devpts", MS_NOSUID | MS_NOEXEC, b"newinstance,ptmxmode=0666,mode=620"),
    (b"shm", b"tmpfs", MS_NOSUID | MS_NODEV, b"mode=1777"),
)


class FreshProc(DetachedMount):
    """Show the processes of this process's PID namespace at /proc."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(b"/proc")

    def what(self) -> str:
        """See ``DetachedMount``."""
        return "mount proc"

    def generate(self, scratch: int) -> None:
        """Mount it out of sight, while the host's /proc is still visible.

        Otherwise the kernel refuses: mount_too_revealing() in fs/namespace.c.
        """
        os.mkdir(b"proc", dir_fd=scratch)
        target = b"/proc/self/fd/%d/proc" % scratch
        try:
            mount(b"proc", target, b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None)
        except KernelError as error:
            raise PidNamespaceRefused(error.message) from None
        self.tree = open_tree(scratch, b"proc", OPEN_TREE_CLONE)


class _OwnDevices(DetachedMount):
    """Show a /dev of the step's own: the devices that every program expects, and no terminal.

    Terminals and shared memory are new, so a step does not see those of the user's other programs.
    """

    __slots__ = ("_found",)

    def __init__(self) -> None:
        super().__init__(b"/dev")
        self._found: list[tuple[bytes, int]] = []

    def what(self) -> str:
        """See ``DetachedMount``."""
        names = " ".join(name.decode() for name in _DEVICES)
        return f"mount a tmpfs with pts shm {names}"

    def acquire(self) -> None:
        """Copy the mounts of those of the host's devices that exist."""
        for name in _DEVICES:
            try:
                self._found.append((name, copy_tree(b"/dev/" + name, writable=True)))
            except KernelError as error:
                if error.errno not in (errno.ENOENT, errno.EACCES):
                    raise

    def generate(self, scratch: int) -> None:
        """Assemble it out of sight."""
        os.mkdir(b"dev", dir_fd=scratch)
        place = b"/proc/self/fd/%d/dev" % scratch
        # Not sticky and world-writable like /tmp: there the kernel refuses O_CREAT on a device of
        # another owner (fs.protected_regular).
        mount(b"sundog", place, b"tmpfs", MS_NOSUID | MS_NOEXEC, b"mode=755,size=" + _DEVICES_SIZE)
        top = os.open(place, OPEN_DIRECTORY)
        for name, tree in self._found:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666, dir_fd=top))
            move_mount(tree, b"", top, name, MOVE_MOUNT_F_EMPTY_PATH)
            os.close(tree)
        for link, target in DEVICE_LINKS:
            os.symlink(target, link, dir_fd=top)
        for name, kind, flags, options in _DEVICE_MOUNTS:
            os.mkdir(name, dir_fd=top)
            mount(b"sundog", b"%b/%b" % (place, name), kind, flags, options)
        self.tree = open_tree(top, b"", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE)
        os.close(top)


def step_plan(step: Step, *, own_pids: bool) -> Plan:
    """Return the plan of mounts of a step."""
    options = step.options
    devices = _OwnDevices()
    operations: list[Operation] = [devices, Bind(b"/sys", b"/sys", writable=False)]
    operations.append(FreshProc() if own_pids else Bind(b"/proc", b"/proc"))
    if step.library:
        operations.append(LibraryMount(step.library, b"/dev", is_tmpfs=True))
    operations += [
        Traceless(Bind(path, path, OPTIONAL, writable=False, covers_link=True))
        for path in _NETWORK_FILES
    ]
    operations += [
        Traceless(
            Bind(source, destination, CREATED, writable=is_writable, is_own=source in options.own)
        )
        for source, destination, is_writable in options.binds
    ]
    operations += arranged(step.mounts, [devices])
    hidden = Hidden(options.own_places if options.binds or step.mounts else ())
    return Plan(step.root, operations, writable=True, hidden=hidden)


def ignore(_text: str) -> None:
    """Ignore a message about a mount that was left out."""
