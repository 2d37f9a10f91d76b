"""The init of a RUN's container: it waits for the command, and ends all other processes after it.

It ends all processes, too, when the builder has ended, whatever ended it, and when the command has
been killed and can't die, because it waits for a FUSE daemon that does not answer.  It looks up no
path while programs of the image run, so it waits for no file system itself.
"""

from __future__ import annotations

import os
import signal

from sundog.base.kernel.process import set_child_subreaper, set_pdeathsig
from sundog.runtime.process.job_control import TOLD, tell_group
from sundog.runtime.supervision.ending import Ending, waiting
from sundog.runtime.supervision.leash import heard, listen, take_leave
from sundog.runtime.supervision.members import find_members, kill_members

# The signals that the init waits for.  The command must unblock them.
AWAITED = (signal.SIGCHLD, signal.SIGIO, signal.SIGTERM, signal.SIGHUP)
_ENDING = (signal.SIGTERM, signal.SIGHUP)

_LOOK = 2.0  # seconds between two looks whether the command can still end
_URGENT_LOOK = 0.25  # after ^C
_LOOKS = 4  # that must find that it can't


class Init:
    """This process, before it forks the command.

    ``leash`` is its end of the connection to the builder.  ``guard`` is the process that has forked
    it, or 0 if the builder has done that.

    own_pids    whether it is PID 1 of a namespace; if not, it adopts the orphans
    """

    __slots__ = ("_ending", "_guard", "_is_urgent", "_leash", "own_pids")

    def __init__(self, ending: Ending, leash: int, guard: int, *, own_pids: bool) -> None:
        self._ending = ending
        self._leash = leash
        self._guard = guard
        self.own_pids = own_pids
        self._is_urgent = False
        if not own_pids:
            set_child_subreaper()
        signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
        for number in TOLD:
            signal.signal(number, signal.SIG_IGN)
        listen(leash)
        set_pdeathsig(0)  # from now on, the builder's end decides

    def await_end(self, command: int, proc: int) -> int | None:
        """Wait until the ``command`` has ended, or until all must end; return its wait status.

        ``proc`` is the /proc that has its number.
        """
        inside = self._ending.seen_from(proc)
        stuck = 0
        while (status := self._reap(command)) is None:
            if stuck >= _LOOKS or not self._goes_on(command):
                return None
            received = signal.sigtimedwait(AWAITED, _URGENT_LOOK if self._is_urgent else _LOOK)
            if received is None:
                stuck = stuck + 1 if self._waits() or inside.is_stuck(command) else 0
            elif received.si_signo in _ENDING and not (self.own_pids and received.si_pid):
                return None  # no program of the container has sent it
        return status

    def end(self) -> None:
        """Kill and reap all other processes of the container, and tell the builder.

        Raises SundogError if processes do not end.
        """
        self._ending.end(
            self._kill, self._members, lambda seconds: signal.sigtimedwait(AWAITED, seconds)
        )
        take_leave(self._leash)

    def _goes_on(self, command: int) -> bool:
        """Tell the ``command`` what the builder tells; return False if all must end."""
        told = heard(self._leash)
        if told is None or signal.SIGTERM in told:
            return False
        for number in told:
            self._is_urgent = self._is_urgent or number == signal.SIGINT
            tell_group(command, number)
        return True

    def _waits(self) -> bool:
        """Tell whether the guard waits in the kernel after ^C.

        A supervisor that waits for a FUSE daemon can't answer the command's calls.  The builder has
        sent it a signal, so it is in the state "D" then.
        """
        return self._is_urgent and waiting(self._ending.proc, self._guard)[0]

    def _kill(self) -> bool:
        """Kill all others, and reap those that have ended; return whether all have."""
        if self.own_pids:
            try:
                os.kill(-1, signal.SIGKILL)
            except ProcessLookupError:
                return True
        else:
            kill_members(self._ending.proc, {os.getpid(), self._guard})
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    return False
            except ChildProcessError:
                return True

    def _members(self) -> list[int]:
        return find_members(self._ending.proc, {self._guard})

    def _reap(self, command: int) -> int | None:
        """Reap children, including adopted ones, until ``command``; return its wait status.

        Returns None if it has not ended.  waitpid also returns when a child that asked to be traced
        (PTRACE_TRACEME in ptrace(2)) stops.
        """
        while True:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                return None
            if process == command and not os.WIFSTOPPED(status):
                return status
