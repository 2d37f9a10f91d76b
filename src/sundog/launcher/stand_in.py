"""Stand in for a command: a caller that watches and signals this process means the command.

* A signal that a process sends here goes on to the command.  One that the terminal sends does not:
  the command is in the same process group and has it already.
* When the command stops, this process does, and when that is continued, the command is: so the job
  control of the caller's shell works, and that of a shell that is the command, too.  One that has
  made a process group of its own gets the terminal back then, which the caller's shell gives to
  this one's.
* Exit status and death by a signal are the command's.

Floor 0.
"""

import os
from _signal import (  # type: ignore[import-not-found]
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
from resource import RLIMIT_CORE, setrlimit

from sundog.container.members import kill_members
from sundog.errors import EXIT_RUN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.launcher.messages import Messages

FIRST_PATIENCE = 0.005  # seconds until the first look at who is left, and
PATIENCE = 0.05  # between two
RUNNING = -1  # as a wait status


class StandIn:
    """The stand-in for ``command``, beside its ``supervisor``: both are children.

    All signals are blocked.  ``proc`` is the /proc of their PID namespace.
    """

    __slots__ = ("_command", "_proc", "_statuses", "_supervisor")

    def __init__(self, command: int, supervisor: int, proc: int) -> None:
        self._command = command
        self._supervisor = supervisor
        self._proc = proc
        self._statuses = {command: RUNNING, supervisor: RUNNING}

    def stand(self, messages: "Messages") -> int:
        """Wait until all is over; return the command's exit status, or die of its signal."""
        while self._statuses[self._command] == RUNNING:
            received = sigwaitinfo(valid_signals())
            if received.si_signo == SIGCHLD:
                self._reap()
                # It may well find the container empty before the command's death is known here.
                if self._statuses[self._supervisor] not in (RUNNING, 0):
                    break
            elif self._is_for_command(received.si_signo, received.si_code):
                self._pass_on(received.si_signo)
        self._end()
        supervisor = self._statuses[self._supervisor]
        if os.WIFSIGNALED(supervisor):
            messages.error(
                "the supervisor died, and the container with it",
                "if nobody killed it, the machine may be out of memory: see dmesg",
            )
            return EXIT_RUN
        status = self._statuses[self._command]
        if os.WIFSIGNALED(status) and supervisor == 0:
            die_of(os.WTERMSIG(status))
        return os.WEXITSTATUS(status) or os.WEXITSTATUS(supervisor)

    def _reap(self) -> None:
        """Take the news about all children, adopted ones too; stop if the command has."""
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
        """Stop as the command has, until somebody continues this process."""
        group = os.getpgid(self._command)
        was_in_front = on_terminal(os.tcgetpgrp) == group
        os.kill(os.getpid(), SIGSTOP)
        # The signal that continued this is blocked, and will be passed on.
        if was_in_front and on_terminal(os.tcgetpgrp) == os.getpgrp():
            on_terminal(lambda terminal: os.tcsetpgrp(terminal, group))

    def _is_for_command(self, signo: int, code: int) -> bool:
        """Tell whether the command has not got the signal itself.

        The kernel's own, from the terminal, go to the whole group.  A SIGHUP goes to the leader of
        the session, as which the caller may have started this process; and it goes, with a SIGCONT,
        to a stopped group whose session is over.
        """
        if code <= 0:  # SI_USER and its like: sigaction(2)
            return True
        return signo in (SIGHUP, SIGCONT) and os.getpgid(self._command) != os.getpgrp()

    def _pass_on(self, signo: int) -> None:
        try:
            os.kill(self._command, signo)
        except ProcessLookupError:
            return  # its SIGCHLD is on the way

    def _end(self) -> None:
        """End what is left of the container, and wait for the supervisor, who sees that."""
        if self._statuses[self._supervisor] == RUNNING:
            # Mostly nothing is left, and the supervisor is about to end.  Then there is no need to
            # look at all processes of the machine.
            self._wait(FIRST_PATIENCE)
        while RUNNING in self._statuses.values():
            kill_members(self._proc, {os.getpid(), self._supervisor})
            self._wait(PATIENCE)

    def _wait(self, seconds: float) -> None:
        """Wait for news about children, not long."""
        sigtimedwait([SIGCHLD], seconds)
        self._reap()


def on_terminal(call: "Callable[[int], int | None]") -> int | None:
    """Return what ``call`` says of the controlling terminal; None if none is there, or no more."""
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


def die_of(signo: int) -> None:
    """Die of a signal, as the command did; it has dumped core already if it was to."""
    setrlimit(RLIMIT_CORE, (0, 0))
    if signo != SIGKILL:
        signal(signo, SIG_DFL)
        pthread_sigmask(SIG_UNBLOCK, {signo})
    os.kill(os.getpid(), signo)
