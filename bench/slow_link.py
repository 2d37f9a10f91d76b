"""Relay connections to a server on this machine as a slow link would, and count what goes by.

Standard library only. Arguments: the server's port, the link's rate in bits a second, and the
seconds of a round trip. The first line printed is the relay's port. For each line of stdin, it
prints a JSON list: requests, bytes received, CPU seconds of this process, all since its start. It
ends with stdin.

All connections share the rate. A request pays a round trip, and so does a connection. An answer
costs the rate alone.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 1 << 18
_QUEUE = 0.002  # seconds of the rate that wait in the link while this process does not run
_REQUEST = b" HTTP/1.1\r\n"


class Link:
    """A link of ``rate`` bits a second, whose round trips take ``delay`` seconds."""

    def __init__(self, rate: float, delay: float) -> None:
        self._rate = rate
        self._delay = delay
        self._lock = threading.Lock()
        self._is_free_at = 0.0
        self.requests = 0
        self.received = 0

    def connect(self, client: socket.socket, port: int) -> None:
        """Serve a connection to its end."""
        time.sleep(self._delay)
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            asking = threading.Thread(target=self._pass_requests, args=(client, server))
            asking.start()
            self._pass_answers(server, client)
            asking.join()

    def _pass_requests(self, client: socket.socket, server: socket.socket) -> None:
        with _hung_up(server, client):
            for piece in _pieces(client):
                time.sleep(self._delay)
                with self._lock:
                    self.requests += bytes(piece).count(_REQUEST)
                server.sendall(piece)

    def _pass_answers(self, server: socket.socket, client: socket.socket) -> None:
        with _hung_up(server, client):
            for piece in _pieces(server):
                self._wait(len(piece))
                client.sendall(piece)
                with self._lock:
                    self.received += len(piece)

    def _wait(self, size: int) -> None:
        """Wait until the link has passed ``size`` bytes more."""
        now = time.monotonic()
        with self._lock:
            start = max(self._is_free_at, now - _QUEUE)
            self._is_free_at = start + size * 8 / self._rate
            end = self._is_free_at
        if end > now:
            time.sleep(end - now)


def _pieces(source: socket.socket) -> Iterator[memoryview]:
    """Give what ``source`` sends."""
    buffer = memoryview(bytearray(_PIECE))
    while size := source.recv_into(buffer):
        yield buffer[:size]


@contextlib.contextmanager
def _hung_up(*ends: socket.socket) -> Iterator[None]:
    """End both connections when one has ended, however that was."""
    try:
        with contextlib.suppress(OSError):
            yield
    finally:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def main() -> None:
    """Serve until standard input ends."""
    port = int(sys.argv[1])
    link = Link(float(sys.argv[2]), float(sys.argv[3]))
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listening.getsockname()[1], flush=True)

    def serve() -> None:
        while True:
            client, _ = listening.accept()
            threading.Thread(target=link.connect, args=(client, port), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    for _ in sys.stdin:
        print(json.dumps([link.requests, link.received, time.process_time()]), flush=True)


if __name__ == "__main__":
    main()
