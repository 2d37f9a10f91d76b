"""The ender: a process that ends the container of a ``ch-run --notify`` that has died.

    ch-run, the stand-in for the command ─┬─ the supervisor ── the ender
                                          └─ the command

The supervisor does that itself, unless it waits in the kernel for a file system of FUSE that a
program of the container serves.  So it forks the ender before a program mounts something.  Few
programs do, and a fork takes a thirtieth of a start.

The ender waits for the end of the stand-in, whatever ends it.  It looks up no path, and answers no
program, so no program of the container can make it wait.
"""

import os
from _signal import SIG_BLOCK, pthread_sigmask, valid_signals  # type: ignore[import-not-found]
from select import POLLIN, poll
from time import sleep

from sundog.base.kernel.files import STDERR_FILENO, close_all_but
from sundog.base.kernel.process import PR_SET_NAME, prctl
from sundog.errors import SundogError
from sundog.runtime.supervision.ending import Ending
from sundog.runtime.supervision.fuse_mounts import HostMounts
from sundog.runtime.supervision.members import find_members, kill_members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sundog.runtime.launcher.messages import Messages

ENDER_NAME = b"ch-run-ender"  # as ps(1) shows it


class Members:
    """The processes of a container, or with ``peer`` those of one ``ch-run`` of a group.

    ``proc`` is the /proc of their PID namespace.
    """

    __slots__ = ("_ending", "_peer")

    def __init__(self, proc: int, host: HostMounts, peer: int = 0) -> None:
        self._ending = Ending(proc, host)
        self._peer = peer

    def descriptors(self) -> tuple[int, ...]:
        """Return the open descriptors that this process needs."""
        return self._ending.descriptors()

    def is_stuck(self, process: int) -> bool:
        """Tell whether ``process`` has been killed, and waits in the kernel."""
        return self._ending.is_stuck(process)

    def living(self, spared: "Collection[int]") -> list[int]:
        """Return those that have not ended, without the ``spared``."""
        return self._ending.living(find_members(self._ending.proc, spared, self._peer))

    def end(
        self,
        is_over: "Callable[[], bool]",
        spared: "Collection[int]",
        wait: "Callable[[float], object]",
    ) -> None:
        """Kill all but the ``spared`` until it ``is_over``; see ``Ending.end``.

        A group shares its file systems, so nothing breaks them before its last process is killed.
        """

        def kill() -> bool:
            if is_over():
                return True
            kill_members(self._ending.proc, spared, self._peer)
            return False

        def left() -> list[int]:
            found = self.living(spared)
            if self._peer:
                others = set(find_members(self._ending.proc, spared)) - set(found)
                if self._ending.living(others):
                    return []
            return found

        self._ending.end(kill, left, wait)


def start_ender(members: Members, process: int, messages: "Messages") -> None:
    """Fork a process that ends the ``members`` when ``process`` has ended, a pidfd.

    Raises OSError.
    """
    if os.fork():
        return
    try:
        pthread_sigmask(SIG_BLOCK, valid_signals())
        close_all_but((STDERR_FILENO, process, *members.descriptors()))
        prctl(PR_SET_NAME, b"PR_SET_NAME", ENDER_NAME)
        events = poll()
        events.register(process, POLLIN)
        events.poll()
        spared = {os.getpid()}
        members.end(lambda: not members.living(spared), spared, sleep)
    except SundogError as error:
        messages.error(error.message, error.hint)
    finally:
        os._exit(0)
