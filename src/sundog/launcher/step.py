"""Run one step of a build in an image: a command (RUN), or a function of ours (COPY, WORKDIR).

A RUN gets a PID namespace with its own /proc: when its first process ends, the kernel kills all
that is left, and only then is the step over (pid_namespaces(7)).  The processes, each forked from
the one before:

    builder ── guard, in new namespaces ── init, PID 1 of the container ── the command

Where a site refuses PID namespaces or a new /proc, the guard runs the command itself, adopts what
it leaves behind and kills until nothing is left.

The command trusts nobody less than it is trusted: guard and init can be neither traced nor looked
into by it (PR_SET_DUMPABLE in prctl(2)), have none of the builder's descriptors, and are in a user
namespace above the command's own, so that it cannot undo a mount of theirs.  The command is in a
session of its own, writes into pipes of the builder's, and has the standard descriptors alone; it
shares neither System V IPC with the user's programs (ipc_namespaces(7)) nor keys.
When the builder gets ^C or ^Z, or goes on after that, it tells the guard, the guard tells the init,
and the init tells the command's process group.

Not part of ``ch-run``, but made of the same parts.
"""

import errno
import os
import signal
from contextlib import contextmanager, suppress

from sundog.emulation.filter import install_fake_root
from sundog.emulation.keys import forbid_keys
from sundog.errors import KernelError, SundogError
from sundog.kernel.landlock import LANDLOCK_SCOPES, scope
from sundog.kernel.libc import printable
from sundog.kernel.namespaces import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWPID,
    own_namespaces,
    unshare,
)
from sundog.kernel.network import bring_up_loopback
from sundog.kernel.process import set_child_subreaper, set_dumpable, set_no_new_privs
from sundog.launcher.child import STANDARD_STREAMS, Child, opened
from sundog.launcher.enter import enter_namespaces, lock_mounts, mount_root, mount_scratch
from sundog.launcher.execute import SCRIPT_SHELL, execute, failure_hint
from sundog.launcher.members import kill_members
from sundog.launcher.plan import enter
from sundog.launcher.relay import Relay
from sundog.launcher.root import DirectoryRoot, OverlayRoot
from sundog.launcher.step_mounts import StepMount
from sundog.launcher.step_plan import FreshProc, PidNamespaceRefused, ignore, step_plan
from sundog.wire.outcomes import NO_OUTCOME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from sundog.launcher.supervised import Emulation, Supervised

    T = TypeVar("T")

STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO = 0, 1, 2

# What the user does at the terminal of the builder, of which the command hears.
TOLD = (signal.SIGINT, signal.SIGTSTP, signal.SIGCONT)


class Step:
    """A command and its world: ``root`` is writable, ``env`` complete, ``cwd`` made if missing.

    ``binds`` are pairs of a host path and a path in the container, made for the time of the step if
    missing; further ``mounts`` come after them, in the order of ``arranged``.  ``offline`` gives it
    a network of its own, with nothing in it.  ``fake_sync`` answers fsync(2) and its family "done"
    (only with ``seccomp`` or under a supervisor).  What it prints arrives at the descriptors
    ``stdout`` and ``stderr``, which it does not get itself.
    """

    __slots__ = (
        "argv",
        "binds",
        "cwd",
        "env",
        "fake_sync",
        "gid",
        "ignores_interrupt",
        "mounts",
        "offline",
        "root",
        "seccomp",
        "stderr",
        "stdout",
        "uid",
    )

    def __init__(
        self,
        root: DirectoryRoot | OverlayRoot,
        argv: list[bytes],
        env: dict[bytes, bytes],
        cwd: bytes,
        *,
        seccomp: bool = False,
        fake_sync: bool = False,
        binds: "Sequence[tuple[bytes, bytes]]" = (),
        mounts: "Sequence[StepMount]" = (),
        offline: bool = False,
        uid: int = 0,
        gid: int = 0,
        stdout: int = STDOUT_FILENO,
        stderr: int = STDERR_FILENO,
    ) -> None:
        self.root = root
        self.argv = argv
        self.env = env
        # As in the background of a script, and then for the command, too.
        self.ignores_interrupt = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        self.cwd = cwd
        self.seccomp = seccomp
        self.fake_sync = fake_sync
        self.binds = binds
        self.mounts = mounts
        self.offline = offline
        self.uid = uid
        self.gid = gid
        self.stdout = stdout
        self.stderr = stderr


def run_supervised(step: Step, emulation: "Emulation") -> "tuple[int, Supervised]":
    """Run the command as ``run_step`` does, under a supervisor; return also what came of that.

    Raises also PidNamespaceRefused: the supervisor has to see the container from outside.
    """
    from sundog.launcher.supervised import Supervised  # noqa: PLC0415 - other steps need none of it

    status, supervised = guarded(step, own_pids=True, emulation=emulation)
    if supervised is None:
        raise SundogError("the command ended before its supervisor could answer it")
    return status, Supervised.unpack(supervised)


