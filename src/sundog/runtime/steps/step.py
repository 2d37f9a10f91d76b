"""Run one step of a build in an image: a command (RUN), or a function of ours (COPY, WORKDIR).

A RUN gets a PID namespace with its own /proc.  When its first process ends, the kernel kills all
others, and only then the step is over (pid_namespaces(7)).  These are the processes; each is forked
from the one before:

    builder ── guard, in new namespaces ── init, PID 1 of the container ── the command

If a site refuses PID namespaces or a new /proc, init is no PID 1.  Without a supervisor, the guard
is init itself.  Init adopts the processes that the command leaves behind, and kills until none is
left.  It does so, too, if the builder dies: see ``init``.

The command is not trusted.  It can neither trace guard and init nor look into them (PR_SET_DUMPABLE
in prctl(2)).  They have none of the builder's descriptors.  They are in a user namespace above the
command's own, so the command can undo none of their mounts.  The command has a session of its own
and only the standard descriptors.  It writes into pipes that the builder empties.  It shares
neither System V IPC (ipc_namespaces(7)) nor keys with the user's programs.
"""

from __future__ import annotations

import errno
import os
import signal
from contextlib import suppress

from sundog.base.kernel.files import STDIN_FILENO, fail_with_efbig
from sundog.base.kernel.landlock import LANDLOCK_SCOPES, scope
from sundog.base.kernel.libc import printable
from sundog.base.kernel.mounts import AT_EMPTY_PATH, AT_RECURSIVE, OPEN_TREE_CLONE, open_tree
from sundog.base.kernel.namespaces import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWPID,
    own_namespaces,
    unshare,
)
from sundog.base.kernel.network import bring_up_loopback
from sundog.base.kernel.process import (
    clear_command_line,
    set_dumpable,
    set_no_new_privs,
)
from sundog.base.wire.outcomes import NO_OUTCOME
from sundog.errors import EXIT_EXEC, KernelError, PidNamespaceRefused, SundogError
from sundog.runtime.container.enter import enter_namespaces, lock_mounts, mount_scratch, rootless
from sundog.runtime.container.execute import SCRIPT_SHELL, execute, failure_hint
from sundog.runtime.container.fast_path import LibraryMount
from sundog.runtime.container.paths import OPEN_DIRECTORY
from sundog.runtime.container.plan import enter
from sundog.runtime.container.root import mount_root, trees_of
from sundog.runtime.container.variables import Environment
from sundog.runtime.emulation.filter import install_fake_root
from sundog.runtime.emulation.keys import forbid_keys
from sundog.runtime.fuse.layer_server import enter_with
from sundog.runtime.process.child import PATIENCE_WITH_KILLED, STANDARD_STREAMS, Child, opened
from sundog.runtime.process.job_control import TOLD, suspended_together
from sundog.runtime.process.pseudoterminal import take_terminal
from sundog.runtime.process.relay import Relay
from sundog.runtime.steps.mounts import TreeMount
from sundog.runtime.steps.plan import FreshProc, ignore, step_plan
from sundog.runtime.supervision.ending import Ending
from sundog.runtime.supervision.fuse_mounts import HostMounts
from sundog.runtime.supervision.init import AWAITED, Init
from sundog.runtime.supervision.leash import Leash, announce
from sundog.runtime.supervision.lost_guard import KILLED, Looking, end_from_outside
from sundog.runtime.supervision.supervised import Supervised

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from sundog.runtime.container.root import Root
    from sundog.runtime.steps.command import Step
    from sundog.runtime.supervision.emulation import Emulation
    from sundog.runtime.supervision.supervision import Supervision

    _T = TypeVar("_T")

_COPY = OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH


def run_supervised(step: Step, emulation: Emulation) -> tuple[int, Supervised]:
    """Run the command as ``run_step`` does, under a supervisor; also return its results."""
    status, supervised = _guarded_anyhow(step, emulation)
    if supervised is None:
        raise SundogError("the command ended before its supervisor could answer it")
    return status, Supervised.unpack(supervised)


def pid_namespace_obstacle() -> str:
    """Say why a RUN here has no PID namespace with a /proc of its own; "" if it has one."""

    def mount_proc(_tie: Callable[[], None]) -> None:
        FreshProc().generate(mount_scratch())

    def attempt(_tie: Callable[[], None]) -> str:
        try:
            enter_namespaces(0, 0, CLONE_NEWPID)
            Child(mount_proc).result()
        except PidNamespaceRefused as error:
            return error.message
        except KernelError as error:
            # Without any namespaces, other functions report more.
            return error.message if "pid" in error.subject else ""
        return ""

    return str(Child(attempt).result())


def run_step(step: Step) -> int:
    """Run the command; return its exit status, or the negative number of the signal that killed it.

    When this returns or raises, nothing that the command started is alive.  Raises KernelError if
    the container can't be made, SundogError if the command can't be started.
    """
    status, _ = _guarded_anyhow(step)
    return status


