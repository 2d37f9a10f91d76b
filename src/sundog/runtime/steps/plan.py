"""A step of a build, and its plan of mounts, with a /proc and a /dev of its own.

/tmp and the accounts are the image's.  Of the host, the step sees a few devices, the kernel's /sys,
the network configuration, and the files that it is given.
"""

import errno
import os
import signal

from sundog.base.kernel.files import STDERR_FILENO, STDOUT_FILENO
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
from sundog.runtime.container.hidden import Hidden
from sundog.runtime.container.operations import CREATED, OPTIONAL, Bind, DetachedMount
from sundog.runtime.container.paths import OPEN_DIRECTORY
from sundog.runtime.container.plan import Plan
from sundog.runtime.steps.mounts import Traceless, arranged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sundog.base.record.identity import Identity
    from sundog.runtime.container.operations import Operation
    from sundog.runtime.container.root import Root
    from sundog.runtime.process.pseudoterminal import Pseudoterminal
    from sundog.runtime.process.relay import OutputSink

# A RUN sees these files of the host's network configuration, whatever the image has in their place.
NETWORK_FILES = (b"/etc/hosts", b"/etc/resolv.conf")

# A RUN sees these devices of the host, and has its own instances of the rest that runtime-spec
# (config-linux.md, "Default Devices") has.
DEVICES = (b"null", b"zero", b"full", b"random", b"urandom", b"tty", b"fuse")
DEVICES_SIZE = b"1m"
DEVICE_LINKS = (
    (b"fd", b"/proc/self/fd"),
    (b"stdin", b"/proc/self/fd/0"),
    (b"stdout", b"/proc/self/fd/1"),
    (b"stderr", b"/proc/self/fd/2"),
    (b"ptmx", b"pts/ptmx"),
)
DEVICE_MOUNTS = (
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


class OwnDevices(DetachedMount):
    """Show a /dev of the step's own: the devices that every program expects, and no terminal.

    Terminals and shared memory are new, so a step does not see those of the user's other programs.
    """

    __slots__ = ("_found",)

    def __init__(self) -> None:
        super().__init__(b"/dev")
        self._found: list[tuple[bytes, int]] = []

    def what(self) -> str:
        """See ``DetachedMount``."""
        names = " ".join(name.decode() for name in DEVICES)
        return f"mount a tmpfs with pts shm {names}"

    def acquire(self) -> None:
        """Copy the mounts of those of the host's devices that exist."""
        for name in DEVICES:
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
        mount(b"sundog", place, b"tmpfs", MS_NOSUID | MS_NOEXEC, b"mode=755,size=" + DEVICES_SIZE)
        top = os.open(place, OPEN_DIRECTORY)
        for name, tree in self._found:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666, dir_fd=top))
            move_mount(tree, b"", top, name, MOVE_MOUNT_F_EMPTY_PATH)
            os.close(tree)
        for link, target in DEVICE_LINKS:
            os.symlink(target, link, dir_fd=top)
        for name, kind, flags, options in DEVICE_MOUNTS:
            os.mkdir(name, dir_fd=top)
            mount(b"sundog", b"%b/%b" % (place, name), kind, flags, options)
        self.tree = open_tree(top, b"", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE)
        os.close(top)


class Step:
    """A command and its world: ``root`` is writable, ``env`` complete, ``cwd`` made if missing.

    ``binds`` are triples: a host path, a path in the container, whether the command can write
    there.  Missing paths are made for the time of the step.  The paths ``hidden`` are directories
    that they do not show; only the host paths in ``own`` lie in these.  Further ``mounts`` come
    after them, in the order of ``arranged``.  ``offline`` gives the command an empty network of its
    own.  ``fake_sync`` answers fsync(2) and its family "done" (only with ``seccomp`` or under a
    supervisor).  Under a supervisor, the command sees itself as ``identity``; None is root.  Its
    output arrives at the descriptors ``stdout`` and ``stderr``, or at ``output``; the command does
    not get these descriptors.  With a ``terminal``, the command has that for its streams.
    """

    __slots__ = (
        "argv",
        "binds",
        "cwd",
        "env",
        "fake_sync",
        "gid",
        "hidden",
        "identity",
        "ignores_interrupt",
        "mounts",
        "offline",
        "output",
        "own",
        "root",
        "seccomp",
        "stderr",
        "stdout",
        "terminal",
        "uid",
    )

    def __init__(
        self,
        root: "Root",
        argv: list[bytes],
        env: dict[bytes, bytes],
        cwd: bytes,
        *,
        seccomp: bool = False,
        fake_sync: bool = False,
        binds: "Sequence[tuple[bytes, bytes, bool]]" = (),
        own: "Collection[bytes]" = (),
        hidden: "Sequence[bytes]" = (),
        mounts: "Sequence[DetachedMount]" = (),
        offline: bool = False,
        uid: int = 0,
        gid: int = 0,
        identity: "Identity | None" = None,
        stdout: int = STDOUT_FILENO,
        stderr: int = STDERR_FILENO,
        output: "OutputSink | None" = None,
        terminal: "Pseudoterminal | None" = None,
    ) -> None:
        self.root = root
        self.argv = argv
        self.env = env
        # As in the background of a script; the command inherits this.
        self.ignores_interrupt = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        self.cwd = cwd
        self.seccomp = seccomp
        self.fake_sync = fake_sync
        self.binds = binds
        self.own = own
        self.hidden = hidden
        self.mounts = mounts
        self.offline = offline
        self.uid = uid
        self.gid = gid
        self.identity = identity
        self.stdout = stdout
        self.stderr = stderr
        self.output = output
        self.terminal = terminal


def step_plan(step: "Step", *, own_pids: bool) -> Plan:
    """Return the plan of mounts of a step."""
    devices = OwnDevices()
    operations: list[Operation] = [devices, Bind(b"/sys", b"/sys", writable=False)]
    operations.append(FreshProc() if own_pids else Bind(b"/proc", b"/proc"))
    operations += [
        Traceless(Bind(path, path, OPTIONAL, writable=False, covers_link=True))
        for path in NETWORK_FILES
    ]
    operations += [
        Traceless(
            Bind(source, destination, CREATED, writable=is_writable, is_own=source in step.own)
        )
        for source, destination, is_writable in step.binds
    ]
    operations += arranged(step.mounts, [devices])
    hidden = Hidden(step.hidden if step.binds or step.mounts else ())
    return Plan(step.root, operations, writable=True, hidden=hidden)


def ignore(_text: str) -> None:
    """Ignore a message about a mount that was left out."""