def supervision_obstacle() -> str:
    """Say why ``run_supervised`` would raise PidNamespaceRefused here; "" if it would not."""

    def mount_proc(_tie: "Callable[[], None]") -> None:
        FreshProc().generate(mount_scratch())

    def attempt(_tie: "Callable[[], None]") -> str:
        try:
            enter_namespaces(0, 0, CLONE_NEWPID)
            Child(mount_proc).result()
        except PidNamespaceRefused as error:
            return error.message
        except KernelError as error:
            # Without any namespaces there is more to say, and others say it.
            return error.message if "pid" in error.subject else ""
        return ""

    return str(Child(attempt).result())


def run_step(step: Step) -> int:
    """Run the command; return its exit status, or the negated number of the signal it died of.

    When this returns or raises, nothing that the command started is alive.  Raises KernelError
    where the container cannot be made, SundogError where the command cannot be started.
    """
    try:
        status, _ = guarded(step, own_pids=True)
    except PidNamespaceRefused:
        status, _ = guarded(step, own_pids=False)
    return status


def in_root(
    roots: "Sequence[DirectoryRoot | OverlayRoot]", function: "Callable[[list[int]], T]"
) -> "T":
    """Call ``function`` with a directory of each root, as mock root in namespaces of its own.

    There this user has CAP_DAC_OVERRIDE over his own files.  The first root may be written to, as
    far as it is made for it.  The host's paths and the working directory stay as they are.  The
    result is to be a plain value, as ``wire.values`` has it.
    """

    def inside(tie: "Callable[[], None]") -> "T":
        here = os.open(b".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        enter_namespaces(0, 0)
        tie()
        directories = [mount_root(root, writable=not at) for at, root in enumerate(roots)]
        os.fchdir(here)
        # mount_root's are good for reaching what is below only: O_PATH.
        readable = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        return function([os.open(b".", readable, dir_fd=directory) for directory in directories])

    result: T = Child(inside).result()  # type: ignore[assignment]
    return result


def guarded(
    step: Step, *, own_pids: bool, emulation: "Emulation | None" = None
) -> "tuple[int, object]":
    """Run the step below a guard, which supervises it if there is an ``emulation`` to keep up.

    Returns the status, and what the supervisor has to say, for ``Supervised.unpack``.  See the
    module's docstring for what ``own_pids`` changes.
    """

    def guard(tie: "Callable[[], None]") -> "tuple[int, object]":
        # Out of reach of the user's terminal, and with it all that comes.
        os.setsid()
        if emulation is not None:
            emulation.prepare()
        try:
            enter_namespaces(step.uid, step.gid, CLONE_NEWPID if own_pids else 0)
        except KernelError as error:
            if own_pids and error.call == "unshare":
                raise PidNamespaceRefused(error.message) from None
            raise
        set_dumpable(False)
        tie()
        with suppress(KernelError):  # a site that allows none: user.max_ipc_namespaces is 0
            unshare(CLONE_NEWIPC)
        if emulation is not None:
            emulation.merge()
        if not own_pids:
            set_child_subreaper()
            return container(step, relay, own_pids=False), None
        # Until the handlers know whom to tell, the builder's signals have to wait.
        signal.pthread_sigmask(signal.SIG_BLOCK, TOLD)
        gate = Gate()
        kept = [relay.stdout, relay.stderr, gate.read_end]  # the last are the init's alone
        if emulation is not None:
            kept.append(emulation.theirs)
        init = Child(
            lambda _tie: container(step, relay, own_pids=True, emulation=emulation, gate=gate), kept
        )
        for fd in kept[2:]:
            os.close(fd)
        for signo in TOLD:
            signal.signal(signo, lambda number, _: os.kill(init.pid, number))
        signal.signal(signal.SIGTERM, lambda *_: os.kill(init.pid, signal.SIGKILL))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, TOLD)
        try:
            supervised = None if emulation is None else emulation.supervise()
        except BaseException:
            os.kill(init.pid, signal.SIGKILL)
            init.wait()
            raise
        gate.open()
        return status_of(init.result()), None if supervised is None else supervised.pack()

    with Relay(step.stdout, step.stderr) as relay:
        child = Child(guard, (relay.stdout, relay.stderr))
        with suspended_together(child.pid):
            match child.result(stop=signal.SIGTERM, relay=relay):
                case (status, supervised):
                    return status_of(status), supervised
    raise SundogError(NO_OUTCOME)


def status_of(result: object) -> int:
    """Return the status that a process beside the command tells.  Raises SundogError for others."""
    if not isinstance(result, int):
        raise SundogError(NO_OUTCOME)
    return result


@contextmanager
def suspended_together(guard: int) -> "Iterator[None]":
    """Have the command stop when ^Z stops this process, and go on with it."""

    def suspend(number: int, _: object) -> None:
        os.kill(guard, signal.SIGTSTP)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Here it goes on.
        signal.signal(number, suspend)
        os.kill(guard, signal.SIGCONT)

    before = signal.getsignal(signal.SIGTSTP)
    if before != signal.SIG_DFL:  # ignored, where nobody controls jobs
        yield
        return
    signal.signal(signal.SIGTSTP, suspend)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)


