"""Stand in for a command: the caller watches and signals this process instead of the command.

* The stand-in passes the signals of other processes on to the command.  It does not pass on the
  signals of the terminal, because the command is in the same process group and gets them itself.
* When the command stops, the stand-in stops.  When the caller continues the stand-in, the stand-in
  continues the command.  So the job control of the caller's shell works.
* The command may be a shell with its own process group and job control.  The caller's shell gives
  the terminal to the group of the stand-in, which passes the terminal on to the command's group.
* The stand-in ends with the command's exit status, or by the command's signal.
"""

from __future__ import annotations

import os
from resource import RLIMIT_CORE, setrlimit

from sundog.base.cpython import (
    SIG_DFL,
    SIG_UNBLOCK,
    SIGCHLD,
    SIGCONT,
    SIGHUP,
    SIGKILL,
    SIGSTOP,
    pthread_sigmask,
    signal,
    sigtimedwait,
    sigwaitinfo,
    valid_signals,
)
from sundog.base.kernel.files import write_all
from sundog.errors import EXIT_RUN, SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.launcher.ender import Members
    from sundog.runtime.launcher.messages import Messages

_FIRST_PATIENCE = 0.005  # seconds until the first search for processes that are left
_STUCK_LOOK = 0.25  # seconds between two looks whether the command can still end, after a signal
_STUCK_LOOKS = 4  # that must find that it can't
_RUNNING = -1  # the wait status of a child that has not ended


class StandIn:
    """The stand-in for ``command``.  ``command`` and ``supervisor`` are children of this process.

    The process has blocked all signals.  ``members`` are the processes that end with the command.
    ``note`` is a descriptor of the file that gets the exit status of the command, or -1.
    """

    __slots__ = ("_command", "_members", "_note", "_statuses", "_supervisor")

    def __init__(self, command: int, supervisor: int, members: Members, note: int = -1) -> None:
        self._command = command
        self._note = note
        self._members = members
        self._supervisor = supervisor
        self._statuses = {command: _RUNNING, supervisor: _RUNNING}

    def stand(self, messages: Messages) -> int:
        """Wait for the container's end; return the command's exit status, or die of its signal."""
        every = valid_signals()
        stuck = _STUCK_LOOKS  # nothing has happened from which the command could be about to die
        while self._statuses[self._command] == _RUNNING:
            is_idle = stuck == _STUCK_LOOKS
            received = sigwaitinfo(every) if is_idle else sigtimedwait(every, _STUCK_LOOK)
            if received is None:
                if not self._members.is_stuck(self._command):
                    stuck = _STUCK_LOOKS
                    continue
                stuck += 1
                if stuck == _STUCK_LOOKS:
                    break
            elif received.si_signo == SIGCHLD:
                self._reap()
                # The supervisor may end with 0 before the command's death is known here.
                if self._statuses[self._supervisor] not in (_RUNNING, 0):
                    break
            else:
                stuck = 0
                if self._is_for_command(received.si_signo, received.si_code):
                    self._pass_on(received.si_signo)
        try:
            self._end()
        except SundogError as error:
            messages.error(error.message, error.hint)
            return EXIT_RUN
        supervisor = self._statuses[self._supervisor]
        if os.WIFSIGNALED(supervisor):
            messages.error(
                "the supervisor died, and the container with it",
                "if nobody killed it, the machine may be out of memory: see dmesg",
            )
            return EXIT_RUN
        status = self._statuses[self._command]
        if self._note >= 0:
            write_all(self._note, b"%d\n" % _shell_status(status))
        if os.WIFSIGNALED(status) and supervisor == 0:
            _die_of(os.WTERMSIG(status))
        return os.WEXITSTATUS(status) or os.WEXITSTATUS(supervisor)

    def _reap(self) -> None:
        """Read the statuses of all children, also of adopted ones; stop if the command stopped."""
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if process == 0:
                return
            if not os.WIFSTOPPED(status):
                self._statuses[process] = status
            elif process == self._command:
                self._stop()

    def _stop(self) -> None:
        """Stop like the command, until another process continues this one."""
        group = os.getpgid(self._command)
        was_in_front = _on_terminal(os.tcgetpgrp) == group
        os.kill(os.getpid(), SIGSTOP)
        # SIGCONT is blocked, so it is pending now, and ``stand`` passes it on.
        if was_in_front and _on_terminal(os.tcgetpgrp) == os.getpgrp():
            _on_terminal(lambda terminal: os.tcsetpgrp(terminal, group))

    def _is_for_command(self, signo: int, code: int) -> bool:
        """Tell whether the stand-in must pass a signal on: the command did not get it itself.

        The kernel sends the terminal's signals to the whole process group.  It sends SIGHUP to the
        leader of the session; the caller may have started this process as the leader.  It sends
        SIGHUP and SIGCONT to a stopped group if the group's session has ended.
        """
        if code <= 0:  # a process sent it, SI_USER and its like: sigaction(2)
            return True
        return signo in (SIGHUP, SIGCONT) and os.getpgid(self._command) != os.getpgrp()

    def _pass_on(self, signo: int) -> None:
        try:
            os.kill(self._command, signo)
        except ProcessLookupError:
            return  # the SIGCHLD for its end is on the way

    def _end(self) -> None:
        """Kill the processes that are left, and wait for the supervisor, which ends after them."""
        if self._statuses[self._supervisor] == _RUNNING:
            # Mostly no process is left, and the supervisor is about to end.  Then this process need
            # not look at all processes of the machine.
            self._wait(_FIRST_PATIENCE)
        self._members.end(self._is_over, self._spared(), self._wait)

    def _is_over(self) -> bool:
        """Tell whether the command and the supervisor have ended.

        If the supervisor has died, it has not waited for the others.
        """
        if _RUNNING in self._statuses.values():
            return False
        return self._statuses[self._supervisor] == 0 or not self._members.living(self._spared())

    def _spared(self) -> set[int]:
        return {os.getpid(), self._supervisor}

    def _wait(self, seconds: float) -> None:
        """Wait at most ``seconds`` for a child to change its state."""
        sigtimedwait([SIGCHLD], seconds)
        self._reap()


def _shell_status(status: int) -> int:
    """Return a wait status as shells show it: 128 and the signal for a process that died of it."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _on_terminal(call: Callable[[int], int | None]) -> int | None:
    """Call ``call`` with the controlling terminal; return its result, or None without terminal."""
    try:
        terminal = os.open(b"/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return call(terminal)
    except OSError:
        return None
    finally:
        os.close(terminal)


def _die_of(signo: int) -> None:
    """Die of the signal that killed the command, without a second core dump."""
    setrlimit(RLIMIT_CORE, (0, 0))
    if signo != SIGKILL:
        signal(signo, SIG_DFL)
        pthread_sigmask(SIG_UNBLOCK, {signo})
    os.kill(os.getpid(), signo)
