"""Find out whether a supervisor can work here: try one on a child in a user namespace of its own.

Obstacles can be: another listener on a filter around this process (seccomp(2), EBUSY), Yama's
ptrace_scope, a seccomp profile around this process, limits, an old kernel, an architecture without
tables.

A filter around this process may answer a call itself: an errno, which may be 0, or a signal takes
precedence over a notification (seccomp(2)).  Then the supervisor would never hear of the call.  So
the child makes each emulated call, or a single one where there is no filter.  The kernel notifies
one call of each family, and the supervisor answers with a number that no filter can give.  The
other calls cost less: the filter leaves them to a tracer, and a tracer ranks below a notification.
There is no tracer, so the kernel says ENOSYS.
"""

from __future__ import annotations

import errno
import os
from fcntl import ioctl
from resource import RLIMIT_CORE, getrlimit, prlimit, setrlimit
from select import POLLIN, poll

from sundog.base.cpython import AF_UNIX, SOCK_STREAM, addressof, get_errno, socketpair
from sundog.base.kernel.libc import checked, syscall
from sundog.base.kernel.modes import S_IFCHR
from sundog.base.kernel.namespaces import CLONE_NEWUSER, unshare, write_id_maps
from sundog.base.kernel.numbers import process_abi
from sundog.base.kernel.process import is_filtered, set_no_new_privs
from sundog.errors import KernelError
from sundog.runtime.emulation.bpf import (
    DATA_NR,
    SECCOMP_RET_ALLOW,
    assemble,
    compare,
    label,
    load,
    verdict,
)
from sundog.runtime.emulation.notify.seccomp.listener import (
    NOTIFICATION,
    NUMBER,
    RESPONSE,
    SECCOMP_IOCTL_NOTIF_RECV,
    SECCOMP_IOCTL_NOTIF_SEND,
    Listener,
    install_listener,
    receive_descriptor,
    retried,
    send_descriptor,
)
from sundog.runtime.emulation.notify.seccomp.program import EMULATED, SECCOMP_RET_USER_NOTIF
from sundog.runtime.emulation.notify.tracee.abi import NOTIFY_ABIS, NotifyAbi
from sundog.runtime.emulation.notify.tracee.call import KernelAnswers
from sundog.runtime.emulation.notify.tracee.memory import Buffer, Memory, quick_function
from sundog.runtime.emulation.notify.tracee.tag import RLIMIT_LOCKS, tags_are_possible

PTRACE_SCOPE = b"/proc/sys/kernel/yama/ptrace_scope"
NO_ATTACH = "3"
_REASON_LIMIT = 4096
_NO_REASON = "-"
_MARK = b"sundog"

HAS_SUPERVISOR = (
    "this process has a supervisor already (it runs in a build, in ch-run --notify, or in "
    "sundog root)"
)

_SECCOMP_RET_TRACE = 0x7FF00000

# A call of the trial: name, number, and expected answer.
_TriedCall = tuple[str, int, int]
# A filter may look at the arguments before it answers: these are those of a device.
_TRIED_ARGUMENTS = {
    "mknod": (0, S_IFCHR, 0x103),
    "mknodat": (0, 0, S_IFCHR, 0x103),
}
# The trial omits newer calls: older filters answer ENOSYS, for which programs are prepared.
FIRST_NEW_CALL = 424  # pidfd_send_signal(2), Linux 5.1
_FIRST_ANSWER = 0x5D06
_ANSWERED_ELSEWHERE = 0x80  # added to the index of a call
_ALL_TRIED = 0xFF
_NO_CORE = 1  # bytes: with 0 a core would still go into a pipe (core(5))


def obstacle(machine: str = "", ptrace_scope: bytes = PTRACE_SCOPE) -> str:
    """Say in a few words why no supervisor can work here; "" if one can.

    ``machine`` and ``ptrace_scope`` are for tests.  The answer is "" if the kernel refuses user
    namespaces: that is not about supervisors, and the container's start reports it.
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
    return _try_supervising(abi)


def read_line(path: bytes) -> str:
    """Return the line in a file of one line; "" if the file can't be read."""
    try:
        with open(path, "rb") as file:
            return file.read().strip().decode("latin-1")
    except OSError:
        return ""


def _try_supervising(abi: NotifyAbi) -> str:
    """Do with a child what a supervisor does; return what fails, or "".

    The child makes itself a user namespace.  This process owns the namespace, and so has all
    capabilities there, as a supervisor has.
    """
    buffer = Buffer()
    memoryview(buffer).cast("B")[: len(_MARK)] = _MARK
    ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
    calls = tried_calls(abi)
    if not is_filtered():
        del calls[1:]  # by one, the child waits
    program = _trial_program(calls)  # not in the child, which would copy every page that it touches
    child = os.fork()
    if child == 0:
        try:
            ours.close()
            _be_supervised(abi, theirs.fileno(), program, calls)
        finally:
            os._exit(0)
    channel = theirs.fileno()
    theirs.close()
    listener = receive_descriptor(ours.fileno())
    if listener < 0:
        reason = ours.recv(_REASON_LIMIT).decode() or "seccomp(2) kills the process that calls it"
        reason = "" if reason == _NO_REASON else reason
    else:
        reason = _try_handling(abi, child, addressof(buffer), channel)
        reason = reason or _try_answering(calls, listener, ours.fileno())
        os.close(listener)
    ours.close()
    try:  # noqa: SIM105 - contextlib is not light
        os.waitpid(child, 0)
    except ChildProcessError:
        pass  # a process that ignores SIGCHLD has no dead children
    return reason


