"""Calls that take a privilege over the machine, which no container of a user has.  Data only.

Nothing emulates them: the kernel answers, and it refuses.  They are notified, so that a RUN that
fails can be told why, and ordinary builds make none of them.
"""

from __future__ import annotations

from sundog.base.kernel.numbers import IOC_WRITE

# A test of an argument: its index, a mask and values.  The test holds if the bits under the mask
# are one of the values; without values, if the bits are not all zero.
Test = tuple[int, int, tuple[int, ...]]

_ALL_BITS = 0xFFFFFFFF
# linux/fs.h: requests of chattr(1), and the flags that only a privileged process may change: they
# make a file immutable or append-only.  The second request is that of 32-bit programs.
LOCKING_FLAGS = {
    IOC_WRITE | 0x86602: ("FS_IOC_SETFLAGS", 0x30),
    IOC_WRITE | 0x46602: ("FS_IOC_SETFLAGS", 0x30),
    IOC_WRITE | 0x1C5820: ("FS_IOC_FSSETXATTR", 0x18),
}
REAL_TIME = (1, 2)  # SCHED_FIFO, SCHED_RR
DEADLINE = 6  # SCHED_DEADLINE
_IOPRIO_CLASS_MASK, _IOPRIO_CLASS_RT = 7 << 13, 1 << 13
_SOCKET_TYPE_MASK, _SOCK_RAW = 0xF, 3
_MANY_BYTES = _ALL_BITS & ~0xFFFF  # programs that keep a secret lock less: libgcrypt, sudo

# Every start pays for the filter's length, so calls that no program needs in a build are missing.
PRIVILEGED = (
    *("swapon", "swapoff", "clock_settime", "sethostname", "finit_module", "delete_module"),
    *("fsopen", "mlockall", "sched_setattr"),
)
PRIVILEGED_BY_ARGUMENTS: dict[str, tuple[Test, ...]] = {
    "ioctl": ((1, _ALL_BITS, tuple(LOCKING_FLAGS)),),
    # AF_INET, AF_INET6, AF_PACKET
    "socket": ((0, _ALL_BITS, (2, 10, 17)), (1, _SOCKET_TYPE_MASK, (_SOCK_RAW,))),
    "mlock": ((1, _MANY_BYTES, ()),),
    "sched_setscheduler": ((1, _ALL_BITS & ~0x40000000, REAL_TIME),),  # SCHED_RESET_ON_FORK
    "setpriority": ((2, 1 << 31, ()),),  # a negative one
    "ioprio_set": ((2, _IOPRIO_CLASS_MASK, (_IOPRIO_CLASS_RT,)),),
}
