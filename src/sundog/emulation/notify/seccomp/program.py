"""The BPF program of ``notify``, which decides which calls the kernel notifies to the supervisor.

seccomp(2) shows a program the number and the arguments of a call, but not the memory behind a
pointer.  So the program notifies a call always, never, or depending on its integer arguments.
Since Linux 5.11 a call costs nothing if the program allows it whatever its arguments.  Programs of
other ABIs (32 bits) get what the ``seccomp`` mode gives them.
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
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_GET_SECUREBITS, PR_SET_SECUREBITS = 27, 28
PR_GET_NO_NEW_PRIVS = 39
PR_CAP_AMBIENT = 47

# By family: the calls to which the supervisor's answer can differ from the kernel's.
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
    # Of openat2, because its flags are behind a pointer, every call.
    "a new inode": (
        *("creat", "mkdir", "mkdirat", "symlink", "symlinkat", "mknod", "mknodat", "openat2"),
        "bind",
    ),
}

NOTIFIED = (
    *(call for family in EMULATED.values() for call in family),
    # These give an inode another name.
    *("link", "linkat"),
    # These move a process to another root.
    *("chroot", "pivot_root", "setns"),
    # This fails as long as the supervisor holds a file open.
    "umount2",
)

# These take a name from a file, or give it to another.  The kernel notifies them only if a lower
# layer has hard links with records (``handlers.links``), or many records (``state.lower``).
NAMING = ("unlink", "unlinkat", "rename", "renameat", "renameat2")

# The program answers "done".  As in the ``seccomp`` mode, the call proves that the filter works.
FAKED = ("kexec_load",)

# The program answers "no such call", for which programs are prepared.  io_uring would make the
# calls above behind the filter's back; clone3 has the flag for a new mount namespace in memory.
ABSENT = ("io_uring_setup", "clone3")

# A test of an argument: its index, a mask and values.  The test holds if the bits under the mask
# are one of the values; without values, if the bits are not all zero.  The kernel notifies a call
# if all of its tests hold.
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

# All opens that may change a file.  The kernel notifies them only if a lower layer has many records
# (``state.lower``).
WRITING: dict[str, tuple[Test, ...]] = {
    "open": ((1, MAKES_FILE | os.O_TRUNC | os.O_ACCMODE, ()),),
    "openat": ((2, MAKES_FILE | os.O_TRUNC | os.O_ACCMODE, ()),),
}

# Calls by which programs of other ABIs could set the tag.  The program answers "done" if the
# argument is RLIMIT_LOCKS.  Columns as in syscalls.py.
TAG_CALLS: SyscallTable = (
    ("setrlimit", (160, 160, 75, 75, 75, 75, 164)),
    ("prlimit64", (302, 302, 340, 369, 325, 334, 261)),
)
TAG_ARGUMENT = {"setrlimit": 0, "prlimit64": 1}


def notify_program(
    notify_abi: NotifyAbi, *, fake_sync: bool = False, follow_changes: bool = False
) -> bytes:
    """Return the program.

    With ``fake_sync`` it answers "done" to fsync(2) and its family.  With ``follow_changes`` it
    notifies the calls of NAMING, and each open(2) for writing.
    """
    native = next(abi for abi in SYSCALL_ABIS if abi.name == notify_abi.name)
    naming = NAMING if follow_changes else ()
    writing = WRITING if follow_changes else {}
    native_source = native_block(notify_abi, native, naming, writing, fake_sync=fake_sync)
    source = [load(DATA_ARCH), *native_source]
    for abi in SYSCALL_ABIS:
        if abi is not native:
            source += guard_block(abi, notify_abi.numbers)
            source += architecture_block([abi], fake_sync)
    return assemble([*source, verdict(SECCOMP_RET_ALLOW)])


def native_block(
    notify_abi: NotifyAbi,
    native: Abi,
    naming: tuple[str, ...],
    writing: dict[str, tuple[Test, ...]],
    *,
    fake_sync: bool,
) -> list[Line]:
    """Return the source that decides for the supervised ABI.

    It also notifies ``naming``, and ``writing`` depending on arguments.

    The source expects the architecture in the accumulator, and leaves it there for other ABIs.
    """
    numbers = notify_abi.numbers
    verdicts = {
        **dict.fromkeys((*NOTIFIED, *naming), "notify"),
        **dict.fromkeys(FAKED, "fake"),
        **dict.fromkeys(ABSENT, "absent"),
    }
    conditional = {**CONDITIONAL, **writing, "clone": ((notify_abi.clone_flags, CLONE_NEWNS, ()),)}
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

    They may not set the tag, and not use io_uring.  The source expects the architecture in the
    accumulator, and leaves it there.
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
