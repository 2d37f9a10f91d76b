"""Attributes of the calling process: prctl(2).  A failure raises KernelError."""

import sys

from sundog.kernel.libc import CharPointer, checked, libc_call, syscall
from sundog.kernel.numbers import SECCOMP, process_abi

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_MODE_FILTER = 2
SECCOMP_FILTER_FLAG_SPEC_ALLOW = 1 << 2
BPF_INSTRUCTION_SIZE = 8


def prctl(option: int, name: bytes, *args: int | bytes) -> None:
    """Call prctl(2), unused arguments zero, as some options insist; ``name`` is for messages."""
    checked(libc_call("prctl", option, *args, *([0] * (4 - len(args)))), "prctl", name)


def set_no_new_privs() -> None:
    """Give up for good, for the children too, all privilege that execve(2) could add."""
    prctl(PR_SET_NO_NEW_PRIVS, b"PR_SET_NO_NEW_PRIVS", 1)


def set_pdeathsig(signo: int) -> None:
    """Ask for ``signo`` when the parent thread dies; 0 takes that back.

    Not inherited by fork(2), and lost when credentials change.  A parent that died before the
    call is not noticed: compare os.getppid() afterwards.
    """
    prctl(PR_SET_PDEATHSIG, b"PR_SET_PDEATHSIG", signo)


def set_child_subreaper() -> None:
    """Become the parent of orphaned descendants, in place of the namespace's init."""
    prctl(PR_SET_CHILD_SUBREAPER, b"PR_SET_CHILD_SUBREAPER", 1)


def set_dumpable(dumpable: bool) -> None:
    """Let, or do not let, others of the same user trace the process and own its /proc files."""
    prctl(PR_SET_DUMPABLE, b"PR_SET_DUMPABLE", int(dumpable))


def install_seccomp_filter(program: bytes) -> None:
    """Put all further system calls of this thread and its children through a BPF ``program``.

    ``program`` is an array of struct sock_filter in this machine's byte order.  Needs
    no_new_privs, or CAP_SYS_ADMIN in the user namespace.  It cannot be undone: seccomp(2).
    """
    pointer = CharPointer(program)
    address = bytes(memoryview(pointer))
    # struct sock_fprog: unsigned short len; struct sock_filter *filter;
    count = (len(program) // BPF_INSTRUCTION_SIZE).to_bytes(2, sys.byteorder)
    fprog = count.ljust(len(address), b"\0") + address
    # Before Linux 5.16 a filter would else switch on costly mitigations of speculative execution,
    # which are for programs that run code of strangers in one process.
    result = syscall(
        SECCOMP[process_abi()], SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, fprog
    )
    if result < 0:  # the filter of a site or of a container around may know the old call alone
        result = libc_call("prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, fprog, 0, 0)
    checked(result, "prctl", b"PR_SET_SECCOMP")
