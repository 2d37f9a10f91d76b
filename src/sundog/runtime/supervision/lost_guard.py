"""End a RUN whose init or guard somebody has killed: the builder does it, from outside."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from sundog.base.kernel.files import Closing
from sundog.errors import SundogError
from sundog.runtime.container.paths import OPEN_DIRECTORY
from sundog.runtime.process.child import PATIENCE_WITH_STOPPED
from sundog.runtime.supervision.ending import Ending, waiting
from sundog.runtime.supervision.fuse_mounts import HostMounts
from sundog.runtime.supervision.members import find_members, kill_members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.supervision.leash import Leash

KILLED = (
    "a process that keeps the container was killed",
    "if it was not you, the machine may be out of memory: see dmesg",
)


class Looking:
    """Notices that a container can't end any more: its supervisor, or its init, has been killed.

    The ``guard`` is the supervisor.  While it waits for a FUSE daemon, it does not die; and while
    the container's processes do, the supervisor waits for their calls.
    """

    __slots__ = ("_guard", "_leash", "_times")

    def __init__(self, guard: int, leash: Leash) -> None:
        self._guard = guard
        self._leash = leash
        self._times = 0

    def __call__(self) -> None:
        """Look at the guard.  Raises SundogError at the second time that it is lost.

        If the init has ended as it should, the guard may still wait, but for a disk.
        """
        has_ended = self._leash.has_ended(0)
        if has_ended and self._leash.is_done():
            return
        with suppress(ProcessLookupError):
            if has_ended:  # the kernel shows only after a signal that the guard waits
                os.kill(self._guard, signal.SIGINT)
        with Closing(os.open(b"/proc", OPEN_DIRECTORY)) as proc:
            waits, is_killed = waiting(proc, self._guard)
            is_lost = waits and is_killed
            if has_ended:
                is_lost = waits or self._leaves_others(proc)
        self._times = self._times + 1 if is_lost else 0
        if self._times > 1:
            raise SundogError(*KILLED)

    def _leaves_others(self, proc: int) -> bool:
        """Tell whether an init that has ended has left processes of the container alive."""
        namespace = self._leash.namespace()
        if namespace < 0:
            return False
        members = find_members(proc, {self._guard}, own=os.fstat(namespace).st_ino)
        return bool(members) and bool(Ending(proc, HostMounts()).living(members))


def end_from_outside(leash: Leash) -> None:
    """Wait until nothing of a container is alive any more, and end what its init has not ended.

    Somebody may have killed the init, or the guard.  Raises SundogError if processes do not end.
    """
    leash.tell(signal.SIGTERM)
    leash.has_ended(PATIENCE_WITH_STOPPED)
    namespace = leash.namespace()
    if namespace < 0:
        return
    with Closing(os.open(b"/proc", OPEN_DIRECTORY)) as proc:
        own = os.fstat(namespace).st_ino
        ending = Ending(proc, HostMounts())

        def members() -> list[int]:
            return ending.living(find_members(proc, (), own=own))

        def kill() -> bool:
            kill_members(proc, (), own=own)
            return not members()

        ending.end(kill, members, time.sleep)
