"""RLIMIT_LOCKS, which holds a process's tag: getrlimit(2), setrlimit(2), prlimit(2).

The limit has had no effect since Linux 2.4.  So it is enough that a program sees again what it has
set, also in its children; it stands beside the identity in the table of ``identity.tags``.
"""

from __future__ import annotations

import errno

from sundog.base.cpython import Struct
from sundog.runtime.emulation.notify.identity.credentials import (
    RLIM64_INFINITY,
    may_limit,
    set_file_locks,
)
from sundog.runtime.emulation.notify.tracee.call import U32, Answer, signed
from sundog.runtime.emulation.notify.tracee.processes import Processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.identity.credentials import Credentials
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler

_RLIMIT = Struct("=QQ")  # soft, hard


class LimitHandlers:
    """Show and set the limit.

    ``form`` is struct rlimit in the tracee's memory; ``infinity`` is the greatest number in it,
    which means that there is no limit.
    """

    form = _RLIMIT
    infinity = RLIM64_INFINITY

    def __init__(self, state: State) -> None:
        self._memory = state.memory
        self._tags = state.tags
        self._processes = Processes()

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call."""
        return {
            "getrlimit": self.getrlimit,
            "setrlimit": self.setrlimit,
            "prlimit64": self.prlimit64,
        }

    def getrlimit(self, thread: int, args: Arguments) -> Answer:
        """int getrlimit(RLIMIT_LOCKS, struct rlimit *limit)."""
        return self.show(thread, args[1], self._tags.credentials(thread), self.infinity)

    def setrlimit(self, thread: int, args: Arguments) -> Answer:
        """int setrlimit(RLIMIT_LOCKS, const struct rlimit *limit)."""
        who = self._tags.credentials(thread)
        return self._set(thread, args[1], who, thread, who)

    def prlimit64(self, thread: int, args: Arguments) -> Answer:
        """int prlimit64(pid_t pid, RLIMIT_LOCKS, const struct rlimit64 *, struct rlimit64 *)."""
        who, process, target = self._tags.credentials(thread), thread, None
        if args[0] & U32:
            process = self._processes.find(thread, signed(args[0]))
            if not process:
                return -errno.ESRCH
            if process != thread:
                target = self._tags.credentials(process)
                if not may_limit(who, target):
                    return -errno.EPERM
        target = target or who
        answer = self._set(thread, args[2], who, process, target) if args[2] else 0
        return answer or (self.show(thread, args[3], target, self.infinity) if args[3] else 0)

    def show(self, thread: int, address: int, target: Credentials, greatest: int) -> int:
        """Write the limits of ``target`` into the memory of ``thread``; return 0 or -EFAULT."""
        limits = [min(limit, greatest) for limit in target.file_locks]
        return self._memory.write(thread, address, self.form.pack(*limits))

    def _set(
        self, thread: int, address: int, who: Credentials, process: int, target: Credentials
    ) -> int:
        """Have ``who`` set the limits of ``process``, which is ``target``, to those at ``address``.

        Returns 0 or a negated errno.
        """
        packed = self._memory.read(thread, address, self.form.size)
        soft, hard = (
            RLIM64_INFINITY if limit == self.infinity else limit
            for limit in self.form.unpack(packed)
        )
        change = set_file_locks(who, target, soft, hard)
        if isinstance(change, int):
            return change
        return 0 if self._tags.set(process, change) else -errno.ENOMEM
