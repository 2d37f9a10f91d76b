"""The way from the host into a container that another program has made: setns(2).

The first process of a container is a program of the host until it executes the container's program.
Until then it may be closed to inspection (crun), and it gives up capabilities and IDs, which the
emulation has nothing to do with.  So the kernel answers its calls up to there.
"""

from __future__ import annotations

import errno
import os
from fcntl import ioctl
from select import POLLIN, poll
from socket import AF_UNIX, SOCK_SEQPACKET, socketpair
from typing import Self

from sundog.base.kernel.descriptors import receive_message, send_message
from sundog.base.kernel.files import STDERR_FILENO, leave_descriptors
from sundog.base.kernel.namespaces import CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWUSER, setns
from sundog.base.kernel.process import fork, set_dumpable
from sundog.errors import KernelError, SundogError
from sundog.runtime.container.enter import enter_namespaces, rootless
from sundog.runtime.emulation.notify.seccomp.listener import (
    COOKIE,
    MACHINE,
    NOTIFICATION,
    NUMBER,
    RESPONSE,
    SECCOMP_IOCTL_NOTIF_ID_VALID,
    SECCOMP_IOCTL_NOTIF_RECV,
    SECCOMP_IOCTL_NOTIF_SEND,
    SECCOMP_USER_NOTIF_FLAG_CONTINUE,
    retried,
)
from sundog.runtime.emulation.notify.tracee.abi import NOTIFY_ABIS
from sundog.runtime.emulation.notify.tracee.memory import PATH_MAX

_ANSWER_LIMIT = 1 << 13  # bytes: a message with a path

# By the low byte of the architecture, and the number.
_EXECUTES = {
    (abi.arch & 0xFF, abi.numbers[call])
    for known in NOTIFY_ABIS.values()
    for abi in known.supervised()
    for call in ("execve", "execveat")
}


class Detacher:
    """A child process that opens directories of the host so that ".." leads nowhere from them.

    Only a mount in a namespace of its own can be detached, and this process has none: see
    ``rootless``.  As a context manager, it ends the child.
    """

    def __init__(self) -> None:
        """Fork, and move the child into namespaces of its own."""
        self._channel, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        self._child = fork()
        if self._child == 0:
            try:
                leave_descriptors((STDERR_FILENO, theirs.fileno()))
                set_dumpable(True)  # else it may not write its ID maps
                enter_namespaces(os.geteuid(), os.getegid())
                set_dumpable(False)
                while path := theirs.recv(PATH_MAX):
                    try:
                        send_message(theirs, b".", (rootless(path),))
                    except (KernelError, OSError) as error:
                        send_message(theirs, str(error).encode()[:_ANSWER_LIMIT])
            finally:
                os._exit(0)
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        os.waitpid(self._child, 0)

    def open(self, path: bytes) -> int:
        """Return a descriptor of the host's directory ``path``.  Raises SundogError."""
        try:
            send_message(self._channel, path)
            message, received = receive_message(self._channel, _ANSWER_LIMIT)
        except (BrokenPipeError, ConnectionResetError):
            raise SundogError("can't make a user namespace") from None
        if not received:
            raise SundogError(message.decode(errors="replace"))
        return received[0]


def is_listener(fd: int) -> bool:
    """Tell whether ``fd`` is a listener of seccomp(2)."""
    try:
        retried(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, COOKIE.pack(0))
    except OSError as error:
        return error.errno == errno.ENOENT  # it has no such notification
    return True


def enter_with_program(listener: int, process: int, number: int, proc: int) -> bool:
    """Enter the namespaces and the root of a container when its program makes its first call.

    ``process`` is a pidfd of the container's first process, whose ID is ``number``.  ``proc`` is
    the /proc of its PID namespace.  Returns False if the container ended before.
    """
    begins = Beginning(listener)
    events = poll()
    events.register(listener, POLLIN)
    while events.poll()[0][1] & POLLIN:
        if not begins.is_over:
            begins.leave_to_kernel()
            continue
        try:
            _enter(process, number, proc)
        except (KernelError, OSError) as error:
            if error.errno == errno.ESRCH:
                return False
            raise
        return True
    return False


class Beginning:
    """The calls of a process up to its first execve(2): those of the runtime, on the host's side.

    is_over     whether the last call was execve(2)
    """

    def __init__(self, listener: int) -> None:
        self._listener = listener
        self.is_over = False

    def leave_to_kernel(self) -> None:
        """Receive a call, and have the kernel answer it.  Raises OSError."""
        notification = bytearray(NOTIFICATION.size)
        try:
            ioctl(self._listener, SECCOMP_IOCTL_NOTIF_RECV, notification)
            cookie = NOTIFICATION.unpack_from(notification)[0]
            response = RESPONSE.pack(cookie, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE)
            retried(self._listener, SECCOMP_IOCTL_NOTIF_SEND, response)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINTR):
                raise  # else the caller has died, or a signal has interrupted it
            return
        number = memoryview(notification).cast("I")[NUMBER]
        self.is_over = (notification[MACHINE], number) in _EXECUTES


def _enter(process: int, number: int, proc: int) -> None:
    """Enter the container.  Raises KernelError or OSError, and then has changed nothing."""
    kinds = CLONE_NEWNS
    for name, kind in ((b"user", CLONE_NEWUSER), (b"ipc", CLONE_NEWIPC)):
        if not _shares(name, number, proc):
            kinds |= kind
    setns(process, kinds)
    # A runtime that can't pivot_root(2) leaves the container's root below that of the namespace.
    os.fchdir(proc)
    os.chroot(b"%d/root" % number)


def _shares(kind: bytes, number: int, proc: int) -> bool:
    """Tell whether this process is in the namespace ``kind`` of the process ``number``."""
    own, other = (
        os.stat(b"%b/ns/%b" % (name, kind), dir_fd=proc) for name in (b"self", b"%d" % number)
    )
    return (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino)