def tried_calls(abi: NotifyAbi) -> list[_TriedCall]:
    """Return the calls that the trial makes, in its order."""
    tried: list[_TriedCall] = []
    for family in EMULATED.values():
        answer = _FIRST_ANSWER + len(tried)
        for call in family:
            number = abi.numbers.get(call, FIRST_NEW_CALL)
            if number < FIRST_NEW_CALL:
                tried.append((call, number, answer))
                answer = -errno.ENOSYS
    return tried


def _trial_program(calls: list[_TriedCall]) -> bytes:
    """Return the program for the trial of ``calls``."""
    tests = [compare(number, "trace" if answer < 0 else "notify") for _, number, answer in calls]
    return assemble(
        [
            *(load(DATA_NR), *tests, verdict(SECCOMP_RET_ALLOW)),
            *(label("notify"), verdict(SECCOMP_RET_USER_NOTIF)),
            *(label("trace"), verdict(_SECCOMP_RET_TRACE)),
        ]
    )


def _be_supervised(abi: NotifyAbi, channel: int, program: bytes, calls: list[_TriedCall]) -> None:
    """Install ``program`` and send the listener, or the reason of a failure; then make ``calls``.

    The child writes one byte into ``channel`` before the first call of each family: the call's
    index.  It writes the index with _ANSWERED_ELSEWHERE after each unexpected answer, and
    _ALL_TRIED at the end.  _NO_REASON says that the kernel refuses a user namespace.
    """
    outside_uid, outside_gid = os.geteuid(), os.getegid()
    hard = getrlimit(RLIMIT_CORE)[1]
    setrlimit(RLIMIT_CORE, (_NO_CORE if hard else 0, hard))
    try:
        unshare(CLONE_NEWUSER)
        write_id_maps(0, 0, outside_uid, outside_gid)
    except KernelError:
        os.write(channel, b"\0" + _NO_REASON.encode())
        return
    set_no_new_privs()
    try:
        listener = install_listener(program, abi.numbers["seccomp"])
    except KernelError as error:
        reason = error.message
        if error.errno == errno.EBUSY:
            reason = HAS_SUPERVISOR
        os.write(channel, b"\0" + reason.encode())  # a byte in the place of the descriptor
        return
    send_descriptor(channel, listener)
    os.close(listener)
    make_call = quick_function("syscall")
    for index, (call, number, expected) in enumerate(calls):
        if expected >= 0:
            os.write(channel, bytes((index,)))
        answer = make_call(number, *_TRIED_ARGUMENTS.get(call, (0, 0, 0)))
        if (-get_errno() if answer == -1 else answer) != expected:
            os.write(channel, bytes((index | _ANSWERED_ELSEWHERE,)))
    os.write(channel, bytes((_ALL_TRIED,)))


def _try_answering(calls: list[_TriedCall], fd: int, channel: int) -> str:
    """Answer ``calls``, which ``_be_supervised`` makes; return what fails, or ""."""
    answers = {number: answer for _, number, answer in calls}
    Listener(fd)  # sets its flags
    events = poll()
    events.register(fd, POLLIN)
    events.register(channel, 0)  # only the end of the channel, not data
    while True:
        ready = dict(events.poll())
        if ready.get(fd, 0) & POLLIN:
            _answer_trial(fd, answers)
        elif channel in ready:
            break
        else:
            events.unregister(fd)  # no process is left under the filter
    *told, last = os.read(channel, 2 * len(calls) + 1) or b"\0"
    if last != _ALL_TRIED:
        family = calls[last & ~_ANSWERED_ELSEWHERE][0]
        return f"a filter around this process kills a process that makes calls like {family}"
    elsewhere = [
        calls[index & ~_ANSWERED_ELSEWHERE][0] for index in told if index & _ANSWERED_ELSEWHERE
    ]
    if not elsewhere:
        return ""
    more = f" and {len(elsewhere) - 1} more calls" if len(elsewhere) > 1 else ""
    return f"a filter around this process (ch-run --seccomp, a RUN.S) answers {elsewhere[0]}{more}"


def _answer_trial(fd: int, answers: dict[int, int]) -> None:
    """Receive a call of the trial, if one is waiting, and answer it."""
    notification = bytearray(NOTIFICATION.size)
    try:
        ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, notification)
        answer = answers[memoryview(notification).cast("I")[NUMBER]]
        cookie = NOTIFICATION.unpack_from(notification)[0]
        retried(fd, SECCOMP_IOCTL_NOTIF_SEND, RESPONSE.pack(cookie, answer, 0, 0))
    except OSError:
        pass  # a signal came, or the caller died; poll(2) tells what comes next


def _try_handling(abi: NotifyAbi, child: int, address: int, fd: int) -> str:
    """Read _MARK at ``address`` of ``child`` and take its descriptor ``fd``; return what fails."""
    try:
        if Memory().read(child, address, len(_MARK)) != _MARK:
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
