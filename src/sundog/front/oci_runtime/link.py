"""The messages between a command of ``ch-run-oci`` and the process in the container.

A message is a kind and a number or bytes, or an error, as ``wire`` writes them.  The descriptors
close on exec; so the end of the connection tells that the process has become the command.
"""

from __future__ import annotations

from sundog.base.cpython import (
    AF_UNIX,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    MSG_PEEK,
    SOCK_SEQPACKET,
    socket,
    socketpair,
)
from sundog.base.wire.outcomes import NO_OUTCOME, pack_exception, pack_result, unpack_outcome
from sundog.errors import SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    Message = tuple[str, int | bytes]

# Messages of the first process, in this order but for MADE, which may come later: the PID, all file
# systems are mounted, the container is ready.
MADE, MOUNTED, READY = "made", "mounted", "ready"
# Messages to it: the state for its hooks; and to start.
GO, START = "go", "start"
ENDED = "ended"

_LIMIT = 1 << 17  # bytes of a message
_PIECE = 1 << 16
_TEXT_LIMIT = 4000  # characters of an error


class Link:
    """One end of a connection."""

    __slots__ = ("_socket",)

    def __init__(self, connection: socket) -> None:
        self._socket = connection

    @classmethod
    def pair(cls) -> tuple[Link, Link]:
        """Return the two ends of a new connection."""
        ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()

    def send(self, kind: str, value: int | bytes = 0) -> None:
        """Send a message.  Raises OSError if nobody is there."""
        self._socket.send(pack_result((kind, value)), MSG_NOSIGNAL)

    def fail(self, error: BaseException) -> None:
        """Send an error, and wait until it has been taken: the sender may end then.

        If nobody is there, nobody needs it.
        """
        if isinstance(error, SundogError):
            error.message = error.message[:_TEXT_LIMIT]
        try:
            self._socket.send(pack_exception(error), MSG_NOSIGNAL)
            while self._socket.recv(_LIMIT):
                continue
        except OSError:
            return

    def receive(self) -> Message:
        """Wait for a message; return (ENDED, 0) at the end.  Raises the error in it."""
        try:
            data = self._socket.recv(_LIMIT)
        except ConnectionResetError:
            data = b""
        if not data:
            return ENDED, 0
        match unpack_outcome(data):
            case (str(kind), int(value)):
                return kind, value
            case (str(kind), bytes(value)):
                return kind, value
        raise SundogError(NO_OUTCOME)

    def let_go(self, state: bytes = b"") -> None:
        """Send the state for hooks, which may take several messages, and GO.  Raises OSError."""
        for at in range(0, len(state), _PIECE):
            self.send(GO, state[at : at + _PIECE])
        self.send(GO, b"")

    def await_go(self) -> bytes:
        """Wait for ``let_go``; return its state.  Raises SundogError if the other side ended."""
        pieces: list[bytes] = []
        while True:
            kind, value = self.receive()
            if kind != GO or not isinstance(value, bytes):
                raise SundogError("the command of ch-run-oci has ended early")
            if not value:
                return b"".join(pieces)
            pieces.append(value)

    def is_over(self) -> bool:
        """Tell whether the other side has ended."""
        try:
            return not self._socket.recv(1, MSG_DONTWAIT | MSG_PEEK)
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Close it."""
        self._socket.close()
