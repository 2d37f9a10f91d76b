"""The processes of an instance of ``sundog apptainer``.

    the one of the record ── the init, PID 1 ─┬─ ch-run, idle: the first member of the group
                                              └─ ch-run, which becomes the startscript

The first one has the namespaces of the instance, waits outside of its PID namespace, and passes
signals on.  The init gives a signal to all processes of the container, and ends the instance when
they have ended.  It also ends it when the startscript has failed.  If the startscript ends with 0,
the instance goes on.  Where no PID namespace is possible, the init gives a signal to the
startscript alone, and the keeper of the group ends the rest.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress

from sundog.base.kernel.files import leave_descriptors, write_all
from sundog.base.kernel.libc import escaped
from sundog.base.kernel.process import (
    fork,
    set_child_subreaper,
    set_dumpable,
    set_pdeathsig,
)
from sundog.errors import SundogError
from sundog.front.cli.apptainer_limit import with_limit
from sundog.front.cli.apptainer_namespaces import (
    JOB_CONTROL,
    mount_proc,
    shell_status,
    wait_outside,
)
from sundog.front.cli.sundog_start import go_on_as_ch_run
from sundog.runtime.supervision.members import find_members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from sundog.front.ch_run_line import ChRunLine

READY = b"+"
_FAILED = 255
_LOG_LIMIT = 1 << 16  # bytes that are shown of the log of a start that fails
_LOOK = 0.05  # seconds between two looks at the processes that are to end
_PATIENCE = 10.0  # seconds until the first member has written what it knows
_EVERY = signal.valid_signals() - JOB_CONTROL


class Starts:
    """The starts of an instance: its first member, and its startscript, if it has one.

    ``logs`` are descriptors for the output.  ``seconds`` is as for the plan of the startscript.
    """

    __slots__ = ("command", "first", "logs", "seconds")

    def __init__(
        self,
        first: ChRunLine,
        command: ChRunLine | None,
        logs: tuple[int, int],
        *,
        seconds: float,
    ) -> None:
        self.seconds = seconds
        self.first = first
        self.command = command
        self.logs = logs


def be_instance(starts: Starts, told: int, *, own_pids: bool) -> NoReturn:
    """Be the process of the record.  ``told`` is a pipe that gets READY when the container runs."""
    os.chdir("/")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _EVERY)
    ours, theirs = os.pipe()
    init = fork()
    if init == 0:
        os.close(theirs)
        try:
            _be_init(starts, told, ours, before, own_pids=own_pids)
        finally:
            os._exit(_FAILED)
    leave_descriptors((theirs,))  # the init sees the end of this process by the pipe
    wait_outside(init)


def _be_init(
    starts: Starts, told: int, parent: int, before: set[int | signal.Signals], *, own_pids: bool
) -> NoReturn:
    """Be the init: start the members, and wait for the end."""
    if own_pids:
        mount_proc()
    else:
        set_child_subreaper()
    set_pdeathsig(signal.SIGKILL)
    if select.select([parent], [], [], 0)[0]:  # it has ended already
        os._exit(_FAILED)
    own = {"SUNDOG_WAITER": str(os.getpid())}
    listening, telling = os.pipe()
    os.set_inheritable(telling, True)
    first = fork()
    if first == 0:
        _become(starts.first, own | {"SUNDOG_IDLE": str(telling)}, starts.logs[1], starts, before)
    os.close(telling)
    if not os.read(listening, len(READY)):
        os.write(2, os.pread(starts.logs[1], _LOG_LIMIT, 0))
        os._exit(shell_status(os.waitpid(first, 0)[1]) or _FAILED)
    command = 0
    if starts.command is not None:
        command = fork()
        if command == 0:
            _become(starts.command, {"SUNDOG_JOIN": "running"}, starts.logs[0], starts, before)
    with suppress(OSError):  # the user has ended the program that waits
        write_all(told, READY)
    set_dumpable(False)
    leave_descriptors(())
    os._exit(_Init(first, command, own_pids=own_pids).wait())


def _become(
    line: ChRunLine,
    variables: dict[str, str],
    output: int,
    starts: Starts,
    mask: set[int | signal.Signals],
) -> NoReturn:
    """Become ``ch-run``, whose output goes to the logs."""
    try:
        os.dup2(output, 1)
        os.dup2(starts.logs[1], 2)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        seconds = starts.seconds if line is starts.command else 0
        words = with_limit(line.arguments, seconds) if seconds else line.arguments
        go_on_as_ch_run(words, line.environment | variables)
    except SundogError as error:
        os.write(2, f"FATAL:   {escaped(error.message)}\n".encode(errors="backslashreplace"))
    finally:
        os._exit(_FAILED)


class _Init:
    """The init, whose children ``first`` and ``command`` are; ``command`` is 0 without one."""

    __slots__ = ("_command", "_first", "_own", "_own_pids", "_proc", "_statuses")

    def __init__(self, first: int, command: int, *, own_pids: bool) -> None:
        self._first = first
        self._command = command
        self._own_pids = own_pids
        self._statuses: dict[int, int] = {}  # of the two, when they have ended
        self._proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._own = os.stat("/proc/self/ns/user").st_ino

    def wait(self) -> int:
        """Wait until the instance must end, and end it; return the exit status."""
        ends = False
        while True:
            received = signal.sigtimedwait(_EVERY, _LOOK) if ends else signal.sigwaitinfo(_EVERY)
            self._reap()
            if received is not None and received.si_signo != signal.SIGCHLD:
                ends = True
                self._signal(received.si_signo)
            status = self._statuses.get(self._command, 0)
            if self._first in self._statuses:
                return status or self._statuses[self._first]
            if not self._members() if ends else status:
                self._end()
                return status

    def _end(self) -> None:
        """End all processes, the first member at last: with --fakeroot it saves the records.

        Without a PID namespace, leave that to the keeper, which sees the end of this process.
        """
        if not self._own_pids:
            return
        while members := self._members():
            self._signal(signal.SIGKILL, members)
            signal.sigtimedwait(_EVERY, _LOOK)
            self._reap()
        with suppress(ProcessLookupError):
            os.kill(self._first, signal.SIGTERM)
        left = _PATIENCE
        while self._first not in self._statuses and left > 0:
            signal.sigtimedwait(_EVERY, _LOOK)
            self._reap()
            left -= _LOOK

    def _members(self) -> list[int]:
        """Return the processes of the container, without those of Sundog."""
        if not self._own_pids:
            is_there = self._command and self._command not in self._statuses
            return [self._command] if is_there else []
        return [each for each in find_members(self._proc, {os.getpid()}) if self._is_inside(each)]

    def _is_inside(self, process: int) -> bool:
        """Tell whether a process is not in the same user namespace: the keeper of the group is."""
        try:
            return os.stat(f"{process}/ns/user", dir_fd=self._proc).st_ino != self._own
        except OSError:
            return False  # it has ended

    def _signal(self, number: int, members: list[int] | None = None) -> None:
        for process in self._members() if members is None else members:
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def _reap(self) -> None:
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if process == 0:
                return
            if process in (self._first, self._command):
                self._statuses[process] = shell_status(status)
