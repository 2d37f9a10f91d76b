"""The user notifications of seccomp(2): install a listener, pass it on, receive, reply.

Specification: seccomp_unotify(2), linux/seccomp.h.  Linux 5.14 for ADDFD_FLAG_SEND, 5.19 for
WAIT_KILLABLE_RECV.
"""

from __future__ import annotations

import errno
import os
import sys
from fcntl import ioctl
from select import POLLHUP, POLLIN, poll

from sundog.base.cpython import AF_UNIX, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, Struct, socket
from sundog.base.kernel.descriptors import send_unnotified
from sundog.base.kernel.libc import CharPointer, checked, syscall
from sundog.base.kernel.numbers import IOC_WRITE, linux_version
from sundog.base.kernel.process import SECCOMP_FILTER_FLAG_SPEC_ALLOW, SECCOMP_SET_MODE_FILTER
from sundog.runtime.emulation.notify.tracee.call import ANSWERED, Answer, KernelAnswers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SECCOMP_FILTER_FLAG_NEW_LISTENER = 1 << 3
_SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 1 << 5
SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1
_SECCOMP_ADDFD_FLAG_SETFD = 1 << 0
_SECCOMP_ADDFD_FLAG_SEND = 1 << 1
_SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP = 1

_DESCRIPTOR_SIZE = 4  # in a message of SCM_RIGHTS

# _IOC(direction, '!', number, size) as asm/ioctl.h has it.
SECCOMP_IOCTL_NOTIF_RECV = 0xC0502100
SECCOMP_IOCTL_NOTIF_SEND = 0xC0182101
SECCOMP_IOCTL_NOTIF_ID_VALID = IOC_WRITE | 0x82102
SECCOMP_IOCTL_NOTIF_ADDFD = IOC_WRITE | 0x182103
_SECCOMP_IOCTL_NOTIF_SET_FLAGS = IOC_WRITE | 0x82104

# struct seccomp_notif: id, pid, flags, then struct seccomp_data: nr, arch, instruction_pointer,
# args[6].  The format leaves out flags, nr, arch and instruction_pointer; nr is the word of 32 bits
# at NUMBER, and the low byte of arch, which is that of the machine's number in ELF, is at MACHINE.
NOTIFICATION = Struct("=QI20x6Q")
NUMBER = 4
MACHINE = 20 if sys.byteorder == "little" else 23
# RECV wants a zeroed structure.
EMPTY_NOTIFICATION = bytes(NOTIFICATION.size)
# struct seccomp_notif_resp: id, val, error, flags.
RESPONSE = Struct("=QqiI")
# struct seccomp_notif_addfd: id, flags, srcfd, newfd, newfd_flags.
ADDED_DESCRIPTOR = Struct("=QIIII")
COOKIE = Struct("=Q")
# The last eight bytes of RESPONSE (error and flags) as one word: for a result, and for CONTINUE.
_LAST_WORD = Struct("=iI")
RESULT_WORD = 0
CONTINUE_WORD = int.from_bytes(_LAST_WORD.pack(0, SECCOMP_USER_NOTIF_FLAG_CONTINUE), sys.byteorder)

# Since this version RECV fails when no process is left under the filter.  Before, RECV waits for
# ever, and only poll(2) tells.
_RECEIVE_ENDS = (6, 11)


