"""The connection between a builder and the init of a RUN's container.

The builder tells the init of the user's ^C and ^Z.  The init hears when the builder ends, whatever
ends it.  The builder hears when the init has ended all other processes, and when it ends itself.
No process between the two has a part in that: the guard may wait in the kernel.
"""

from __future__ import annotations

import fcntl
import os
import select
from contextlib import suppress

from sundog.base.cpython import AF_UNIX, MSG_DONTWAIT, MSG_NOSIGNAL, SOCK_STREAM, socket, socketpair
from sundog.base.kernel.descriptors import receive_message, send_message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_PIECE = 1 << 10


class Leash:
    """A connection; made before the fork.  Only the builder has ``ours``, the init has ``theirs``.

    Use it as a context, which closes it.
    """

    __slots__ = ("_is_done", "_namespace", "_ours", "theirs")

    def __init__(self) -> None:
        self._is_done = False
        self._namespace = -1
        self._ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
        self.theirs = theirs.detach()

    def __enter__(self) -> Leash:
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.close()
        if self._namespace >= 0:
            os.close(self._namespace)

    def give(self) -> None:
        """Leave the other end to the processes that have been forked."""
        os.close(self.theirs)

    def tell(self, number: int) -> None:
        """Tell the init of the signal ``number``; SIGTERM ends the container."""
        with suppress(OSError):  # it has ended
            self._ours.send(bytes([number]), MSG_DONTWAIT | MSG_NOSIGNAL)

    def has_ended(self, seconds: float) -> bool:
        """Wait at most so many seconds for the init's end; return whether it has ended."""
        poll = select.poll()
        poll.register(self._ours, 0)  # POLLHUP is always told
        return bool(poll.poll(seconds * 1000))

    def namespace(self) -> int:
        """Return the container's user namespace, a descriptor; -1 if no program has run in it."""
        if self._namespace < 0:
            self._ours.setblocking(False)
            with suppress(BlockingIOError, ConnectionResetError):
                _, received = receive_message(self._ours, _PIECE)
                if received:
                    self._namespace = received[0]
        return self._namespace

    def is_done(self) -> bool:
        """Tell whether the init has ended all other processes of the container."""
        if not self._is_done and self.namespace() >= 0:
            with suppress(BlockingIOError, ConnectionResetError):
                self._is_done = bool(self._ours.recv(1, MSG_DONTWAIT))
        return self._is_done


def announce(end: int) -> None:
    """Tell the builder this process's user namespace, which is the container's.  Raises OSError."""
    connection = socket(AF_UNIX, SOCK_STREAM, 0, end)
    namespace = os.open(b"/proc/self/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    send_message(connection, b"+", (namespace,))
    os.close(namespace)
    connection.detach()


def take_leave(end: int) -> None:
    """Tell the builder that this process, the init, has ended all others."""
    with suppress(OSError):  # nobody listens any more
        os.write(end, b".")


def listen(end: int) -> None:
    """Let this process, the init, get SIGIO when there is something to ``heard``."""
    fcntl.fcntl(end, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(end, fcntl.F_SETFL, fcntl.fcntl(end, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)


def heard(end: int) -> Iterable[int] | None:
    """Return the signals that the builder has told; None if it has ended."""
    try:
        return os.read(end, _PIECE) or None
    except BlockingIOError:
        return b""
    except ConnectionResetError:
        return None
