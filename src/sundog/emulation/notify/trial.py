"""Whether a supervisor can work here: a try on a process made for it, in a user namespace.

What can be in the way: another listener further up (seccomp(2), EBUSY), Yama's ptrace_scope,
a seccomp profile around this process, limits, an old kernel, an architecture without tables.
"""

import errno
import os
from _ctypes import addressof
from _socket import AF_UNIX, SOCK_STREAM, socketpair
from resource import prlimit

from sundog.emulation.bpf import SECCOMP_RET_ALLOW, assemble, verdict
from sundog.emulation.notify.abi import NOTIFY_ABIS, NotifyAbi
from sundog.emulation.notify.listener import (
    KernelAnswers,
    install_listener,
    receive_descriptor,
    send_descriptor,
)
from sundog.emulation.notify.memory import Buffer, Memory
from sundog.emulation.notify.tags import RLIMIT_LOCKS, tags_are_possible
from sundog.errors import KernelError
from sundog.kernel.libc import checked, syscall
from sundog.kernel.namespaces import CLONE_NEWUSER, unshare, write_id_maps
from sundog.kernel.numbers import process_abi
from sundog.kernel.process import set_no_new_privs

PTRACE_SCOPE = b"/proc/sys/kernel/yama/ptrace_scope"
NO_ATTACH = "3"
LONGEST_REASON = 4096
NO_REASON = "-"
MARK = b"sundog"


def obstacle(machine: str = "", ptrace_scope: bytes = PTRACE_SCOPE) -> str:
    """Say in a few words why no supervisor can work here; "" if one can.

    ``machine`` and ``ptrace_scope`` are for tests.  Where the kernel refuses user namespaces, it is
    "": that is not about supervisors, and will be said soon enough.
    """
    abi = NOTIFY_ABIS.get(process_abi(machine))
    if abi is None:
        return f"no tables for the architecture {machine or os.uname().machine}"
    if read_line(ptrace_scope) == NO_ATTACH:
        return "kernel.yama.ptrace_scope is 3: no process may look into another"
    if os.readlink(b"/proc/self") != b"%d" % os.getpid():
        return "the /proc here is that of another PID namespace"
    if not tags_are_possible():
        return "the hard limit of file locks (ulimit -Hx) is too low to mark processes by"
    return try_supervising(abi)


def read_line(path: bytes) -> str:
    """Return what a file of one line says; "" if it can't be read."""
    try:
        with open(path, "rb") as file:
            return file.read().strip().decode("latin-1")
    except OSError:
        return ""


def try_supervising(abi: NotifyAbi) -> str:
    """Do with a child what a supervisor does; return what fails, or "".

    The child makes itself a user namespace, whose owner this process is: so it has all capabilities
    there, as a supervisor does.
    """
    buffer = Buffer()
    memoryview(buffer).cast("B")[: len(MARK)] = MARK
    ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
    child = os.fork()
    if child == 0:
        try:
            ours.close()
            be_supervised(abi, theirs.fileno())
        finally:
            os._exit(0)
    channel = theirs.fileno()
    theirs.close()
    listener = receive_descriptor(ours.fileno())
    if listener < 0:
        reason = ours.recv(LONGEST_REASON).decode() or "seccomp(2) kills the process that calls it"
        reason = "" if reason == NO_REASON else reason
    else:
        reason = try_handling(abi, child, addressof(buffer), channel)
        os.close(listener)
    ours.close()
    try:  # noqa: SIM105 - contextlib is not light
        os.waitpid(child, 0)
    except ChildProcessError:
        pass  # who ignores SIGCHLD has no dead children
    return reason


def be_supervised(abi: NotifyAbi, channel: int) -> None:
    """Install a listener, which notifies of nothing, and pass it on, or say what fails.

    Then wait until the other end of ``channel`` is closed.  Without a user namespace: NO_REASON.
    """
    outside_uid, outside_gid = os.geteuid(), os.getegid()
    try:
        unshare(CLONE_NEWUSER)
        write_id_maps(0, 0, outside_uid, outside_gid)
    except KernelError:
        os.write(channel, b"\0" + NO_REASON.encode())
        return
    set_no_new_privs()
    try:
        program = assemble([verdict(SECCOMP_RET_ALLOW)])
        listener = install_listener(program, abi.numbers["seccomp"])
    except KernelError as error:
        reason = error.message
        if error.errno == errno.EBUSY:
            reason = (
                "this process has a supervisor already (a build, or ch-run --notify, around it)"
            )
        os.write(channel, b"\0" + reason.encode())  # a byte in the place of the descriptor
        return
    send_descriptor(channel, listener)
    os.close(listener)
    os.read(channel, 1)


def try_handling(abi: NotifyAbi, child: int, address: int, fd: int) -> str:
    """Look into ``child``: at its ``address`` is MARK, ``fd`` is open in it; return what fails."""
    try:
        if Memory().read(child, address, len(MARK)) != MARK:
            return "process_vm_readv(2) reads something else than what is there"
    except KernelAnswers:
        return "no process may look into another: process_vm_readv(2) is forbidden"
    try:
        process = os.pidfd_open(child)
        taken = syscall(abi.numbers["pidfd_getfd"], process, fd, 0)
        os.close(process)
        os.close(checked(taken, "pidfd_getfd", b"a file of another process"))
        prlimit(child, RLIMIT_LOCKS, prlimit(child, RLIMIT_LOCKS))
    except KernelError as error:
        return error.message
    except OSError as error:
        return f"no process may handle another: {error.strerror}"
    return ""