def install_listener(program: bytes, number: int) -> int:
    """Put this process and its children under ``program``; return the listener's descriptor.

    ``number`` is the number of seccomp(2).  The caller has set no_new_privs or has CAP_SYS_ADMIN in
    its user namespace.  Raises KernelError, with EBUSY if a filter around this process already has
    a listener.  From now on each call that the program notifies blocks until a supervisor answers.
    """
    pointer = CharPointer(program)
    address = bytes(memoryview(pointer))
    # struct sock_fprog: unsigned short len; struct sock_filter *filter;
    fprog = (len(program) // 8).to_bytes(2, sys.byteorder).ljust(len(address), b"\0") + address
    # Before Linux 5.16 a filter without SPEC_ALLOW switches on costly mitigations of speculative
    # execution.  The emulation needs none: it is no security boundary.
    flags = _SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_SPEC_ALLOW
    result = -errno.EINVAL
    for optional in (_SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, 0):
        result = syscall(number, SECCOMP_SET_MODE_FILTER, flags | optional, fprog)
        if result != -errno.EINVAL:
            break
    return checked(result, "seccomp", b"SECCOMP_SET_MODE_FILTER")


def send_descriptors(channel: int, descriptors: Sequence[int]) -> None:
    """Send ``descriptors`` through the connected Unix socket ``channel``."""
    send_unnotified(channel, b"\0", descriptors)


def receive_descriptors(channel: int) -> list[int]:
    """Return the descriptors from ``channel``, closed on exec; [] if the other end sends none."""
    with borrowed_socket(channel) as connection:
        _, control, _, _ = connection.recvmsg(1, 64)
    for level, kind, data in control:
        if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
            places = range(0, len(data) - _DESCRIPTOR_SIZE + 1, _DESCRIPTOR_SIZE)
            received = [
                int.from_bytes(data[at : at + _DESCRIPTOR_SIZE], sys.byteorder) for at in places
            ]
            for fd in received:
                os.set_inheritable(fd, False)
            return received
    return []


def send_descriptor(channel: int, fd: int) -> None:
    """Send one descriptor as ``send_descriptors`` does."""
    send_descriptors(channel, (fd,))


def receive_descriptor(channel: int) -> int:
    """Return the descriptor from ``channel``, closed on exec; -1 if the other end sends none."""
    received = receive_descriptors(channel)
    return received[0] if received else -1


class borrowed_socket:  # noqa: N801 - a context manager that reads as a value
    """A socket object around the caller's descriptor, which stays open."""

    def __init__(self, fd: int) -> None:
        self.socket = socket(AF_UNIX, SOCK_STREAM, 0, fd)

    def __enter__(self) -> socket:
        return self.socket

    def __exit__(self, *error: object) -> None:
        self.socket.detach()


class NotificationSource:
    """The supervisor's end.

    fd          the listener of the current call
    must_poll   whether only ``wait`` tells that no process is left
    cookie      the kernel's number of the current call
    has_new     whether ``wait`` has let a process with another identity in
    """

    def __init__(self, fd: int, *, must_poll: bool) -> None:
        self.fd = fd
        self.must_poll = must_poll
        self.cookie = 0
        self.has_new = False

    def wait(self) -> bool:
        """Wait for a notification; return False if no process is left under a filter."""
        raise NotImplementedError

    def has_ended(self) -> bool:
        """Tell whether no process is left, after a RECV that found no call."""
        raise NotImplementedError

    def before_mount(self) -> None:
        """Prepare for a mount.  If a program serves it, the supervisor may wait for the program."""

    def is_over(self, error: OSError) -> bool:
        """Tell whether the ``error`` of a RECV means that no process is left.

        Raises OSError, unless the error means "try again".
        """
        if error.errno == errno.ENOENT:
            # Either no process is left, or the caller died before RECV read its call.
            return self.has_ended()
        if error.errno != errno.EINTR:
            raise OSError(error.errno, "SECCOMP_IOCTL_NOTIF_RECV") from error
        return False

    def confirm(self) -> None:
        """Raise KernelAnswers if the caller has died: another thread may have its ID by now.

        A handler calls this after it has looked at what it found by the ID, and before it acts.
        """
        try:
            retried(self.fd, SECCOMP_IOCTL_NOTIF_ID_VALID, COOKIE.pack(self.cookie))
        except OSError as error:
            raise KernelAnswers from error

    def let_kernel_answer(self) -> Answer:
        """Reply that the kernel shall answer the current call; return ANSWERED."""
        reply = RESPONSE.pack(self.cookie, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE)
        try:  # noqa: SIM105 - contextlib takes as long as the rest of a start
            retried(self.fd, SECCOMP_IOCTL_NOTIF_SEND, reply)
        except FileNotFoundError:
            pass  # the caller has died, or a signal has interrupted the call
        return ANSWERED

    def add_descriptor(self, fd: int, flags: int) -> int:
        """Give the caller a copy of ``fd``; return its number there, or a negated errno.

        ``flags`` are 0 or O_CLOEXEC.
        """
        return _added(self.fd, ADDED_DESCRIPTOR.pack(self.cookie, 0, fd, 0, flags))

    def replace_descriptor(self, number: int, fd: int, flags: int) -> Answer:
        """Make descriptor ``number`` of the caller one of ``fd``; return None, or a negated errno.

        ``flags`` are 0 or O_CLOEXEC.
        """
        added = ADDED_DESCRIPTOR.pack(self.cookie, _SECCOMP_ADDFD_FLAG_SETFD, fd, number, flags)
        return min(_added(self.fd, added), 0) or None

    def reply_with_descriptor(self, fd: int, flags: int) -> Answer:
        """Reply with a copy of ``fd`` as a new descriptor of the caller.

        ``flags`` are 0 or O_CLOEXEC.  Returns ANSWERED; or a negated errno, and sends no reply.
        """
        added = ADDED_DESCRIPTOR.pack(self.cookie, _SECCOMP_ADDFD_FLAG_SEND, fd, 0, flags)
        try:
            retried(self.fd, SECCOMP_IOCTL_NOTIF_ADDFD, added)
        except BlockingIOError:
            return ANSWERED  # a signal came when the caller was about to take the descriptor
        except OSError as error:
            return -(error.errno or errno.EIO)
        return ANSWERED


class Listener(NotificationSource):
    """The supervisor's end of one listener.

    It calls ``prepare`` before programs mount something.
    """

    def __init__(self, fd: int, prepare: Callable[[], None] | None = None) -> None:
        super().__init__(fd, must_poll=linux_version() < _RECEIVE_ENDS)
        self._prepare = prepare
        self._poll = poll()
        self._poll.register(fd, POLLIN)
        wake_synchronously(fd)

    def wait(self) -> bool:
        """Wait for a notification; return False if no process is left under the filter."""
        return bool(self._poll.poll()[0][1] & POLLIN)

    def before_mount(self) -> None:
        """See ``NotificationSource``."""
        if self._prepare is not None:
            self._prepare()

    def has_ended(self) -> bool:
        """Tell whether no process is left under the filter."""
        return any(events & POLLHUP for _, events in self._poll.poll(0))


def wake_synchronously(listener: int) -> None:
    """Make each side of ``listener`` wake the other one on its own CPU: Linux 6.6.

    The two never run at the same time, so this is far cheaper than to wake an idle CPU.
    """
    try:
        ioctl(listener, _SECCOMP_IOCTL_NOTIF_SET_FLAGS, _SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


def _added(listener: int, descriptor: bytes) -> int:
    """Add an ADDED_DESCRIPTOR to the caller; return its number there, or a negated errno."""
    try:
        return retried(listener, SECCOMP_IOCTL_NOTIF_ADDFD, descriptor)
    except OSError as error:
        return -(error.errno or errno.EIO)


def retried(fd: int, request: int, argument: bytes) -> int:
    """Call ioctl(2) again after each interruption by a signal, as Python 3.14 does by itself.

    Returns the call's result.
    """
    changed = bytearray(argument)  # of bytes, ioctl would return the bytes
    while True:
        try:
            result: int = ioctl(fd, request, changed)
        except InterruptedError:
            continue
        return result


def error_word(answer: int) -> int:
    """Return the last word of the response for a negated errno."""
    return int.from_bytes(_LAST_WORD.pack(answer, 0), sys.byteorder)
