"""The BPF program of ``notify``: which calls the supervisor hears of.

seccomp(2) shows numbers and arguments, never what a pointer leads to; so a call is notified always,
never, or depending on its integer arguments.  Since Linux 5.11 a call that is allowed whatever its
arguments costs nothing.  Programs of other ABIs (32 bits) get what ``seccomp`` mode gives them.
"""

import errno
import os
from _socket import SO_PEERCRED, SOL_SOCKET

from sundog.emulation.bpf import (
    DATA_ARCH,
    DATA_NR,
    SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO,
    Line,
    assemble,
    bitwise_and,
    compare,
    jump,
    label,
    load,
    verdict,
)
from sundog.emulation.filter import architecture_block, low_word
from sundog.emulation.notify.tracee.abi import NotifyAbi
from sundog.emulation.notify.tracee.tag import RLIMIT_LOCKS
from sundog.emulation.syscalls import (
    SYNC_CALLS,
    SYSCALL_ABIS,
    Abi,
    SyscallTable,
    syscall_numbers,
)
from sundog.kernel.namespaces import CLONE_NEWNS
from sundog.kernel.process import PR_SET_NO_NEW_PRIVS

SECCOMP_RET_USER_NOTIF = 0x7FC00000

ALL_BITS = 0xFFFFFFFF
SO_PEERGROUPS = 59
PR_GET_KEEPCAPS, PR_SET_KEEPCAPS = 7, 8
PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24
PR_GET_SECUREBITS, PR_SET_SECUREBITS = 27, 28
PR_GET_NO_NEW_PRIVS = 39
PR_CAP_AMBIENT = 47

# By family: the calls to which the supervisor's answer can be another than the kernel's.
EMULATED = {
    "who owns a file": ("stat", "lstat", "fstat", "newfstatat", "getdents", "getdents64"),
    "who a process is": (
        *("getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups"),
        "capget",
    ),
    "who it becomes": (
        *("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups"),
        *("setfsuid", "setfsgid", "capset", "execve", "execveat"),
    ),
    "a change of owner or mode": (
        *("chown", "lchown", "fchown", "fchownat", "chmod", "fchmod", "fchmodat", "fchmodat2"),
    ),
    "attributes": (
        *("setxattr", "lsetxattr", "fsetxattr", "setxattrat"),
        *("getxattr", "lgetxattr", "fgetxattr", "getxattrat"),
        *("listxattr", "llistxattr", "flistxattr", "listxattrat"),
        *("removexattr", "lremovexattr", "fremovexattr", "removexattrat"),
    ),
    # Whether openat2 makes a file is behind a pointer.
    "a new inode": (
        *("creat", "mkdir", "mkdirat", "symlink", "symlinkat", "mknod", "mknodat", "openat2"),
        "bind",
    ),
}

NOTIFIED = (
    *(call for family in EMULATED.values() for call in family),
    # What gives an inode another name.
    *("link", "linkat"),
    # What moves a process to another root.
    *("chroot", "pivot_root", "setns"),
    # What a file held open would make fail.
    "umount2",
)

# What takes a name from a file, or gives it to another: only where a lower layer has hard links
# with records (``handlers.links``).
NAMING = ("unlink", "unlinkat", "rename", "renameat", "renameat2")

# Answered "done"; as in the ``seccomp`` mode, proof that the filter is there.
FAKED = ("kexec_load",)

# Answered "no such call", which programs are prepared for: io_uring would do the calls above behind
# the filter's back, and clone3 hides from it whether there will be another mount namespace.
ABSENT = ("io_uring_setup", "clone3")

# Notified if all tests hold: the argument's bits under the mask are one of the values, or, without
# values, not all zero.
Test = tuple[int, int, tuple[int, ...]]
MAKES_FILE = os.O_CREAT | os.O_TMPFILE & ~os.O_DIRECTORY
SHOWS_OWNER = 0x1B  # STATX_TYPE, STATX_MODE, STATX_UID, STATX_GID
IS_TAG = (RLIMIT_LOCKS,)
IDENTITY_OPTIONS = (
    *(PR_GET_KEEPCAPS, PR_SET_KEEPCAPS, PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_GET_SECUREBITS),
    *(PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, PR_CAP_AMBIENT),
)
CONDITIONAL: dict[str, tuple[Test, ...]] = {
    "open": ((1, MAKES_FILE | os.O_TRUNC, ()),),
    "openat": ((2, MAKES_FILE | os.O_TRUNC, ()),),
    "statx": ((3, SHOWS_OWNER, ()),),
    "unshare": ((0, CLONE_NEWNS, ()),),
    "prctl": ((0, ALL_BITS, IDENTITY_OPTIONS),),
    "getsockopt": ((1, ALL_BITS, (SOL_SOCKET,)), (2, ALL_BITS, (SO_PEERCRED, SO_PEERGROUPS))),
    "getrlimit": ((0, ALL_BITS, IS_TAG),),
    "setrlimit": ((0, ALL_BITS, IS_TAG),),
    "prlimit64": ((1, ALL_BITS, IS_TAG),),
}