def stop_guard() -> None:
    """Kill everything below the guard, and end it."""
    kill_children()
    os._exit(1)


class Gate:
    """Lets one process wait, made before it is forked, until another opens it or is dead."""

    __slots__ = ("_write_end", "read_end")

    def __init__(self) -> None:
        self.read_end, self._write_end = os.pipe()

    def open(self) -> None:
        """Let the other one go on."""
        os.close(self._write_end)

    def wait(self) -> None:
        """Wait for the other one.  This process and its children have no other end."""
        os.read(self.read_end, 1)


class Foreground:
    """The process group of the command, which hears what the builder is told: ^C, ^Z and go on."""

    __slots__ = ("_group",)

    def __init__(self, group: int) -> None:
        self._group = group
        for signo in TOLD:
            signal.signal(signo, self._tell)

    def _tell(self, number: int, _: object) -> None:
        if self._group:
            # A group without a terminal ignores SIGTSTP.
            meant = signal.SIGSTOP if number == signal.SIGTSTP else number
            for tell in (os.killpg, os.kill):  # it may not have made its group yet
                try:
                    tell(self._group, meant)
                except ProcessLookupError:
                    continue
                return

    def leave(self) -> None:
        """Tell nobody any more: the number may become another's."""
        self._group = 0


def container(
    step: Step,
    relay: Relay,
    *,
    own_pids: bool,
    emulation: "Emulation | None" = None,
    gate: "Gate | None" = None,
) -> int:
    """Make the container, run the command in it, and clean up; return as ``run_step`` does.

    The mounts stay until the ``gate`` is open: a supervisor looks at what is in them.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL if own_pids else lambda *_: stop_guard())
    plan = step_plan(step, own_pids=own_pids)
    directory, operations = plan.mount(ignore)
    enter(directory, operations, ignore)
    os.close(directory)
    os.close(plan.scratch)
    signal.pthread_sigmask(signal.SIG_BLOCK, TOLD)
    kept = [relay.stdout, relay.stderr]
    if emulation is not None:
        kept.append(emulation.theirs)
    command = Child(lambda _tie: become(step, relay, emulation), kept)
    foreground = Foreground(command.pid)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TOLD)
    for fd in set(kept):
        os.close(fd)
    try:
        answer = command.answer()
        status = reap_until(command.pid)
        foreground.leave()
    finally:
        if own_pids:
            kill_namespace()
        else:
            kill_children()
    if answer:
        opened(answer)
    if gate is not None:
        gate.wait()
    for operation in reversed(operations):
        if isinstance(operation, StepMount):
            operation.remove()
    return os.waitstatus_to_exitcode(status)


def become(step: Step, relay: Relay, emulation: "Emulation | None" = None) -> None:
    """Become the command.  Raises SundogError if that fails."""
    os.setsid()
    null = os.open(b"/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    for fd, stream in zip((null, relay.stdout, relay.stderr), STANDARD_STREAMS, strict=True):
        os.dup2(fd, stream)
    for number in (*TOLD, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    if step.ignores_interrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TOLD)
    try:
        os.makedirs(step.cwd, 0o755, exist_ok=True)
        os.chdir(step.cwd)
    except OSError as error:
        raise SundogError(f"can't cd to {printable(step.cwd)}: {error.strerror}") from None
    # Who may not be traced may not write ID maps either; nothing of the image runs yet.
    set_dumpable(True)
    lock_mounts()
    if step.offline:  # as the owner of the network: ping(8) wants CAP_NET_RAW there
        unshare(CLONE_NEWNET)
        bring_up_loopback()
    set_no_new_privs()
    scope(LANDLOCK_SCOPES)
    forbid_keys()
    if emulation is not None:
        emulation.install(fake_sync=step.fake_sync, namespaces=own_namespaces())
    elif step.seccomp:
        install_fake_root(fake_sync=step.fake_sync)
    failure = execute(step.argv, step.env)
    hint = failure_hint(failure, step.argv[0], step.env)
    if failure.errno == errno.ENOENT and step.argv[0] == SCRIPT_SHELL:
        hint = hint or "the image has no shell: copy one into it, or write RUN as a JSON array"
    raise SundogError(f"can't execve(2): {printable(step.argv[0])}: {failure.strerror}", hint)


def reap_until(pid: int) -> int:
    """Reap children, adopted ones too, until ``pid`` ends; return its wait status.

    One that has asked to be traced (PTRACE_TRACEME in ptrace(2)) is told of when it stops, too.
    """
    while True:
        ended, status = os.wait()
        if ended == pid and not os.WIFSTOPPED(status):
            return status


def kill_namespace() -> None:
    """Kill and reap all other processes of the PID namespace whose PID 1 this process is."""
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        return
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def kill_children() -> None:
    """Kill and reap all descendants of this process, which adopts those that lose their parent."""
    proc = os.open(b"/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    kill_members(proc, {os.getpid()})
    os.close(proc)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return
