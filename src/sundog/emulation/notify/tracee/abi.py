"""What differs between architectures: system call numbers and the layout of structures.  Data only.

The supervisor and its tracees have the same ABI; the kernel does not notify calls by other ABIs
(32-bit programs).  One ``NotifyAbi`` describes an architecture; all else in ``notify`` is common to
all architectures.
Sources: ``arch/*/entry/syscalls/syscall*.tbl``, ``arch/*/include/uapi/asm/stat.h``.
"""


class StatLayout:
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


class NotifyAbi:
    """One architecture on which ``notify`` works.

    name    as in ``emulation.syscalls``
    numbers of every call that the filter or the supervisor names; the architecture lacks a call
            that has no number here
    stat    the structure that stat, lstat, fstat and newfstatat write
    clone_flags
            the index of clone(2)'s argument with the flags
    """

    __slots__ = ("clone_flags", "name", "numbers", "stat")

    def __init__(
        self, name: str, numbers: dict[str, int], stat: StatLayout, *, clone_flags: int
    ) -> None:
        self.name = name
        self.numbers = numbers
        self.stat = stat
        self.clone_flags = clone_flags


# Calls of Linux 5.1 and later have one number everywhere.
COMMON_NUMBERS = {
    "io_uring_setup": 425,
    "fsconfig": 431,
    "clone3": 435,
    "openat2": 437,
    "pidfd_getfd": 438,
    "fchmodat2": 452,
    "setxattrat": 463,
    "getxattrat": 464,
    "listxattrat": 465,
    "removexattrat": 466,
}

NOTIFY_X86_64 = NotifyAbi(
    "x86_64",
    {
        **COMMON_NUMBERS,
        "open": 2,
        "stat": 4,
        "fstat": 5,
        "lstat": 6,
        "bind": 49,
        "getsockopt": 55,
        "clone": 56,
        "execve": 59,
        "truncate": 76,
        "getdents": 78,
        "rename": 82,
        "mkdir": 83,
        "creat": 85,
        "link": 86,
        "unlink": 87,
        "symlink": 88,
        "chmod": 90,
        "fchmod": 91,
        "chown": 92,
        "fchown": 93,
        "lchown": 94,
        "getrlimit": 97,
        "getuid": 102,
        "getgid": 104,
        "setuid": 105,
        "setgid": 106,
        "geteuid": 107,
        "getegid": 108,
        "setreuid": 113,
        "setregid": 114,
        "getgroups": 115,
        "setgroups": 116,
        "setresuid": 117,
        "getresuid": 118,
        "setresgid": 119,
        "getresgid": 120,
        "setfsuid": 122,
        "setfsgid": 123,
        "capget": 125,
        "capset": 126,
        "mknod": 133,
        "pivot_root": 155,
        "prctl": 157,
        "setrlimit": 160,
        "chroot": 161,
        "mount": 165,
        "umount2": 166,
        "setxattr": 188,
        "lsetxattr": 189,
        "fsetxattr": 190,
        "getxattr": 191,
        "lgetxattr": 192,
        "fgetxattr": 193,
        "listxattr": 194,
        "llistxattr": 195,
        "flistxattr": 196,
        "removexattr": 197,
        "lremovexattr": 198,
        "fremovexattr": 199,
        "getdents64": 217,
        "kexec_load": 246,
        "openat": 257,
        "mkdirat": 258,
        "mknodat": 259,
        "fchownat": 260,
        "newfstatat": 262,
        "unlinkat": 263,
        "renameat": 264,
        "linkat": 265,
        "symlinkat": 266,
        "fchmodat": 268,
        "unshare": 272,
        "prlimit64": 302,
        "setns": 308,
        "renameat2": 316,
        "seccomp": 317,
        "execveat": 322,
        "statx": 332,
    },
    StatLayout(size=144, device=0, inode=8, mode=24, uid=28, gid=32, rdev=40),
    clone_flags=0,
)

NOTIFY_ABIS = {abi.name: abi for abi in (NOTIFY_X86_64,)}