# What other ABIs must not do either: set the tag, use io_uring.  Columns as in syscalls.py; a call
# is faked if its argument is RLIMIT_LOCKS.
TAG_CALLS: SyscallTable = (
    ("setrlimit", (160, 160, 75, 75, 75, 75, 164)),
    ("prlimit64", (302, 302, 340, 369, 325, 334, 261)),
)
TAG_ARGUMENT = {"setrlimit": 0, "prlimit64": 1}


def notify_program(
    notify_abi: NotifyAbi, *, fake_sync: bool = False, follow_names: bool = False
) -> bytes:
    """Return the program.

    With ``fake_sync`` it answers fsync(2) and its family "done"; with ``follow_names`` it notifies
    what changes whose a name is.
    """
    native = next(abi for abi in SYSCALL_ABIS if abi.name == notify_abi.name)
    naming = NAMING if follow_names else ()
    source = [load(DATA_ARCH), *native_block(notify_abi, native, naming, fake_sync=fake_sync)]
    for abi in SYSCALL_ABIS:
        if abi is not native:
            source += guard_block(abi, notify_abi.numbers)
            source += architecture_block([abi], fake_sync)
    return assemble([*source, verdict(SECCOMP_RET_ALLOW)])


def native_block(
    notify_abi: NotifyAbi, native: Abi, naming: tuple[str, ...], *, fake_sync: bool
) -> list[Line]:
    """Return the source that decides for the supervised ABI; ``naming`` is notified besides.

    It expects the architecture in the accumulator, and leaves it there for what is not decided.
    """
    numbers = notify_abi.numbers
    verdicts = {
        **dict.fromkeys((*NOTIFIED, *naming), "notify"),
        **dict.fromkeys(FAKED, "fake"),
        **dict.fromkeys(ABSENT, "absent"),
    }
    conditional = {**CONDITIONAL, "clone": ((notify_abi.clone_flags, CLONE_NEWNS, ()),)}
    source = [compare(native.arch, "", "others"), load(DATA_NR)]
    source += [compare(numbers[call], where) for call, where in verdicts.items() if call in numbers]
    if fake_sync:
        source += [compare(n, "fake") for n in syscall_numbers(SYNC_CALLS, native).values()]
    tested = {call: tests for call, tests in conditional.items() if call in numbers}
    source += [compare(numbers[call], f"test {call}") for call in tested]
    source += [load(DATA_ARCH), jump("others")]
    for call, tests in tested.items():
        source.append(label(f"test {call}"))
        for argument, mask, values in tests:
            source.append(load(low_word(argument, native)))
            if mask != ALL_BITS:
                source.append(bitwise_and(mask))
            if not values:
                source.append(compare(0, "allow"))
                continue
            holds = f"{call} {argument} holds"
            source += [compare(value, holds) for value in values]
            source += [jump("allow"), label(holds)]
        source.append(jump("notify"))
    return [
        *source,
        *(label("allow"), verdict(SECCOMP_RET_ALLOW)),
        *(label("notify"), verdict(SECCOMP_RET_USER_NOTIF)),
        *(label("fake"), verdict(SECCOMP_RET_ERRNO)),
        *(label("absent"), verdict(SECCOMP_RET_ERRNO | errno.ENOSYS)),
        label("others"),
    ]


def guard_block(abi: Abi, common: dict[str, int]) -> list[Line]:
    """Return the source that keeps programs of another ABI from undoing the emulation.

    It expects the architecture in the accumulator, and leaves it there.
    """
    end, fake, absent = f"guarded {abi.name}", f"guard fake {abi.name}", f"guard {abi.name}"
    numbers = syscall_numbers(TAG_CALLS, abi)
    source = [compare(abi.arch, "", end), load(DATA_NR)]
    source.append(compare(common["io_uring_setup"] | abi.number_bit, absent))
    source += [compare(number, f"{call} {abi.name}") for call, number in numbers.items()]
    source += [load(DATA_ARCH), jump(end)]
    for call in numbers:
        source += [
            label(f"{call} {abi.name}"),
            load(low_word(TAG_ARGUMENT[call], abi)),
            compare(RLIMIT_LOCKS, fake),
            verdict(SECCOMP_RET_ALLOW),
        ]
    return [
        *source,
        *(label(fake), verdict(SECCOMP_RET_ERRNO)),
        *(label(absent), verdict(SECCOMP_RET_ERRNO | errno.ENOSYS)),
        label(end),
    ]
