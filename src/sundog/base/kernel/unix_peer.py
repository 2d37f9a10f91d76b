"""The process at the other end of a Unix socket: unix(7), pidfd_open(2).

No policy.
"""

from __future__ import annotations

import errno
import os

from sundog.base.cpython import SO_PEERCRED, SOL_SOCKET, pidfd_send_signal
from sundog.base.kernel.files import Closing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.cpython import socket

SO_PEERPIDFD = 77  # Linux 6.5
_CREDENTIALS_SIZE = 12  # struct ucred: pid, uid, gid


class UnixPeer:
    """A process by its ``pid``, its effective ``uid``, and a ``pidfd`` (-1: it has ended).

    A process that accepts connections is the one that called listen(2).  A process that connects is
    the one that called connect(2).  The uid is the one at that time.  The IDs are those in the
    namespaces of the caller; a process that the caller's PID namespace does not show has the pid 0.
    """

    __slots__ = ("pid", "pidfd", "uid")

    def __init__(self, connection: socket) -> None:
        """Ask the kernel about the other end of ``connection``.  Raises OSError."""
        data = connection.getsockopt(SOL_SOCKET, SO_PEERCRED, _CREDENTIALS_SIZE)
        self.pid, self.uid, _ = memoryview(data).cast("I")
        self.pidfd = _open_peer(connection, self.pid)

    def is_in(self, namespace: os.stat_result) -> bool:
        """Tell whether the process lives, and is in the user ``namespace``.

        The caller may not see that of another user's process, nor of one that is not dumpable.
        """
        try:
            found = os.stat(b"/proc/%d/ns/user" % self.pid)
            pidfd_send_signal(self.pidfd, 0)  # it has not ended, so the number was its own
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == (namespace.st_dev, namespace.st_ino)

    def has_root(self, root: bytes) -> bool:
        """Tell whether the process lives, and has the directory ``root`` as its root directory.

        A read-only mount of a directory that is writable at ``root`` is another directory.
        """
        try:
            own, other = _root_identity(root), _root_identity(b"/proc/%d/root" % self.pid)
            pidfd_send_signal(self.pidfd, 0)
        except OSError:
            return False
        return own == other


def _root_identity(directory: bytes) -> tuple[int, int, bool]:
    """Return device and inode of ``directory``, and whether it is read-only.  Raises OSError."""
    with Closing(os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
        status = os.fstat(fd)
        return status.st_dev, status.st_ino, bool(os.fstatvfs(fd).f_flag & os.ST_RDONLY)


def _open_peer(connection: socket, pid: int) -> int:
    """Return a pidfd of the process at the other end of ``connection``; -1 if it has ended."""
    try:
        return connection.getsockopt(SOL_SOCKET, SO_PEERPIDFD)
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            return -1
    # Before Linux 6.5 another process may have got the number meanwhile.
    try:
        return os.pidfd_open(pid)
    except OSError:
        return -1
