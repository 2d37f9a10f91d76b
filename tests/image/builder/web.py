"""A web server that serves what a test tells it to, and can fail in the ways of real servers."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Web:
    """The server: ``files`` has bodies by path; each gets ``headers``; ``log`` has the requests.

    It serves a path below ``directory`` from there, and ``guarded`` paths only with the right
    header.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.statuses: dict[str, list[int]] = {}  # answers to give first, one after the other
        self.cuts: dict[str, int] = {}  # how many times the body ends early
        self.log: list[tuple[str, dict[str, str]]] = []
        self.guarded: dict[str, str] = {}  # by the beginning of the path
        self.directory: Path | None = None
        self.url = ""

    def body(self, path: str) -> bytes | None:
        if path in self.files or self.directory is None:
            return self.files.get(path)
        file = self.directory / path.partition("?")[0].lstrip("/")
        return file.read_bytes() if file.is_file() else None


@contextlib.contextmanager
def serving() -> Iterator[Web]:
    """Run a server on this machine."""
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.log.append(
                (self.path, {name.lower(): value for name, value in self.headers.items()})
            )
            body, headers = web.body(self.path), web.headers.get(self.path, {})
            status = 200 if body is not None else 404
            for beginning, wanted in web.guarded.items():
                if self.path.startswith(beginning) and self.headers["Authorization"] != wanted:
                    status = 401
            if web.statuses.get(self.path):
                status = web.statuses[self.path].pop(0)
            etag = headers.get("ETag")
            if status == 200 and etag and self.headers.get("If-None-Match") == etag:
                status = 304
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            sent = body if status == 200 and body is not None else b""
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            if sent and web.cuts.get(self.path, 0):
                web.cuts[self.path] -= 1
                sent = sent[: len(sent) // 2]
                self.close_connection = True
            self.wfile.write(sent)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
