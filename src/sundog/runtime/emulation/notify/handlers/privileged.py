"""Calls that the kernel refuses to an emulated root, and not to real root.

The kernel answers them all.  The supervisor only notes which of them it refuses, so that a failed
RUN can say so.  It notes nothing if the caller would be refused on a real system, too.
"""

from __future__ import annotations

import sys
from resource import RLIM_INFINITY, RLIMIT_MEMLOCK, RLIMIT_NICE, RLIMIT_RTPRIO, prlimit

from sundog.base.cpython import Struct
from sundog.runtime.emulation.notify.identity.capabilities import (
    CAP_IPC_LOCK,
    CAP_LINUX_IMMUTABLE,
    CAP_NET_RAW,
    CAP_SYS_ADMIN,
    CAP_SYS_MODULE,
    CAP_SYS_NICE,
    CAP_SYS_TIME,
)
from sundog.runtime.emulation.notify.seccomp.privileged import DEADLINE, LOCKING_FLAGS, REAL_TIME
from sundog.runtime.emulation.notify.state.access import Access
from sundog.runtime.emulation.notify.tracee.call import CONTINUE, U32, Answer, signed
from sundog.runtime.emulation.notify.tracee.descriptors import status_field
from sundog.runtime.emulation.notify.tracee.paths import descriptor
from sundog.runtime.emulation.notify.tracee.processes import owns_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler

# The calls that the kernel refuses whatever their arguments, and the capability that they take.
_ALWAYS_REFUSED = {
    "swapon": CAP_SYS_ADMIN,
    "swapoff": CAP_SYS_ADMIN,
    "clock_settime": CAP_SYS_TIME,
    "finit_module": CAP_SYS_MODULE,
    "delete_module": CAP_SYS_MODULE,
    "ioprio_set": CAP_SYS_NICE,  # the filter notifies the real-time class alone
}
_INT = Struct("=i")
_SCHED_ATTR = Struct("=4xI12xI")  # struct sched_attr: policy, priority
_MCL_CURRENT = 0x2001  # 0x2000 on PowerPC, 1 elsewhere
_NICE_OFFSET = 20  # of RLIMIT_NICE


class PrivilegedHandlers:
    """Note what the kernel refuses."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._memory = state.memory
        self._access = Access(state)

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call."""
        return {
            **{call: self._refused(call, needed) for call, needed in _ALWAYS_REFUSED.items()},
            "sethostname": self.sethostname,
            "ioctl": self.ioctl,
            "socket": self.socket,
            "mlock": self.mlock,
            "mlockall": self.mlockall,
            "sched_setscheduler": self.sched_setscheduler,
            "sched_setattr": self.sched_setattr,
            "setpriority": self.setpriority,
        }

    def sethostname(self, thread: int, _args: Arguments) -> Answer:
        """int sethostname(const char *name, size_t length)."""
        if not owns_namespace(thread, b"uts"):
            self._note(thread, CAP_SYS_ADMIN, "sethostname(2)")
        return CONTINUE

    def ioctl(self, thread: int, args: Arguments) -> Answer:
        """int ioctl(int fd, FS_IOC_SETFLAGS, const int *flags); FS_IOC_FSSETXATTR likewise."""
        (flags,) = _INT.unpack(self._memory.read(thread, args[2], _INT.size))
        request, locking = LOCKING_FLAGS[args[1] & U32]
        if flags & locking:
            text = f"ioctl({request}), to make a file immutable or append-only,"
            self._note(thread, CAP_LINUX_IMMUTABLE, text)
        self._access.meet(thread, descriptor(thread, args[0]), follow=True)
        return CONTINUE

    def socket(self, thread: int, _args: Arguments) -> Answer:
        """int socket(int domain, SOCK_RAW, int protocol)."""
        if not owns_namespace(thread, b"net"):
            self._note(thread, CAP_NET_RAW, "socket(SOCK_RAW)")
        return CONTINUE

    def mlock(self, thread: int, args: Arguments) -> Answer:
        """int mlock(const void *address, size_t length)."""
        self._lock(thread, "mlock(2)", args[1])
        return CONTINUE

    def mlockall(self, thread: int, args: Arguments) -> Answer:
        """int mlockall(int flags)."""
        size = _size(thread, b"VmSize") if args[0] & _MCL_CURRENT else 0
        self._lock(thread, "mlockall(2)", size)
        return CONTINUE

    def _lock(self, thread: int, call: str, size: int) -> None:
        """Note that the kernel locks no ``size`` more bytes (mm/mlock.c, do_mlock)."""
        limit = _limit(thread, RLIMIT_MEMLOCK)
        locked = _size(thread, b"VmLck") if call == "mlock(2)" else 0
        if limit == 0 or locked + size > limit:
            self._note(thread, CAP_IPC_LOCK, f"{call} above the limit of `ulimit -l`")

    def sched_setscheduler(self, thread: int, args: Arguments) -> Answer:
        """int sched_setscheduler(pid_t, SCHED_FIFO or SCHED_RR, const struct sched_param *)."""
        (priority,) = _INT.unpack(self._memory.read(thread, args[2], _INT.size))
        if priority > _limit(thread, RLIMIT_RTPRIO):
            self._note(thread, CAP_SYS_NICE, "sched_setscheduler(2)")
        return CONTINUE

    def sched_setattr(self, thread: int, args: Arguments) -> Answer:
        """int sched_setattr(pid_t pid, struct sched_attr *attributes, unsigned flags)."""
        policy, priority = _SCHED_ATTR.unpack(self._memory.read(thread, args[1], _SCHED_ATTR.size))
        limit = _limit(thread, RLIMIT_RTPRIO)
        if policy == DEADLINE or (policy in REAL_TIME and priority > limit):
            self._note(thread, CAP_SYS_NICE, "sched_setattr(2)")
        return CONTINUE

    def setpriority(self, thread: int, args: Arguments) -> Answer:
        """int setpriority(int which, id_t who, int priority), a negative one (can_nice)."""
        if _NICE_OFFSET - signed(args[2]) > _limit(thread, RLIMIT_NICE):
            self._note(thread, CAP_SYS_NICE, "setpriority(2)")
        return CONTINUE

    def _refused(self, call: str, needed: int) -> Handler:
        def handle(thread: int, _args: Arguments) -> Answer:
            self._note(thread, needed, f"{call}(2)")
            return CONTINUE

        return handle

    def _note(self, thread: int, needed: int, call: str) -> None:
        """Note that the kernel refuses ``call``, unless the caller lacks a capability for it."""
        if self._state.tags.credentials(thread).can(needed):
            self._state.refusals.note(thread, call)


def _limit(thread: int, resource: int) -> int:
    """Return the soft limit of ``thread``, a large number for none.  Raises OSError."""
    soft = prlimit(thread, resource)[0]
    return sys.maxsize if soft == RLIM_INFINITY else soft


def _size(thread: int, name: bytes) -> int:
    """Return the bytes of memory that the field ``name`` of /proc/PID/status counts."""
    return int(status_field(thread, name).split()[0]) << 10
