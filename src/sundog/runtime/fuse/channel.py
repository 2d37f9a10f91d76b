"""Messages between ``ch-run`` and its server of one-file images: text, and perhaps a descriptor.

``messages`` has the texts.
"""

from __future__ import annotations

import os
import sys

from sundog.base.cpython import (
    AF_UNIX,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    MSG_PEEK,
    SCM_RIGHTS,
    SOCK_SEQPACKET,
    SOL_SOCKET,
    socket,
    socketpair,
)

_MESSAGE_LIMIT = 4096
_DESCRIPTOR_BYTES = 4  # an int, in a message of SCM_RIGHTS
_CONTROL_SIZE = 64


def make_channel() -> tuple[int, int]:
    """Return the two ends of a new channel."""
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    return ours.detach(), theirs.detach()


class Channel:
    """One end of a channel: the descriptor ``fd``."""

    __slots__ = ("_socket",)

    def __init__(self, fd: int) -> None:
        self._socket = socket(AF_UNIX, SOCK_SEQPACKET, 0, fd)

    def send(self, text: bytes, descriptor: int = -1) -> None:
        """Send ``text``, and ``descriptor`` unless it is -1.  Raises OSError."""
        control = []
        if descriptor >= 0:
            packed = descriptor.to_bytes(_DESCRIPTOR_BYTES, sys.byteorder)
            control.append((SOL_SOCKET, SCM_RIGHTS, packed))
        self._socket.sendmsg([text[:_MESSAGE_LIMIT]], control, MSG_NOSIGNAL)

    def receive(self) -> tuple[bytes, int]:
        """Return the next text, and a descriptor or -1; the text is empty if the end is closed."""
        text, control, _, _ = self._socket.recvmsg(_MESSAGE_LIMIT, _CONTROL_SIZE)
        for level, kind, data in control:
            if (level, kind) == (SOL_SOCKET, SCM_RIGHTS) and len(data) == _DESCRIPTOR_BYTES:
                descriptor = int.from_bytes(data, sys.byteorder)
                os.set_inheritable(descriptor, False)
                return text, descriptor
        return text, -1

    def is_closed(self) -> bool:
        """Tell whether the other end is closed, and has left no message."""
        try:
            return not self._socket.recv(1, MSG_PEEK | MSG_DONTWAIT)
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
