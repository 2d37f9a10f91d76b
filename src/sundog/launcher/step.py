"""Run one step of a build in an image: a command (RUN), or a function of ours (COPY, WORKDIR).

A RUN gets a PID namespace with its own /proc: when its first process ends, the kernel kills all
that is left, and only then is the step over (pid_namespaces(7)).  The processes, each forked from
the one before:

    builder ── guard, in new namespaces ── init, PID 1 of the container ── the command

Where a site refuses PID namespaces or a new /proc, the guard runs the command itself, adopts what
it leaves behind and kills until nothing is left.

Not part of ``ch-run``, but made of the same parts.
"""

import errno
import os
import signal

from sundog.emulation.filter import install_fake_root
from sundog.errors import KernelError, SundogError
from sundog.kernel.libc import printable
from sundog.kernel.namespaces import CLONE_NEWNET, CLONE_NEWPID
from sundog.kernel.network import bring_up_loopback
from sundog.kernel.process import set_child_subreaper, set_no_new_privs
from sundog.launcher.child import Child
from sundog.launcher.enter import enter_namespaces, mount_root, mount_scratch
from sundog.launcher.execute import SCRIPT_SHELL, execute, failure_hint
from sundog.launcher.members import kill_members
from sundog.launcher.plan import enter
from sundog.launcher.root import DirectoryRoot, OverlayRoot
from sundog.launcher.step_mounts import StepMount
from sundog.launcher.step_plan import FreshProc, PidNamespaceRefused, ignore, step_plan
from sundog.launcher.variables import Environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from sundog.launcher.supervised import Emulation, Supervised

    T = TypeVar("T")

STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO = 0, 1, 2


class Step:
    """A command and its world: ``root`` is writable, ``env`` complete, ``cwd`` made if missing.

    ``binds`` are pairs of a host path and a path in the container, made for the time of the step if
    missing; further ``mounts`` come after them, in the order of ``arranged``.  ``offline`` gives it
    a network of its own, with nothing in it.  ``fake_sync`` answers fsync(2) and its family "done"
    (only with ``seccomp`` or under a supervisor).
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


def run_supervised(step: Step, emulation: "Emulation") -> "Supervised":
    """Run the command as ``run_step`` does, under a supervisor; return what came of it.

    Raises also PidNamespaceRefused: the supervisor has to see the container from outside.
    """
    status, supervised = guarded(step, own_pids=True, emulation=emulation)
    if supervised is None:
        raise SundogError("the command ended before its supervisor could answer it")
    supervised.status = status
    return supervised


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

    reason: str = Child(attempt).result()
    return reason


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
    result and the exceptions have to be fit for pickling.
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

    result: T = Child(inside).result()
    return result


def guarded(
    step: Step, *, own_pids: bool, emulation: "Emulation | None" = None
) -> "tuple[int, Supervised | None]":
    """Run the step below a guard, which supervises it if there is an ``emulation`` to keep up.

    See the module's docstring for what ``own_pids`` changes.
    """

    def guard(tie: "Callable[[], None]") -> "tuple[int, Supervised | None]":
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the builder hears it too, and says SIGTERM
        if emulation is not None:
            emulation.prepare()
        try:
            more = (CLONE_NEWPID if own_pids else 0) | (CLONE_NEWNET if step.offline else 0)
            enter_namespaces(step.uid, step.gid, more)
        except KernelError as error:
            if own_pids and error.call == "unshare":
                raise PidNamespaceRefused(error.message) from None
            raise
        tie()
        if step.offline:
            bring_up_loopback()
        if emulation is not None:
            emulation.merge()
        if not own_pids:
            set_child_subreaper()
            signal.signal(signal.SIGTERM, lambda *_: stop_guard())
            return container(step, own_pids=False), None
        # Until the handler knows whom to kill, the builder's SIGTERM has to wait.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        gate = Gate()
        init = Child(
            lambda _tie: unblocked(
                lambda: container(step, own_pids=True, emulation=emulation, gate=gate)
            )
        )
        signal.signal(signal.SIGTERM, lambda *_: os.kill(init.pid, signal.SIGKILL))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        try:
            supervised = None if emulation is None else emulation.supervise()
        except BaseException:
            os.kill(init.pid, signal.SIGKILL)
            init.wait()
            raise
        gate.open()
        return init.result(), supervised

    outcome: tuple[int, Supervised | None] = Child(guard).result(stop=signal.SIGTERM)
    return outcome


def unblocked(function: "Callable[[], int]") -> int:
    """Call ``function`` with SIGTERM's default action, which leaves PID 1 alone."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    return function()


def stop_guard() -> None:
    """Kill everything below the guard, and end it."""
    kill_children()
    os._exit(1)


class Gate:
    """Lets one process wait, made before it is forked, until another opens it or is dead."""

    __slots__ = ("_read_end", "_write_end")

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()

    def open(self) -> None:
        """Let the other one go on."""
        os.close(self._write_end)

    def wait(self) -> None:
        """Wait for the other one.  Children of this process must have exec'd or ended."""
        os.close(self._write_end)
        os.read(self._read_end, 1)


def container(
    step: Step,
    *,
    own_pids: bool,
    emulation: "Emulation | None" = None,
    gate: "Gate | None" = None,
) -> int:
    """Make the container, run the command in it, and clean up; return as ``run_step`` does.

    The mounts stay until the ``gate`` is open: a supervisor looks at what is in them.
    """
    plan = step_plan(step, own_pids=own_pids)
    directory, operations = plan.mount(ignore)
    enter(directory, operations, ignore)
    command = Child(lambda _tie: become(step, emulation))
    if emulation is not None:
        emulation.release()
    try:
        answer = command.answer()
        status = reap_until(command.pid)
    finally:
        if own_pids:
            kill_namespace()
        else:
            kill_children()
    if answer is not None:
        raise answer[1]
    if gate is not None:
        gate.wait()
    for operation in reversed(operations):
        if isinstance(operation, StepMount):
            operation.remove()
    return os.waitstatus_to_exitcode(status)


def become(step: Step, emulation: "Emulation | None" = None) -> None:
    """Become the command.  Raises SundogError if that fails."""
    null = os.open(b"/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, STDIN_FILENO)
    os.dup2(step.stdout, STDOUT_FILENO)
    os.dup2(step.stderr, STDERR_FILENO)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    if not step.ignores_interrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        os.makedirs(step.cwd, 0o755, exist_ok=True)
        os.chdir(step.cwd)
    except OSError as error:
        raise SundogError(f"can't cd to {printable(step.cwd)}: {error.strerror}") from None
    set_no_new_privs()
    if emulation is not None:
        emulation.install(fake_sync=step.fake_sync)
    elif step.seccomp:
        install_fake_root(fake_sync=step.fake_sync)
    environment = Environment.of(step.env)
    failure = execute(step.argv, environment)
    hint = failure_hint(failure, step.argv[0], environment)
    if failure.errno == errno.ENOENT and step.argv[0] == SCRIPT_SHELL:
        hint = hint or "the image has no shell: copy one into it, or write RUN as a JSON array"
    raise SundogError(f"can't execve(2): {printable(step.argv[0])}: {failure.strerror}", hint)


def reap_until(pid: int) -> int:
    """Reap children, adopted ones too, until ``pid`` ends; return its wait status."""
    while True:
        ended, status = os.wait()
        if ended == pid:
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
