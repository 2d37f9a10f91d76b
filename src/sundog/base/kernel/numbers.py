"""System call numbers of the calls that ``kernel/`` makes by number, per ABI; Linux's own number.

Sources: the kernel's ``scripts/syscall.tbl`` and ``arch/*/syscall*.tbl``.  Calls added since Linux
5.1 have one number on every architecture that Sundog knows.  ``emulation.syscalls`` has the numbers
of the calls that root emulation fakes.

An ABI is named as its architecture: x86_64 i386 aarch64 arm ppc64le s390x riscv64 loongarch64.
"""

from __future__ import annotations

import os
import sys

OPEN_TREE = 428
MOVE_MOUNT = 429
FSOPEN = 430
FSCONFIG = 431
FSMOUNT = 432
OPENAT2 = 437
PIDFD_GETFD = 438
FACCESSAT2 = 439
MOUNT_SETATTR = 442
LANDLOCK_CREATE_RULESET = 444
LANDLOCK_RESTRICT_SELF = 446

_CALL_ABIS = ("x86_64", "i386", "aarch64", "arm", "ppc64le", "s390x", "riscv64", "loongarch64")
RENAMEAT2, SECCOMP, MEMFD_CREATE, EXECVEAT, SENDMSG = (
    dict(zip(_CALL_ABIS, numbers, strict=True))
    for numbers in (
        (316, 353, 276, 382, 357, 347, 276, 276),
        (317, 354, 277, 383, 358, 348, 277, 277),
        (319, 356, 279, 385, 360, 350, 279, 279),
        (322, 358, 281, 387, 362, 354, 281, 281),
        (46, 370, 211, 296, 341, 370, 211, 211),
    )
)

# uname(2)'s name of the machine → the ABI of a 64-bit process on it, and of a 32-bit one.  Under
# personality(2) PER_LINUX32 a 64-bit process sees the 32-bit name, too.
ABIS = {
    "x86_64": ("x86_64", "i386"),
    "i686": ("x86_64", "i386"),
    "i586": ("x86_64", "i386"),
    "i486": ("x86_64", "i386"),
    "i386": ("x86_64", "i386"),
    "aarch64": ("aarch64", "arm"),
    "armv8l": ("aarch64", "arm"),
    "armv7l": ("aarch64", "arm"),
    "armv6l": ("aarch64", "arm"),
    "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""),
    "riscv64": ("riscv64", ""),
    "loongarch64": ("loongarch64", ""),
}


def ioctl_directions(machine: str) -> tuple[int, int, int]:
    """Return the bits in the number of an ioctl(2) request that say which way the data go.

    The three are: no data, the caller reads, the caller writes.  Specification: asm/ioctl.h.
    """
    if machine.startswith("ppc"):
        return 1 << 29, 2 << 29, 4 << 29
    return 0, 2 << 30, 1 << 30


IOC_NONE, IOC_READ, IOC_WRITE = ioctl_directions(os.uname().machine)


def process_abi(machine: str = "", *, wide: bool = sys.maxsize > 1 << 32) -> str:
    """Return the ABI of this process's system calls, or "" if Sundog has no table of it.

    ``machine`` is by default uname(2)'s; ``wide`` tells whether pointers have 64 bits.
    """
    wide_abi, narrow_abi = ABIS.get(machine or os.uname().machine, ("", ""))
    return wide_abi if wide else narrow_abi


def linux_version() -> tuple[int, int]:
    """Return the first two numbers of the running kernel's release."""
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(filter(str.isdigit, minor)))
