"""The ender: a process that ends a container whose ``ch-run`` or keeper has been killed.

    ch-run --notify, the stand-in for the command ─┬─ the supervisor ── the ender
                                                   └─ the command
    the keeper of a group ── the ender

The supervisor ends the container itself, unless it waits in the kernel for a file system of FUSE
that a program of the container serves.  So it forks the ender before a program mounts something.
Few programs do, and a fork takes a thirtieth of a start.

The keeper of a group forks an ender at once, and kills it before it ends by itself.

The ender waits for the end of the stand-in or of the keeper, whatever ends it.  It looks up no
path, and answers no program, so no program of the container can make it wait.
"""

from __future__ import annotations

import os
from select import POLLIN, poll
from time import sleep

from sundog.base.cpython import SIG_BLOCK, pthread_sigmask, valid_signals
from sundog.base.kernel.files import STDERR_FILENO, close_all_but
from sundog.base.kernel.process import PR_SET_NAME, fork_below, prctl
from sundog.errors import SundogError
from sundog.runtime.container.paths import OPEN_DIRECTORY
from sundog.runtime.supervision.ending import Ending
from sundog.runtime.supervision.fuse_mounts import HostMounts
from sundog.runtime.supervision.members import find_members, kill_members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sundog.runtime.launcher.messages import Messages

_ENDER_NAME = b"ch-run-ender"  # as ps(1) shows it


class Members:
    """The processes of a container, or with ``peer`` those of one ``ch-run`` of a group.

    ``proc`` is the /proc of their PID namespace.  ``namespace`` is a descriptor of their user
    namespace, or -1 if this process is in it.
    """

    __slots__ = ("_ending", "_namespace", "_own", "_peer", "proc")

    def __init__(self, proc: int, host: HostMounts, peer: int = 0, namespace: int = -1) -> None:
        self.proc = proc
        self._ending = Ending(proc, host)
        self._namespace = namespace
        self._own = os.fstat(namespace).st_ino if namespace >= 0 else 0
        self._peer = peer

    def descriptors(self) -> tuple[int, ...]:
        """Return the open descriptors that this process needs."""
        kept = (self._namespace,) if self._own else ()  # its number is not used again meanwhile
        return (*self._ending.descriptors(), *kept)

    def is_stuck(self, process: int) -> bool:
        """Tell whether ``process`` has been killed, and waits in the kernel."""
        return self._ending.is_stuck(process)

    def living(self, spared: Collection[int]) -> list[int]:
        """Return those that have not ended, without the ``spared``."""
        return self._ending.living(self._find(spared, self._peer))

    def _find(self, spared: Collection[int], peer: int) -> list[int]:
        return find_members(self._ending.proc, spared, peer, self._own)

    def end(
        self,
        is_over: Callable[[], bool],
        spared: Collection[int],
        wait: Callable[[float], object],
    ) -> None:
        """Kill all but the ``spared`` until it ``is_over``; see ``Ending.end``.

        A group shares its file systems, so nothing breaks them before its last process is killed.
        """

        def kill() -> bool:
            if is_over():
                return True
            kill_members(self._ending.proc, spared, self._peer, self._own)
            return False

        def left() -> list[int]:
            found = self.living(spared)
            if self._peer:
                others = set(self._find(spared, 0)) - set(found)
                if self._ending.living(others):
                    return []
            return found

        self._ending.end(kill, left, wait)


def start_ender(
    members: Callable[[], Members],
    process: int,
    messages: Messages | None = None,
    proc: int = -1,
) -> int:
    """Fork a process that ends the ``members`` when ``process``, a pidfd, has ended; return its ID.

    It calls ``members``.  ``proc`` is a /proc, which becomes its root directory, if programs of the
    container can change the present one: see ``fork_below``.  Raises OSError.
    """
    ender = os.fork() if proc < 0 else fork_below(proc)
    if ender:
        return ender
    try:
        pthread_sigmask(SIG_BLOCK, valid_signals())
        found = members()
        if proc >= 0:
            os.fchdir(proc)
            os.chroot(b".")
        close_all_but((STDERR_FILENO, process, *found.descriptors()))
        prctl(PR_SET_NAME, b"PR_SET_NAME", _ENDER_NAME)
        events = poll()
        events.register(process, POLLIN)
        events.poll()
        spared = {os.getpid()}
        found.end(lambda: not found.living(spared), spared, sleep)
    except SundogError as error:
        if messages is not None:
            messages.error(error.message, error.hint)
    finally:
        os._exit(0)


def start_group_ender(namespace: int) -> int:
    """Fork a process that ends the processes of a user namespace when this process has ended.

    ``namespace`` is a descriptor.  Returns the process ID.  Raises OSError.
    """
    process = os.pidfd_open(os.getpid())
    try:
        return start_ender(
            lambda: Members(os.open(b"/proc", OPEN_DIRECTORY), HostMounts(), namespace=namespace),
            process,
        )
    finally:
        os.close(process)
