"""Messages of runtimes: a connection brings one container process state, and a listener.

The end of a message is the end of its JSON text: runc keeps the connection open.

A peer is not trusted to follow the protocol.  Its message has limits: bytes, time, and the number
of pieces that look like the last one.  Descriptors that nobody asked for are closed.
"""

from __future__ import annotations

import json
import os
import time
from socket import CMSG_SPACE, MSG_DONTWAIT

from sundog.base.kernel.descriptors import INT_SIZE, descriptors_of
from sundog.errors import RuntimeConfigError
from sundog.front.agent.entrance import is_listener
from sundog.front.agent.process_state import LISTENER, ProcessState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket

MESSAGE_LIMIT = 1 << 20  # bytes; a state has all annotations of the container
DESCRIPTORS_LIMIT = 16
ENDS_LIMIT = 64  # "}" at the end of a piece, before the text is complete
PATIENCE = 10.0  # seconds for a whole message
_READ_SIZE = 1 << 16


class Reception:
    """A connection that brings a message; ``deadline`` is on the monotonic clock."""

    def __init__(self, connection: socket) -> None:
        self.connection = connection
        self.deadline = time.monotonic() + PATIENCE
        self._text = bytearray()
        self._ends = 0
        self._descriptors: list[int] = []

    def read(self) -> bool:
        """Read what has come; return whether the message is complete, or can't become so.

        Raises RuntimeConfigError if the message is too long, and OSError.
        """
        try:
            space = CMSG_SPACE(DESCRIPTORS_LIMIT * INT_SIZE)
            data, control, _, _ = self.connection.recvmsg(_READ_SIZE, space, MSG_DONTWAIT)
        except BlockingIOError:
            return False
        self._descriptors += descriptors_of(control)
        self._text += data
        if len(self._text) > MESSAGE_LIMIT or len(self._descriptors) > DESCRIPTORS_LIMIT:
            raise RuntimeConfigError("a runtime's message is too long")
        return not data or self._is_complete()

    def _is_complete(self) -> bool:
        """Tell whether the text is one of JSON.  Raises RuntimeConfigError."""
        if not self._text.rstrip().endswith(b"}"):
            return False
        self._ends += 1
        if self._ends > ENDS_LIMIT:
            raise RuntimeConfigError("a runtime's message comes in too many pieces")
        try:
            json.loads(self._text)
        except (ValueError, RecursionError):
            return False
        return True

    def result(self) -> tuple[ProcessState, int] | None:
        """Return the state and the listener; None if the peer sent nothing.

        The caller owns the listener.  Raises RuntimeConfigError.
        """
        if not self._text and not self._descriptors:
            return None  # a runtime that gave up
        state = ProcessState.parse(bytes(self._text))
        if state.listener >= len(self._descriptors):
            raise RuntimeConfigError(f"a runtime's message has no descriptor for {LISTENER}")
        if not is_listener(self._descriptors[state.listener]):
            raise RuntimeConfigError(f"{LISTENER} is no listener of seccomp(2)")
        return state, self._descriptors.pop(state.listener)

    def close(self) -> None:
        """Close the connection, and all descriptors that nobody has taken."""
        self.connection.close()
        for fd in self._descriptors:
            os.close(fd)
        self._descriptors.clear()
