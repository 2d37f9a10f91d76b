"""The first process of a node: it mounts the shared file system, and reaches the registry.

    node.py NAME PORT SOCKET PASSTHROUGH DIRECTORY MOUNTPOINT [ERRNO]

It runs in user, mount, network, UTS and PID namespaces of its own, with all capabilities in them.
Connections to PORT on the node's loopback go to SOCKET.  It says "ready", and ends with its input.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def forward(listener: socket.socket, connect: Callable[[], socket.socket]) -> None:
    """Connect each connection to ``listener`` with a new one of ``connect``, in threads."""

    def accept() -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                near, _ = listener.accept()
                Thread(target=_join, args=(near, connect()), daemon=True).start()

    Thread(target=accept, daemon=True).start()


def _join(near: socket.socket, far: socket.socket) -> None:
    with near, far:
        back = Thread(target=_copy, args=(far, near), daemon=True)
        back.start()
        _copy(near, far)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def connected(path: str) -> socket.socket:
    """Return a connection to the Unix socket ``path``."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


def main() -> None:
    name, port, path, *server = sys.argv[1:]
    socket.sethostname(name)
    subprocess.run(["/usr/sbin/ip", "link", "set", "lo", "up"], check=True)
    forward(socket.create_server(("127.0.0.1", int(port))), lambda: connected(path))
    with subprocess.Popen(server, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"mounted\n"
        print("ready", flush=True)
        sys.stdin.read()
        process.kill()


if __name__ == "__main__":
    main()
