"""The system calls that root emulation answers itself: their numbers on every ABI.  Data only.

An ABI is one system call table.  seccomp(2) sees an architecture (AUDIT_ARCH_*) and a number.  x32
has the architecture of x86-64, and a bit in the number tells it apart.  aarch64, riscv64 and
loongarch64 have the numbers of the kernel's ``asm-generic/unistd.h``; the others have their own
tables (``arch/*/syscall*.tbl``).  A test compares every number with libseccomp's.
"""

from __future__ import annotations


class Abi:
    """One system call table, and what seccomp(2) sees of a call through it."""

    __slots__ = ("arch", "big_endian", "column", "name", "number_bit")

    def __init__(
        self, name: str, arch: int, column: int, *, big_endian: bool = False, number_bit: int = 0
    ) -> None:
        self.name = name
        self.arch = arch  # AUDIT_ARCH_*
        self.column = column  # of the tables below
        self.big_endian = big_endian
        self.number_bit = number_bit  # set in every number


# The columns of the tables below.
_X86_64, _X32, _I386, _ARM, _PPC64LE, _S390X, _GENERIC = range(7)

SYSCALL_ABIS = (
    Abi("x86_64", 0xC000003E, _X86_64),
    Abi("x32", 0xC000003E, _X32, number_bit=0x40000000),
    Abi("i386", 0x40000003, _I386),
    Abi("aarch64", 0xC00000B7, _GENERIC),
    Abi("arm", 0x40000028, _ARM),
    Abi("ppc64le", 0xC0000015, _PPC64LE),
    Abi("s390x", 0x80000016, _S390X, big_endian=True),
    Abi("riscv64", 0xC00000F3, _GENERIC),
    Abi("loongarch64", 0xC0000102, _GENERIC),
)

SyscallTable = tuple[tuple[str, tuple[int, ...]], ...]
NONE = -1  # the ABI lacks the call

# fmt: off
# The filter answers "done", whatever the arguments.  On i386 and arm the plain names take 16-bit
# IDs.  kexec_load is here for the filter's self-test.
FAKED_CALLS: SyscallTable = (
    #               x86-64   x32  i386   arm ppc64le s390x generic
    ("capset",      ( 126,   126,  185,  185,   184,  185,    91)),
    ("chown",       (  92,    92,  182,  182,   181,  212,  NONE)),
    ("chown32",     (NONE,  NONE,  212,  212,  NONE, NONE,  NONE)),
    ("fchown",      (  93,    93,   95,   95,    95,  207,    55)),
    ("fchown32",    (NONE,  NONE,  207,  207,  NONE, NONE,  NONE)),
    ("fchownat",    ( 260,   260,  298,  325,   289,  291,    54)),
    ("kexec_load",  ( 246,   528,  283,  347,   268,  277,   104)),
    ("lchown",      (  94,    94,   16,   16,    16,  198,  NONE)),
    ("lchown32",    (NONE,  NONE,  198,  198,  NONE, NONE,  NONE)),
    ("setfsgid",    ( 123,   123,  139,  139,   139,  216,   152)),
    ("setfsgid32",  (NONE,  NONE,  216,  216,  NONE, NONE,  NONE)),
    ("setfsuid",    ( 122,   122,  138,  138,   138,  215,   151)),
    ("setfsuid32",  (NONE,  NONE,  215,  215,  NONE, NONE,  NONE)),
    ("setgid",      ( 106,   106,   46,   46,    46,  214,   144)),
    ("setgid32",    (NONE,  NONE,  214,  214,  NONE, NONE,  NONE)),
    ("setgroups",   ( 116,   116,   81,   81,    81,  206,   159)),
    ("setgroups32", (NONE,  NONE,  206,  206,  NONE, NONE,  NONE)),
    ("setregid",    ( 114,   114,   71,   71,    71,  204,   143)),
    ("setregid32",  (NONE,  NONE,  204,  204,  NONE, NONE,  NONE)),
    ("setresgid",   ( 119,   119,  170,  170,   169,  210,   149)),
    ("setresgid32", (NONE,  NONE,  210,  210,  NONE, NONE,  NONE)),
    ("setresuid",   ( 117,   117,  164,  164,   164,  208,   147)),
    ("setresuid32", (NONE,  NONE,  208,  208,  NONE, NONE,  NONE)),
    ("setreuid",    ( 113,   113,   70,   70,    70,  203,   145)),
    ("setreuid32",  (NONE,  NONE,  203,  203,  NONE, NONE,  NONE)),
    ("setuid",      ( 105,   105,   23,   23,    23,  213,   146)),
    ("setuid32",    (NONE,  NONE,  213,  213,  NONE, NONE,  NONE)),
)

# The filter answers "done" to a call that would make a device.  The kernel makes other files.
DEVICE_CALLS: SyscallTable = (
    ("mknod",       ( 133,   133,   14,   14,    14,   14,  NONE)),
    ("mknodat",     ( 259,   259,  297,  324,   288,  290,    33)),
)
MODE_ARGUMENT = {"mknod": 1, "mknodat": 2}

# The filter answers "done" on request.  msync is not here: programs ask it which addresses are
# mapped.
SYNC_CALLS: SyscallTable = (
    ("fdatasync",   (  75,    75,  148,  148,   148,  148,    83)),
    ("fsync",       (  74,    74,  118,  118,   118,  118,    82)),
    ("sync",        ( 162,   162,   36,   36,    36,   36,    81)),
    ("syncfs",      ( 306,   306,  344,  373,   348,  338,   267)),
    ("sync_file_range",  (277, 277, 314, NONE, NONE, 307, 84)),
    ("sync_file_range2", (NONE, NONE, NONE, 341, 308, NONE, NONE)),
)

# A filter refuses some requests: see ``terminal``.
IOCTL: SyscallTable = (
    ("ioctl",       (  16,   514,   54,   54,    54,   54,    29)),
)

# A filter hides these from a RUN: see ``keys``.
KEY_CALLS: SyscallTable = (
    ("add_key",     ( 248,   248,  286,  309,   269,  278,   217)),
    ("keyctl",      ( 250,   250,  288,  311,   271,  280,   219)),
    ("request_key", ( 249,   249,  287,  310,   270,  279,   218)),
)
# fmt: on


def syscall_numbers(table: SyscallTable, abi: Abi) -> dict[str, int]:
    """Return the name and number of each call in ``table`` that ``abi`` has."""
    return {
        name: numbers[abi.column] | abi.number_bit
        for name, numbers in table
        if numbers[abi.column] != NONE
    }
