"""The BPF program of ``notify``, which decides which calls the kernel notifies to the supervisor.

seccomp(2) shows a program the number and the arguments of a call, but not the memory behind a
pointer.  So the program notifies a call always, never, or depending on its integer arguments.
Since Linux 5.11 a call costs nothing if the program allows it whatever its arguments.  The program
has one such block for each ABI that the supervisor knows (x86-64 and i386).  Programs of other ABIs
(x32, arm) get what the ``seccomp`` mode gives them.

With the fast path, the program allows some calls that it would notify, if they come from one
instruction.  It looks at the instruction only then, so the kernel's knowledge of the calls that it
always allows stays the same.
"""

from __future__ import annotations

import errno
import os
import sys
from fcntl import F_SETLEASE

from sundog.base.cpython import SIGCHLD, SIGPROF, SIGURG, SIGVTALRM, SIGWINCH, SOL_SOCKET
from sundog.base.kernel.descriptors import MSG_CONFIRM
from sundog.base.kernel.mounts import FSCONFIG_SET_STRING
from sundog.base.kernel.namespaces import CLONE_NEWNS, CLONE_NEWUSER
from sundog.base.kernel.numbers import ABIS
from sundog.base.kernel.process import PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS
from sundog.runtime.emulation.bpf import (
    DATA_ARCH,
    DATA_NR,
    DATA_POINTER,
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
from sundog.runtime.emulation.filter import architecture_block, low_word
from sundog.runtime.emulation.notify.seccomp.fast_path import FAST_CALLS, FAST_POINTER
from sundog.runtime.emulation.notify.seccomp.privileged import (
    PRIVILEGED,
    PRIVILEGED_BY_ARGUMENTS,
    Test,
)
from sundog.runtime.emulation.notify.tracee.tag import RLIMIT_LOCKS
from sundog.runtime.emulation.syscalls import (
    SYNC_CALLS,
    SYSCALL_ABIS,
    Abi,
    SyscallTable,
    syscall_numbers,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.tracee.abi import NotifyAbi

SECCOMP_RET_USER_NOTIF = 0x7FC00000

_ALL_BITS = 0xFFFFFFFF
SO_PEERGROUPS = 59
# socketcall(2)'s numbers of calls: linux/net.h.
SYS_BIND, SYS_CONNECT, SYS_SENDTO, SYS_SETSOCKOPT, SYS_GETSOCKOPT = 2, 3, 11, 14, 15
SYS_SENDMSG, SYS_RECVMSG, SYS_RECVMMSG, SYS_SENDMMSG = 16, 17, 19, 20
# ipc(2)'s numbers of calls, in the low bits of its first argument: linux/ipc.h.
IPC_CALL_BITS = 0xFFFF
SEMOP, SEMGET, SEMCTL, SEMTIMEDOP = 1, 2, 3, 4
MSGSND, MSGRCV, MSGGET, MSGCTL = 11, 12, 13, 14
SHMAT, SHMGET, SHMCTL = 21, 23, 24
# linux/keyctl.h
KEYCTL_CHOWN, KEYCTL_SETPERM, KEYCTL_DESCRIBE = 4, 5, 6
PR_GET_DUMPABLE = 3
PR_GET_KEEPCAPS, PR_SET_KEEPCAPS = 7, 8
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_GET_SECUREBITS, PR_SET_SECUREBITS = 27, 28
PR_GET_NO_NEW_PRIVS = 39
PR_CAP_AMBIENT = 47

# By family: the calls to which the supervisor's answer can differ from the kernel's.
EMULATED = {
    "who owns a file": ("stat", "lstat", "fstat", "newfstatat", "statx", "getdents", "getdents64"),
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
    "a name that goes": ("unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2"),
    "what only some users may do": (
        *("access", "faccessat", "faccessat2", "chdir", "fchdir"),
        *("truncate", "utime", "utimes", "futimesat", "utimensat"),
        *("kill", "rt_sigqueueinfo", "pidfd_send_signal"),
    ),
    # openat2: every call, because BPF can't follow the pointer to its flags.
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
    # mount fails with an owner that the namespace does not map, umount2 as long as the supervisor
    # holds a file open.
    *("mount", "umount2"),
    # Messages say who sent them.
    *("sendmmsg", "recvmsg", "recvmmsg"),
    # Objects of System V IPC have owners.
    *("shmget", "semget", "msgget", "shmctl", "semctl", "msgctl", "shmat"),
    *PRIVILEGED,
)

# These are notified under ``strict`` only, whatever their arguments, so that reading and writing
# depend on the emulated identity.
OPENING = ("open", "openat", "semop", "semtimedop", "msgsnd", "msgrcv", "ipc")

# The program answers "done".  As in the ``seccomp`` mode, the call proves that the filter works.
FAKED = ("kexec_load",)

# The program answers "no such call", for which programs are prepared.  io_uring would make the
# calls above behind the filter's back; clone3 has the flag for a new mount namespace in memory.
ABSENT = ("io_uring_setup", "clone3")

MAKES_FILE = os.O_CREAT | os.O_TMPFILE & ~os.O_DIRECTORY
# What only the owner of a file, or a process that may write it, or make one, may ask for.
_IS_CHECKED = MAKES_FILE | os.O_ACCMODE | os.O_TRUNC | os.O_NOATIME
_IS_TAG = (RLIMIT_LOCKS,)
_NEW_PLACES = CLONE_NEWNS | CLONE_NEWUSER  # paths and IDs may mean something else there
_IDENTITY_OPTIONS = (
    *(PR_GET_DUMPABLE, PR_SET_DUMPABLE),
    *(PR_GET_KEEPCAPS, PR_SET_KEEPCAPS, PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_GET_SECUREBITS),
    *(PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, PR_CAP_AMBIENT),
)
# sizeof(struct sockaddr_in), sockaddr_in6 and sockaddr_storage.
_INTERNET_SIZES = (16, 28, 128)
_SOCKET_CALLS = (
    *(SYS_BIND, SYS_CONNECT, SYS_SENDTO, SYS_SETSOCKOPT, SYS_GETSOCKOPT),
    *(SYS_SENDMSG, SYS_SENDMMSG, SYS_RECVMSG, SYS_RECVMMSG),
)
# The signals by which no program breaks off a call: those that are ignored by default (signal(7)),
# and those of timers of CPU time, which stand still during a call that waits (setitimer(2)).
_RESTARTING = tuple(int(number) for number in (SIGCHLD, SIGURG, SIGWINCH, SIGPROF, SIGVTALRM))
# The kernel notifies a call if all of its tests hold.
_CONDITIONAL: dict[str, tuple[Test, ...]] = {
    "open": ((1, _IS_CHECKED, ()),),
    "openat": ((2, _IS_CHECKED, ()),),
    "fcntl": ((1, _ALL_BITS, (F_SETLEASE,)),),
    "fsconfig": ((1, _ALL_BITS, (FSCONFIG_SET_STRING,)),),
    "unshare": ((0, _NEW_PLACES, ()),),
    "rt_sigaction": ((0, _ALL_BITS, _RESTARTING),),
    "prctl": ((0, _ALL_BITS, _IDENTITY_OPTIONS),),
    # Unix sockets ignore this flag: so a process passes its listener on, which nobody serves yet.
    "sendmsg": ((2, MSG_CONFIRM, (0,)),),
    "socketcall": ((0, _ALL_BITS, _SOCKET_CALLS),),
    "ipc": ((0, IPC_CALL_BITS, (SEMGET, SEMCTL, MSGGET, MSGCTL, SHMAT, SHMGET, SHMCTL)),),
    "keyctl": ((0, _ALL_BITS, (KEYCTL_CHOWN, KEYCTL_SETPERM, KEYCTL_DESCRIBE)),),
    "getrlimit": ((0, _ALL_BITS, _IS_TAG),),
    "setrlimit": ((0, _ALL_BITS, _IS_TAG),),
    "prlimit64": ((1, _ALL_BITS, _IS_TAG),),
    **PRIVILEGED_BY_ARGUMENTS,
}

# These lead to ports below 1024 of the container's own.
_LEADING: dict[str, tuple[Test, ...]] = {
    "connect": ((2, _ALL_BITS, _INTERNET_SIZES),),
    "sendto": ((4, _ALL_BITS, ()), (5, _ALL_BITS, _INTERNET_SIZES)),
}

# Calls that are also notified if the argument with this index, the flags, says O_RDONLY alone: of
# what a program reads, /proc/PID/status shows an identity, and the file of a device stands for
# another file.  Programs that look at these open them so; the many files that a dynamic linker, an
# interpreter and a walk over directories open have further flags, as a rule O_CLOEXEC.
READING = {"open": 1, "openat": 2}

# The program reaches a verdict from so many tests of a number; a compare can skip 255.
_COMPARES_LIMIT = 200

# Calls by which programs of other ABIs could set the tag.  The program answers "done" if the
# argument is RLIMIT_LOCKS.  Columns as in syscalls.py.
_TAG_CALLS: SyscallTable = (
    ("setrlimit", (160, 160, 75, 75, 75, 75, 164)),
    ("prlimit64", (302, 302, 340, 369, 325, 334, 261)),
)
_TAG_ARGUMENT = {"setrlimit": 0, "prlimit64": 1}


def notify_program(
    notify_abi: NotifyAbi,
    *,
    fake_sync: bool = False,
    strict: bool = False,
    has_ports: bool = False,
    fast_path: bool = False,
) -> bytes:
    """Return the program for a supervisor with ``notify_abi``.

    With ``fake_sync`` it answers "done" to fsync(2) and its family.  With ``strict`` it notifies
    all calls of OPENING.  With ``has_ports`` the container has ports below 1024 of its own.  With
    ``fast_path`` it allows the calls of FAST_CALLS from FAST_POINTER.
    """
    more = OPENING if strict else ()
    by_name = {abi.name: abi for abi in SYSCALL_ABIS}
    source = [load(DATA_ARCH)]
    for supervised in notify_abi.supervised():
        abi = by_name.pop(supervised.name)
        fast = FAST_CALLS if fast_path and supervised is notify_abi else ()
        tests = conditional_calls(supervised, has_ports=has_ports)
        source += _supervised_block(supervised, abi, more, tests, fast, fake_sync=fake_sync)
    # Programs of other architectures can't run here.
    machine = next(names for names in ABIS.values() if notify_abi.name in names)
    for abi in by_name.values():
        if abi.name in machine or abi.arch == notify_abi.arch:
            source += _guard_block(abi, notify_abi.numbers)
            source += architecture_block([abi], fake_sync)
    return assemble([*source, verdict(SECCOMP_RET_ALLOW)])


def conditional_calls(
    notify_abi: NotifyAbi, *, has_ports: bool = False
) -> dict[str, tuple[Test, ...]]:
    """Return the tests of the calls that ``notify_abi`` notifies depending on their arguments.

    ``has_ports`` is as for ``notify_program``.
    """
    options = (notify_abi.peer_credentials, SO_PEERGROUPS)
    return {
        **_CONDITIONAL,
        **(_LEADING if has_ports else {}),
        "clone": ((notify_abi.clone_flags, _NEW_PLACES, ()),),
        "getsockopt": ((1, _ALL_BITS, (SOL_SOCKET,)), (2, _ALL_BITS, options)),
        "setsockopt": (
            (1, _ALL_BITS, (SOL_SOCKET,)),
            (2, _ALL_BITS, (notify_abi.pass_credentials,)),
        ),
    }


def _supervised_block(
    notify_abi: NotifyAbi,
    abi: Abi,
    more: tuple[str, ...],
    conditional: dict[str, tuple[Test, ...]],
    fast: tuple[str, ...],
    *,
    fake_sync: bool,
) -> list[Line]:
    """Return the source that decides for a supervised ABI; it also notifies all of ``more``.

    ``conditional`` are the tests of calls that it notifies depending on their arguments.  It allows
    the calls of ``fast`` from FAST_POINTER.

    The source expects the architecture in the accumulator, and leaves it there for other ABIs.
    x32 has the architecture of x86-64.
    """
    name = abi.name
    verdicts = {
        **{call: "ask" if call in fast else "notify" for call in (*NOTIFIED, *more)},
        **dict.fromkeys(FAKED, "fake"),
        **dict.fromkeys(ABSENT, "absent"),
    }
    numbers = notify_abi.numbers_by_call()
    decided = [
        (number, where) for call, where in verdicts.items() for number in numbers.get(call, ())
    ]
    if fake_sync:
        decided += [(number, "fake") for number in syscall_numbers(SYNC_CALLS, abi).values()]
    others, decide = f"others {name}", f"decide {name}"
    source = [compare(abi.arch, decide), jump(others), label(decide), load(DATA_NR)]
    for sibling in SYSCALL_ABIS:
        if sibling.arch == abi.arch and sibling.number_bit:
            own = f"no {sibling.name}"
            source += [
                bitwise_and(sibling.number_bit),
                compare(0, own),
                jump(f"sibling {name}"),
                *(label(own), load(DATA_NR)),
            ]
    for start in range(0, len(decided), _COMPARES_LIMIT):
        source += _decisions(decided[start : start + _COMPARES_LIMIT], f"{name} {start}")
    for call, tests in conditional.items():
        if call in more:
            continue
        if call in READING:
            large = notify_abi.large_file
            source += _reading_call(abi, call, numbers.get(call, []), large, is_fast=call in fast)
        source += _tested_call(abi, call, numbers.get(call, []), tests, is_fast=call in fast)
    return [
        *source,
        verdict(SECCOMP_RET_ALLOW),
        *(label(f"sibling {name}"), load(DATA_ARCH)),
        label(others),
    ]


def _decisions(decided: list[tuple[int, str]], name: str) -> list[Line]:
    """Return the source that decides about calls by their number, which is in the accumulator.

    ``decided`` has number and verdict of each call.  The source leaves the accumulator as it is
    for other calls.
    """
    return [
        *[compare(number, f"{where} {name}") for number, where in decided],
        jump(f"undecided {name}"),
        *(_ask(name) if any(where == "ask" for _, where in decided) else []),
        *(label(f"notify {name}"), verdict(SECCOMP_RET_USER_NOTIF)),
        *(label(f"fake {name}"), verdict(SECCOMP_RET_ERRNO)),
        *(label(f"absent {name}"), verdict(SECCOMP_RET_ERRNO | errno.ENOSYS)),
        label(f"undecided {name}"),
    ]


def _ask(name: str) -> list[Line]:
    """Return the source of the verdict "ask" in the ``_decisions`` of ``name``."""
    return [label(f"ask {name}"), *_asked(f"decided {name}", is_fast=True)]


def _asked(name: str, *, is_fast: bool) -> list[Line]:
    """Return the source that notifies a call, but allows it from FAST_POINTER if ``is_fast``.

    ``name`` is one of its own.
    """
    if not is_fast:
        return [verdict(SECCOMP_RET_USER_NOTIF)]
    halves = FAST_POINTER & _ALL_BITS, FAST_POINTER >> 32
    low, high = halves if sys.byteorder == "little" else halves[::-1]
    return [
        *(load(DATA_POINTER), compare(low, "", f"slow {name}")),
        *(load(DATA_POINTER + 4), compare(high, "", f"slow {name}")),
        verdict(SECCOMP_RET_ALLOW),
        *(label(f"slow {name}"), verdict(SECCOMP_RET_USER_NOTIF)),
    ]


def _reading_call(
    abi: Abi, call: str, numbers: list[int], large_file: int, *, is_fast: bool
) -> list[Line]:
    """Return the source that notifies a call of READING whose flags say no more than O_RDONLY.

    ``large_file`` is O_LARGEFILE; ``is_fast`` is as for ``_asked``.  The source expects the number
    in the accumulator, and leaves it there for other calls.
    """
    notify, read, other = (f"{word} {call} {abi.name}" for word in ("reads", "read", "no read"))
    return [
        *[compare(number, read) for number in numbers],
        jump(other),
        label(read),
        load(low_word(READING[call], abi)),
        bitwise_and(more_than_reading(large_file)),
        compare(os.O_RDONLY, notify),
        load(DATA_NR),
        jump(other),
        *(label(notify), *_asked(notify, is_fast=is_fast)),
        label(other),
    ]


def more_than_reading(large_file: int) -> int:
    """Return the flags of open(2) without those with which a file is only read."""
    return _ALL_BITS & ~(large_file | os.O_NOCTTY)


def _tested_call(
    abi: Abi, call: str, numbers: list[int], tests: tuple[Test, ...], *, is_fast: bool
) -> list[Line]:
    """Return the source that decides about a call by its arguments.

    ``is_fast`` is as for ``_asked``.  The source expects the number in the accumulator, and leaves
    it there for other calls.
    """
    allow, test, other = (f"{word} {call} {abi.name}" for word in ("allow", "test", "other than"))
    source = [*[compare(number, test) for number in numbers], jump(other), label(test)]
    for argument, mask, values in tests:
        source.append(load(low_word(argument, abi)))
        if mask != _ALL_BITS:
            source.append(bitwise_and(mask))
        if not values:
            source.append(compare(0, allow))
            continue
        holds = f"{call} {argument} {abi.name} holds"
        source += [compare(value, holds) for value in values]
        source += [jump(allow), label(holds)]
    return [
        *source,
        *_asked(test, is_fast=is_fast),
        *(label(allow), verdict(SECCOMP_RET_ALLOW)),
        label(other),
    ]


def _guard_block(abi: Abi, common: dict[str, int]) -> list[Line]:
    """Return the source that keeps programs of another ABI from undoing the emulation.

    They may not set the tag, and not use io_uring.  The source expects the architecture in the
    accumulator, and leaves it there.
    """
    end, fake, absent = f"guarded {abi.name}", f"guard fake {abi.name}", f"guard {abi.name}"
    numbers = syscall_numbers(_TAG_CALLS, abi)
    source = [compare(abi.arch, "", end), load(DATA_NR)]
    source.append(compare(common["io_uring_setup"] | abi.number_bit, absent))
    source += [compare(number, f"{call} {abi.name}") for call, number in numbers.items()]
    source += [load(DATA_ARCH), jump(end)]
    for call in numbers:
        source += [
            label(f"{call} {abi.name}"),
            load(low_word(_TAG_ARGUMENT[call], abi)),
            compare(RLIMIT_LOCKS, fake),
            verdict(SECCOMP_RET_ALLOW),
        ]
    return [
        *source,
        *(label(fake), verdict(SECCOMP_RET_ERRNO)),
        *(label(absent), verdict(SECCOMP_RET_ERRNO | errno.ENOSYS)),
        label(end),
    ]
