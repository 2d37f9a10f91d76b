"""System call numbers of the calls that ``kernel/`` makes by number, per ABI.

Sources: the kernel's ``scripts/syscall.tbl`` and ``arch/*/syscall*.tbl``.  Calls added since Linux
5.1 have one number on every architecture that Sundog knows.  ``emulation.syscalls`` has the numbers
of the calls that root emulation fakes.

An ABI is named as its architecture: x86_64 i386 aarch64 arm ppc64le s390x riscv64 loongarch64.
"""

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

RENAMEAT2 = {
    "x86_64": 316,
    "i386": 353,
    "aarch64": 276,
    "arm": 382,
    "ppc64le": 357,
    "s390x": 347,
    "riscv64": 276,
    "loongarch64": 276,
}

SECCOMP = {
    "x86_64": 317,
    "i386": 354,
    "aarch64": 277,
    "arm": 383,
    "ppc64le": 358,
    "s390x": 348,
    "riscv64": 277,
    "loongarch64": 277,
}

MEMFD_CREATE = {
    "x86_64": 319,
    "i386": 356,
    "aarch64": 279,
    "arm": 385,
    "ppc64le": 360,
    "s390x": 350,
    "riscv64": 279,
    "loongarch64": 279,
}

EXECVEAT = {
    "x86_64": 322,
    "i386": 358,
    "aarch64": 281,
    "arm": 387,
    "ppc64le": 362,
    "s390x": 354,
    "riscv64": 281,
    "loongarch64": 281,
}

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