def in_root(roots: Sequence[Root], function: Callable[[list[int]], _T]) -> _T:
    """Call ``function`` with a directory of each root, as mock root in namespaces of its own.

    There this user has CAP_DAC_OVERRIDE over his own files.  ``function`` may write to the first
    root, if that root is writable.  The host's paths and the working directory stay unchanged.  The
    result must be a plain value, as for ``wire.values``.
    """

    def inside(tie: Callable[[], None]) -> _T:
        here = os.open(b".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

        def enter_own() -> None:
            enter_namespaces(0, 0)
            tie()

        enter_with(trees_of(roots), enter_own)
        directories = []
        for at, root in enumerate(roots, 1):
            directory = mount_root(root, writable=at == 1)
            if at < len(roots):
                # The next root covers this one.  A ".." up to this root would lead into that.
                directory = open_tree(directory, b"", _COPY)
            directories.append(directory)
        os.fchdir(here)
        # These descriptors have O_PATH: they only reach the files below.
        readable = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        return function([os.open(b".", readable, dir_fd=directory) for directory in directories])

    result: _T = Child(inside).result()  # type: ignore[assignment]
    return result


def _guarded_anyhow(step: Step, emulation: Emulation | None = None) -> tuple[int, object]:
    """Do what ``guarded`` does, with a PID namespace if the site allows one."""
    try:
        return guarded(step, own_pids=True, emulation=emulation)
    except PidNamespaceRefused:
        return guarded(step, own_pids=False, emulation=emulation)


def guarded(
    step: Step, *, own_pids: bool, emulation: Emulation | None = None
) -> tuple[int, object]:
    """Run the step below a guard, which supervises it if there is an ``emulation``.

    Returns the status, and the supervisor's results for ``Supervised.unpack``.  See the module's
    docstring for the effect of ``own_pids``.
    """

    options = step.options
    relay = Relay(options.stdout, options.stderr, options.output, step.terminal, step.tail)
    with relay, Leash() as leash:

        def be_guard(tie: Callable[[], None]) -> tuple[int, object]:
            return _guard(step, relay, leash, tie, own_pids=own_pids, emulation=emulation)

        try:
            child = Child(be_guard, [*relay.ends, leash.theirs, *_kept_ends(step, None)])
        finally:
            leash.give()
        look = Looking(child.pid, leash)
        try:
            with suspended_together(leash.tell):
                result = child.result(leash=leash, relay=relay, look=look)
        except BaseException:
            end_from_outside(leash)
            if child.ends_within(PATIENCE_WITH_KILLED):
                with suppress(ChildProcessError):  # it has been reaped
                    child.wait()
            raise
    match result:
        case (status, supervised):
            return _status_of(status), supervised
    raise SundogError(NO_OUTCOME)


def _guard(
    step: Step,
    relay: Relay,
    leash: Leash,
    tie: Callable[[], None],
    *,
    own_pids: bool,
    emulation: Emulation | None,
) -> tuple[int, object]:
    """Be the guard, in new namespaces: fork init, and supervise the command if that is asked for.

    Returns what ``guarded`` does.
    """
    _leave_terminal(relay)
    host = HostMounts()
    try:
        enter_with(
            trees_of([step.root, *(each.root for each in step.mounts if type(each) is TreeMount)]),
            lambda: enter_namespaces(0, 0, CLONE_NEWPID if own_pids else 0),
        )
    except KernelError as error:
        if own_pids and error.call == "unshare":
            raise PidNamespaceRefused(error.message) from None
        raise
    announce(leash.theirs)
    set_dumpable(False)
    tie()
    if step.emulator is not None:
        step.emulator.open().register()  # this process has the descriptor until it ends
    with suppress(KernelError):  # some sites allow none: user.max_ipc_namespaces is 0
        unshare(CLONE_NEWIPC)
    ending = Ending(rootless(b"/proc"), host)
    supervision = None
    if emulation is not None:
        from sundog.runtime.supervision.supervision import opened_supervision  # noqa: PLC0415

        supervision = opened_supervision(emulation)
    if supervision is None and not own_pids:
        return container(step, Init(ending, leash.theirs, 0, own_pids=False)), None
    gate = _Gate()
    this = os.getpid()
    kept = [gate.read_end, leash.theirs, *ending.descriptors(), *_kept_ends(step, supervision)]

    def be_init(_tie: Callable[[], None]) -> int:
        init = Init(ending, leash.theirs, this, own_pids=own_pids)
        return container(step, init, supervision=supervision, gate=gate)

    init = Child(be_init, kept)
    for fd in kept:
        os.close(fd)
    supervised = None
    if supervision is not None:
        supervised = supervision.supervise(step.identity, has_page=bool(step.library))
    gate.open()
    answer = init.answer()
    if not answer:  # the kernel may not be able to end the others: this process must not wait
        raise SundogError(*KILLED)
    opened(answer)  # if this raises, the init may wait for ever for what it can't end
    return _status_of(init.result()), None if supervised is None else supervised.pack()


def _leave_terminal(relay: Relay) -> None:
    """Let the user's terminal reach neither this process nor those that it will fork."""
    os.setsid()
    signal.signal(signal.SIGINT, lambda *_: None)  # see ``Child.result``
    null = os.open(b"/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    for fd, stream in zip((null, *relay.ends), STANDARD_STREAMS, strict=True):
        os.dup2(fd, stream)
    for fd in {null, *relay.ends}:
        os.close(fd)


def _status_of(result: object) -> int:
    """Return the ``result`` if it is an exit status.  Raises SundogError if not."""
    if not isinstance(result, int):
        raise SundogError(NO_OUTCOME)
    return result


class _Gate:
    """Makes one process wait until another opens the gate or is dead; made before the fork."""

    __slots__ = ("_write_end", "read_end")

    def __init__(self) -> None:
        self.read_end, self._write_end = os.pipe()

    def open(self) -> None:
        """Let the other process continue."""
        os.close(self._write_end)

    def wait(self) -> None:
        """Wait for the other process.  This process and its children must have no write end."""
        os.read(self.read_end, 1)


def container(
    step: Step,
    init: Init,
    *,
    supervision: Supervision | None = None,
    gate: _Gate | None = None,
) -> int:
    """Make the container, run the command in it, and clean up; return the same as ``run_step``.

    This process is the ``init``.  The mounts stay until the ``gate`` is open, because a supervisor
    looks at their files.
    """
    clear_command_line()
    plan = step_plan(step, own_pids=init.own_pids)
    directory, operations = plan.mount(ignore, ignore)
    # What the step mounts may cover its /proc: then the files there are those of an image.
    place = b"proc" if init.own_pids else b"/proc"
    proc = os.open(place, OPEN_DIRECTORY, dir_fd=plan.scratch)
    enter(directory, operations, ignore)
    os.close(directory)
    os.close(plan.scratch)
    library = next((each for each in operations if isinstance(each, LibraryMount)), None)
    kept = [*_kept_ends(step, supervision), *([] if library is None else [library.page])]
    command = Child(lambda _tie: _become(step, supervision, library), kept, proc=proc)
    for fd in kept:
        os.close(fd)
    try:
        answer = command.answer()
        status = init.await_end(command.pid, proc)
    finally:
        init.end()
    if answer:
        opened(answer)
    if gate is not None:
        gate.wait()
    for operation in reversed(operations):
        operation.remove()
    return -signal.SIGKILL if status is None else os.waitstatus_to_exitcode(status)


def _kept_ends(step: Step, supervision: Supervision | None) -> list[int]:
    """Return the descriptors of a step that its processes keep down to the command."""
    ends = [] if supervision is None else [supervision.theirs]
    return ends if step.terminal is None else [*ends, step.terminal.end]


def _become(
    step: Step, supervision: Supervision | None = None, library: LibraryMount | None = None
) -> None:
    """Become the command.  Raises SundogError if that fails."""
    os.setsid()
    if step.terminal is None:
        null = os.open(b"/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(null, STDIN_FILENO)
    else:
        take_terminal(step.terminal.end)
    for number in (*TOLD, signal.SIGPIPE, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    fail_with_efbig()
    if step.ignores_interrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, AWAITED)
    try:
        _make_working_directory(step.cwd)
        os.chdir(step.cwd)
    except OSError as error:
        raise SundogError(f"can't cd to {printable(step.cwd)}: {error.strerror}") from None
    # A process that may not be traced may not write ID maps either; nothing of the image runs yet.
    set_dumpable(True)
    lock_mounts(CLONE_NEWNET if step.offline else 0)
    if step.offline:
        bring_up_loopback()
    set_no_new_privs()
    scope(LANDLOCK_SCOPES)
    forbid_keys()
    environment = Environment.of(step.env)
    if library is not None:
        library.preload(step.argv, environment)
    if supervision is not None:
        supervision.install(
            step.identity,
            fake_sync=step.fake_sync,
            namespaces=own_namespaces(),
            page=-1 if library is None else library.page,
        )
    elif step.seccomp:
        install_fake_root(fake_sync=step.fake_sync)

    def told(failure: OSError) -> str:
        return f"can't execve(2): {printable(step.argv[0])}: {failure.strerror}"

    def report(failure: OSError) -> bytes:
        return bytes([EXIT_EXEC]) + f"error: {told(failure)}\n".encode()

    failure = execute(step.argv, environment, report)
    hint = failure_hint(failure, step.argv[0], environment)
    if failure.errno == errno.ENOENT and step.argv[0] == SCRIPT_SHELL:
        hint = hint or "the image has no shell; copy one into it, or write RUN as a JSON array"
    raise SundogError(told(failure), hint)


def _make_working_directory(path: bytes) -> None:
    """Make ``path`` and the missing directories above it.  Raises OSError.

    Unlike os.makedirs, it does not recurse for each of an image's thousand directories.
    """
    end = 0
    while end >= 0:
        end = path.find(b"/", end + 1)
        try:
            os.mkdir(path[:end] if end >= 0 else path, 0o755)
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):  # it may exist
                raise
