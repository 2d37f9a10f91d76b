"""Differences between architectures: system call numbers and layouts of structures.  Data only.

One ``NotifyAbi`` describes the calls of one architecture, and all else in ``notify`` is common to
all.  The supervisor is a 64-bit process.  Its tracees have its own ABI, or the ABI of 32-bit
programs on the same machine (``companion``).  Both have the machine's byte order.
Sources: ``arch/*/include/uapi/asm/stat.h``, ``arch/*/include/uapi/asm/socket.h``, ``kernel/fork.c``
(CONFIG_CLONE_BACKWARDS*).
"""

from __future__ import annotations

from sundog.runtime.emulation.notify.tracee.numbers import numbers_of
from sundog.runtime.emulation.syscalls import SYSCALL_ABIS

# Calls that not every kernel with a supervisor has: Linux 6.6 and 6.13.  Distributions add calls to
# older kernels, so the version tells nothing.
YOUNG_CALLS = ("fchmodat2", "setxattrat", "getxattrat", "listxattrat", "removexattrat")

_LONG_SIZE = 8
I386_LONG_SIZE = 4


class _StatLayout:
    """The offsets in ``struct stat`` of the fields that the emulation reads or changes.

    Device, inode and rdev are 64 bits wide; mode, uid and gid are 32 bits wide.
    """

    __slots__ = ("device", "gid", "inode", "mode", "rdev", "size", "uid")

    def __init__(
        self, *, size: int, device: int, inode: int, mode: int, uid: int, gid: int, rdev: int
    ) -> None:
        self.size = size
        self.device = device
        self.inode = inode
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.rdev = rdev


_STAT_X86_64 = _StatLayout(size=144, device=0, inode=8, mode=24, uid=28, gid=32, rdev=40)
_STAT_GENERIC = _StatLayout(size=128, device=0, inode=8, mode=16, uid=24, gid=28, rdev=32)
_STAT64_I386 = _StatLayout(size=96, device=0, inode=88, mode=16, uid=24, gid=28, rdev=32)


class NotifyAbi:
    """One architecture whose programs ``notify`` supervises.

    name, arch, big_endian
            as in ``emulation.syscalls``
    numbers of every call that the filter or the supervisor names; the architecture lacks a call
            that has no number here
    other_names
            the calls here that do what a call with another name does elsewhere, and that name
    stat    the structure that stat, lstat, fstat and newfstatat write; on i386 stat64 and so on
    long_size
            bytes in C's ``long`` and in a pointer
    clone_flags
            the index of clone(2)'s argument with the flags
    pass_credentials, peer_credentials
            SO_PASSCRED and SO_PEERCRED, which differ on PowerPC
    large_file
            O_LARGEFILE
    has_stat
            whether every kernel has stat calls beside statx(2)
    companion
            the ABI of the machine's 32-bit programs, if ``notify`` supervises them
    """

    __slots__ = (
        "arch",
        "big_endian",
        "clone_flags",
        "companion",
        "has_stat",
        "large_file",
        "long_size",
        "name",
        "numbers",
        "other_names",
        "pass_credentials",
        "peer_credentials",
        "stat",
    )

    def __init__(
        self,
        name: str,
        numbers: dict[str, int],
        stat: _StatLayout,
        *,
        other_names: dict[str, str] | None = None,
        long_size: int = _LONG_SIZE,
        clone_flags: int = 0,
        pass_credentials: int = 16,
        peer_credentials: int = 17,
        large_file: int = 0o100000,
        has_stat: bool = True,
        companion: NotifyAbi | None = None,
    ) -> None:
        seen = next(abi for abi in SYSCALL_ABIS if abi.name == name)
        self.name = name
        self.arch = seen.arch
        self.big_endian = seen.big_endian
        self.numbers = numbers
        self.other_names = other_names or {}
        self.stat = stat
        self.long_size = long_size
        self.clone_flags = clone_flags
        self.pass_credentials = pass_credentials
        self.peer_credentials = peer_credentials
        self.large_file = large_file
        self.has_stat = has_stat
        self.companion = companion

    def supervised(self) -> list[NotifyAbi]:
        """Return the ABIs whose programs a supervisor with this one supervises."""
        return [self] if self.companion is None else [self, self.companion]

    def call(self, name: str) -> str:
        """Return the name by which handlers and filter know the call that is ``name`` here."""
        return self.other_names.get(name, name)

    def numbers_by_call(self) -> dict[str, list[int]]:
        """Return for each call the numbers of all calls here that do what it does."""
        found: dict[str, list[int]] = {}
        for name, number in self.numbers.items():
            found.setdefault(self.other_names.get(name, name), []).append(number)
        return found


# A 32-bit architecture has more than one generation of a call: IDs, sizes or times became wider.
_I386_NAMES = {
    **{f"{call}64": call for call in ("stat", "lstat", "fstat", "truncate", "ftruncate")},
    **{f"old{call}": call for call in ("stat", "lstat", "fstat")},
    "fcntl64": "fcntl",
    "fstatat64": "newfstatat",
    "utimensat_time64": "utimensat",
    "semtimedop_time64": "semtimedop",
    "recvmmsg_time64": "recvmmsg",
    **{
        f"{call}32": call
        for call in (
            *("getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups"),
            *("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid"),
            *("setfsuid", "setfsgid", "setgroups", "chown", "lchown", "fchown"),
        )
    },
    "ugetrlimit": "getrlimit",
    "umount": "umount2",
    "clock_settime64": "clock_settime",
}

NOTIFY_I386 = NotifyAbi(
    "i386",
    numbers_of("i386"),
    _STAT64_I386,
    other_names=_I386_NAMES,
    long_size=I386_LONG_SIZE,
)
NOTIFY_X86_64 = NotifyAbi(
    "x86_64",
    numbers_of("x86_64"),
    _STAT_X86_64,
    companion=NOTIFY_I386,
)
_NOTIFY_AARCH64 = NotifyAbi(
    "aarch64",
    numbers_of("generic"),
    _STAT_GENERIC,
    large_file=0o400000,
)
_NOTIFY_PPC64LE = NotifyAbi(
    "ppc64le",
    numbers_of("ppc64le"),
    _STAT_X86_64,
    other_names={"ugetrlimit": "getrlimit"},
    pass_credentials=20,
    peer_credentials=21,
    large_file=0o200000,
)
NOTIFY_S390X = NotifyAbi(
    "s390x",
    numbers_of("s390x"),
    _STAT_X86_64,
    other_names={"umount": "umount2"},
    clone_flags=1,
)
_NOTIFY_RISCV64 = NotifyAbi(
    "riscv64",
    numbers_of("generic", ("renameat",)),
    _STAT_GENERIC,
)
_NOTIFY_LOONGARCH64 = NotifyAbi(
    "loongarch64",
    numbers_of("generic", ("renameat", "getrlimit", "setrlimit")),
    _STAT_GENERIC,
    has_stat=False,  # Linux 6.11 got newfstatat and fstat
)

# The ABIs that a supervisor can have.
NOTIFY_ABIS = {
    abi.name: abi
    for abi in (
        NOTIFY_X86_64,
        _NOTIFY_AARCH64,
        _NOTIFY_PPC64LE,
        NOTIFY_S390X,
        _NOTIFY_RISCV64,
        _NOTIFY_LOONGARCH64,
    )
}
