"""Membership of a ``ch-run`` in a group that one supervisor answers: the peer's side.

    the channel       each peer can send to it; a peer enlists with a message that has one end of
                      two socket pairs each, the connection and the command's, and a pidfd of the
                      peer
    the connection    the supervisor sends the peer's number, and of which kind it is; the
                      supervisor's report ends it
    the command's     the peer's command sends its listener; only the command has the other end, so
                      it ends if the command dies before

The supervisor is ``group_source``.  Both sides are processes of Sundog, and a command gets none of
these descriptors.
"""

from __future__ import annotations

import errno
import os
import sys

from sundog.base.cpython import (
    AF_UNIX,
    MSG_NOSIGNAL,
    SCM_RIGHTS,
    SOCK_SEQPACKET,
    SOL_SOCKET,
    socket,
    socketpair,
)
from sundog.base.kernel.descriptors import INT_SIZE, send_unnotified

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.record.identity import Identity

ENLISTING = b"+"
COMMAND_LIMIT = 1 << 18  # bytes of the message about a command; its groups may be many
_REPORT_LIMIT = 1 << 16  # bytes
NUMBER_SIZE = 4
STRICT, HAS_PAGE = 1, 2  # bits of the byte that follows a peer's number

# Kinds of report lines.
VERBOSE, WARNING, ERROR, HINT, NOTE = "vwehn"


class Membership:
    """The connection of one peer.

    connection      a socket
    command         the socket of the command
    number          tells the peers of the group apart; not 0
    strict          whether the group's supervisor obeys all permissions
    has_page        whether it writes the page of a fast path
    """

    __slots__ = ("command", "connection", "has_page", "number", "strict")

    def __init__(
        self, connection: socket, command: socket, number: int, *, strict: bool, has_page: bool
    ) -> None:
        self.connection = connection
        self.command = command
        self.number = number
        self.strict = strict
        self.has_page = has_page

    def pass_on(self, listener: int, start: bytes) -> None:
        """Send the ``listener`` of a command, and a message of ``pack_start``.  Raises OSError.

        The supervisor gives the command its identity before it answers the first call.
        """
        send_unnotified(self.command.fileno(), start, (listener,))

    def await_report(self) -> tuple[int, list[tuple[str, str]]] | None:
        """Wait until no process of the command is left, and the supervisor needs this one no more.

        Returns an exit status, and pairs of VERBOSE, WARNING, ERROR, HINT or NOTE and a text.
        Returns None if the supervisor died.
        """
        try:
            data = self.connection.recv(_REPORT_LIMIT)
        except ConnectionResetError:
            return None
        if not data:
            return None
        lines = data[1:].decode(errors="replace").splitlines()
        return data[0], [(line[:1], line[1:]) for line in lines]


class GroupChannel:
    """The way from one ``ch-run`` to the supervisor of its group.

    proc        a descriptor of the host's /proc
    channel     the socket to enlist through
    requests    the supervisor's end of it, in the first ``ch-run`` of a group, or None
    member      the membership of this process, or None as long as it has none
    """

    __slots__ = ("channel", "member", "proc", "requests")

    def __init__(self, proc: int, channel: int = -1) -> None:
        """Use the descriptor ``channel``, or make a channel if it is -1.  Raises OSError."""
        self.proc = proc
        self.member: Membership | None = None
        self.requests: socket | None = None
        if channel < 0:
            self.requests, self.channel = socketpair(AF_UNIX, SOCK_SEQPACKET)
        else:
            self.channel = socket(AF_UNIX, SOCK_SEQPACKET, 0, channel)

    def enlist(self) -> bool:
        """Make this process a member; return False if the supervisor has ended.

        Waits until the supervisor answers.  Raises OSError.
        """
        connection, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        command, its = socketpair(AF_UNIX, SOCK_SEQPACKET)
        process = os.pidfd_open(os.getpid())
        try:
            _send_patiently(self.channel, ENLISTING, (theirs.fileno(), its.fileno(), process))
            theirs.close()
            answer = connection.recv(NUMBER_SIZE + 1)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise
            answer = b""
        finally:
            os.close(process)
            theirs.close()
            its.close()
            self.channel.close()
        if not answer:
            connection.close()
            command.close()
            return False
        number = int.from_bytes(answer[:NUMBER_SIZE], sys.byteorder)
        kind = answer[NUMBER_SIZE]
        strict, has_page = bool(kind & STRICT), bool(kind & HAS_PAGE)
        self.member = Membership(connection, command, number, strict=strict, has_page=has_page)
        return True


def _send_patiently(channel: socket, message: bytes, descriptors: Sequence[int]) -> None:
    """Send as ``send_message`` does, but wait while the queue is full.  Raises OSError."""
    packed = b"".join([fd.to_bytes(INT_SIZE, sys.byteorder) for fd in descriptors])
    channel.sendmsg([message], [(SOL_SOCKET, SCM_RIGHTS, packed)], MSG_NOSIGNAL)


def pack_start(process: int, who: Identity | None) -> bytes:
    """Return the message about the command: its process ID and its identity (None is root)."""
    numbers = [process] if who is None else [process, who.uid, who.gid, *who.groups]
    return b"".join([number.to_bytes(NUMBER_SIZE, sys.byteorder) for number in numbers])


def pack_report(status: int, lines: list[tuple[str, str]]) -> bytes:
    """Return the message for ``await_report``; what is too long is cut off."""
    told = "\n".join([kind + text.replace("\n", " ") for kind, text in lines])
    return (bytes([status]) + told.encode(errors="replace"))[:_REPORT_LIMIT]
