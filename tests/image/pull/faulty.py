"""A registry in this process, over HTTP or TLS, that counts what it sends and fails on request."""

from __future__ import annotations

import base64
import re
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.image.pull.images import Shelf

Headers = dict[str, str]


@dataclass
class Answer:
    """What the registry sends.

    ``cut`` is the number of bytes of the body after which the connection breaks.  ``pause`` is the
    time in seconds between pieces of 1 KiB.  With ``unsized`` the registry sends the body in
    chunks, without its length.
    """

    status: int = 200
    headers: Headers = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    pause: float = 0.0
    unsized: bool = False


@dataclass(frozen=True)
class Asked:
    """A request of a client."""

    method: str
    path: str
    headers: Headers

    @property
    def is_blob(self) -> bool:
        return "/blobs/" in self.path


@dataclass
class FaultyRegistry:
    """A registry over HTTP or TLS.

    Each of ``faults`` gets the request and the right answer, and returns the answer to send.
    """

    shelf: Shelf
    faults: list[Callable[[Asked, Answer], Answer]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    sent: int = 0  # bytes of blobs
    port: int = 0
    scheme: str = "http"
    ranges: bool = True

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @contextmanager
    def serve(self, certificate: tuple[Path, Path] | None = None) -> Iterator[FaultyRegistry]:
        registry = self

        class Handler(_Handler):
            served = registry

        server = _Server(("127.0.0.1", self.port), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            self.scheme = "https"
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def once(
        self, fault: Callable[[Answer], Answer], *, blobs: bool = True, times: int = 1
    ) -> None:
        """Add a fault for the next ``times`` requests for blobs, or for other things."""
        left = [times]

        def limited(asked: Asked, answer: Answer) -> Answer:
            if asked.is_blob != blobs or not left[0]:
                return answer
            left[0] -= 1
            return fault(answer)

        self.faults.append(limited)

    def always(self, fault: Callable[[Answer], Answer], *, blobs: bool = True) -> None:
        self.once(fault, blobs=blobs, times=1 << 30)

    def answer(self, asked: Asked) -> Answer:
        answer = self._right_answer(asked)
        for fault in self.faults:
            answer = fault(asked, answer)
        return answer

    def _right_answer(self, asked: Asked) -> Answer:
        if asked.path == "/v2/":
            return Answer(body=b"{}")
        match = re.fullmatch(r"/v2/(.+)/(blobs|manifests)/([^/?]+)", asked.path)
        if not match:
            return Answer(404)
        repository, kind, name = match.groups()
        if kind == "manifests" and ":" not in name:
            name = self.shelf.tags.get(f"{repository}:{name}", "")
        content = self.shelf.blobs.get(name)
        if content is None:
            body = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'
            return Answer(404, {}, body)
        if kind == "manifests":
            media_type = self.shelf.types.get(name, "application/octet-stream")
            return Answer(200, {"Content-Type": media_type, "Docker-Content-Digest": name}, content)
        start = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("Range", ""))
        if start and self.ranges:
            first = int(start[1])
            if first >= len(content):
                return Answer(416)
            headers = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}
            return Answer(206, headers, content[first:])
        return Answer(200, {"Content-Type": "application/octet-stream"}, content)


def basic_login(user: str, password: str) -> Callable[[Asked, Answer], Answer]:
    """Return a fault that refuses requests without this name and password."""
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def check(asked: Asked, answer: Answer) -> Answer:
        if asked.headers.get("Authorization") == expected:
            return answer
        return Answer(401, {"WWW-Authenticate": 'Basic realm="test"'})

    return check


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore errors of connections: a killed client does not close them properly."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: FaultyRegistry

    def do_GET(self) -> None:
        # A request to a proxy has the whole URL.
        path = re.sub(r"^http://[^/]+", "", self.path)
        asked = Asked(self.command, path, dict(self.headers.items()))
        self.served.asked.append(asked)
        try:
            self._send(asked, self.served.answer(asked))
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _send(self, asked: Asked, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.unsized:
            self.send_header("Transfer-Encoding", "chunked")
        elif "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        body = answer.body if answer.cut is None else answer.body[: answer.cut]
        step = 1024 if answer.pause else max(1, len(body))
        for start in range(0, len(body), step):
            part = body[start : start + step]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part) if answer.unsized else part)
            if asked.is_blob:
                self.served.sent += len(part)
            time.sleep(answer.pause)
        if answer.cut is not None:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif answer.unsized:
            self.wfile.write(b"0\r\n\r\n")
