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
    """Notices that a supervisor can't answer any more: it, or the init, has been killed.

    The ``guard`` is the supervisor.  While it waits for a FUSE daemon, it does not die.
    """

    __slots__ = ("_guard", "_leash", "_times")

    def __init__(self, guard: int, leash: Leash) -> None:
        self._guard = guard
        self._leash = leash
        self._times = 0

    def __call__(self) -> None:
        """Look at the guard.  Raises SundogError at the second time that it is lost."""
        has_ended = self._leash.has_ended(0)
        with suppress(ProcessLookupError):
            if has_ended:  # the kernel shows only after a signal that the guard waits
                os.kill(self._guard, signal.SIGINT)
        with Closing(os.open(b"/proc", OPEN_DIRECTORY)) as proc:
            waits, is_killed = waiting(proc, self._guard)
        self._times = self._times + 1 if waits and (is_killed or has_ended) else 0
        if self._times > 1:
            raise SundogError(*KILLED)


def end_from_outside(leash: Leash) -> None:
    """Wait until nothing of a container is alive any more, and end what its init has not ended.

    Somebody may have killed the init, or the guard.  Raises SundogError if processes do not end.
    """
    leash.tell(signal.SIGTERM)
    leash.has_ended(PATIENCE_WITH_STOPPED)
    namespace = leash.namespace()
    if namespace < 0:
        return
    with Closing(namespace), Closing(os.open(b"/proc", OPEN_DIRECTORY)) as proc:
        own = os.fstat(namespace).st_ino
        ending = Ending(proc, HostMounts())

        def members() -> list[int]:
            return ending.living(find_members(proc, (), own=own))

        def kill() -> bool:
            kill_members(proc, (), own=own)
            return not members()

        ending.end(kill, members, time.sleep)
