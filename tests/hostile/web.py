"""Servers with any names on one port, which send exactly the bytes that a case wants.

A client connects to ``registry`` and ``other``, which are ports of this machine, or through
``proxy``.  Through the proxy, a server has any name that the case likes, with and without TLS.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import re
import socket
import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import parse_qs, urlsplit

from tests.image.pull.images import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_FLOOD = 64 << 20  # bytes; an endless answer ends after them, so that a failing test ends
_GREETING = b"\x16"  # the first byte of TLS
_ORIGIN = re.compile(r"http://([^/]+)(/.*)")


@dataclass(frozen=True)
class Asked:
    """A request to ``server`` (HOST:PORT), with the scheme."""

    server: str
    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes = b""

    @property
    def text(self) -> str:
        """The whole request, which must have no secret that is for other servers."""
        fields = "".join(f"{name}: {value}\n" for name, value in self.headers.items())
        return f"{self.method} {self.path}\n{fields}\n{self.body.decode('latin-1')}"

    @property
    def is_manifest(self) -> bool:
        return "/manifests/" in self.path

    @property
    def is_blob(self) -> bool:
        return "/blobs/sha256" in self.path

    @property
    def is_token(self) -> bool:
        return self.path.startswith("/token")


@dataclass(frozen=True)
class Reply:
    """An answer; ``more`` follows the body, and the announced length does not count it."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    more: Iterable[bytes] = ()
    length: int | None = None  # the announced length, if it differs from the body's; -1 for none

    def but(self, status: int | None = None, body: bytes | None = None, **headers: str) -> Reply:
        """Return a copy with other headers, whose names have ``_`` for ``-``."""
        new = {name.replace("_", "-"): value for name, value in headers.items()}
        kept = [pair for pair in self.headers if pair[0] not in new]
        return Reply(
            self.status if status is None else status,
            (*kept, *new.items()),
            self.body if body is None else body,
        )

    def parts(self, method: str) -> Iterator[bytes]:
        length = len(self.body) if self.length is None else self.length
        head = [f"HTTP/1.1 {self.status} So"]
        head += [f"{name}: {value}" for name, value in self.headers]
        names = {name.lower() for name, _ in self.headers}
        if length >= 0 and not names & {"content-length", "transfer-encoding"}:
            head.append(f"Content-Length: {length}")
        yield "\r\n".join([*head, "", ""]).encode("latin-1", "surrogateescape")
        if method != "HEAD":
            yield self.body
            yield from self.more


# Bytes are sent unchanged, and the connection is closed; None sends nothing at all.
Answer = Reply | bytes | None


@dataclass
class World:
    """The contents and the behaviour of the servers, for one case after the other."""

    shelf: Shelf = field(default_factory=Shelf)
    fault: Callable[[World, Asked, Reply], Answer] = lambda _world, _asked, right: right
    asked: list[Asked] = field(default_factory=list)
    sent: int = 0
    pushed: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    registry: str = ""
    other: str = ""
    proxy: str = ""
    authority: str = ""

    def reset(self) -> None:
        self.shelf = Shelf()
        self.fault = lambda _world, _asked, right: right
        self.asked, self.sent, self.pushed, self.uploads = [], 0, {}, {}

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        return self.fault(self, asked, self._right(asked))

    def _right(self, asked: Asked) -> Reply:
        url = urlsplit(asked.path)
        if asked.path == "/v2/":
            return Reply(body=b"{}")
        match = re.fullmatch(r"/v2/(.+)/(blobs/uploads|blobs|manifests)/([^/?]*)", url.path)
        if match is None:
            return Reply(404)
        repository, kind, name = match.groups()
        if kind == "blobs/uploads":
            return self._upload(asked, repository, name)
        if asked.method == "PUT":
            digest = f"sha256:{hashlib.sha256(asked.body).hexdigest()}"
            self.pushed[name] = asked.body
            return Reply(201, (("Docker-Content-Digest", digest),))
        if kind == "manifests" and ":" not in name:
            name = self.shelf.tags.get(f"{repository}:{name}", "")
        content = self.shelf.blobs.get(name, self.pushed.get(name))
        if content is None:
            return Reply(404)
        if kind == "manifests":
            fields = (
                ("Content-Type", self.shelf.types.get(name, "application/octet-stream")),
                ("Docker-Content-Digest", name),
            )
            return Reply(200, fields, content)
        return Reply(200, (("Content-Type", "application/octet-stream"),), content)

    def _upload(self, asked: Asked, repository: str, name: str) -> Reply:
        if asked.method == "POST":
            name = str(len(self.uploads))
        received = self.uploads.setdefault(name, b"")
        if asked.method in ("PATCH", "PUT"):
            self.uploads[name] = received + asked.body
        if asked.method == "PUT":
            digest = parse_qs(urlsplit(asked.path).query)["digest"][0]
            self.pushed[digest] = self.uploads[name]
            return Reply(201, (("Location", f"/v2/{repository}/blobs/{digest}"),))
        status = {"POST": 202, "PATCH": 202, "GET": 204, "DELETE": 204}[asked.method]
        end = max(0, len(self.uploads[name]) - 1)
        location = f"/v2/{repository}/blobs/uploads/{name}"
        return Reply(status, (("Location", location), ("Range", f"0-{end}")), length=-1).but()


@contextlib.contextmanager
def serving(world: World, certificate: tuple[str, str]) -> Iterator[World]:
    """Run the servers while the context lasts."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    with contextlib.ExitStack() as stack:
        for name in ("registry", "other", "proxy"):
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
            setattr(world, name, f"127.0.0.1:{listening.getsockname()[1]}")
            accept = threading.Thread(
                target=_accept, args=(world, listening, name, tls), daemon=True
            )
            accept.start()
            stack.callback(accept.join)
            stack.callback(listening.shutdown, socket.SHUT_RDWR)
        yield world


def _accept(world: World, listening: socket.socket, name: str, tls: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError):  # the end
        while True:
            connection, _ = listening.accept()
            threading.Thread(
                target=_converse, args=(world, connection, name, tls), daemon=True
            ).start()


def _converse(world: World, connection: socket.socket, name: str, tls: ssl.SSLContext) -> None:
    server = "" if name == "proxy" else f"http://{getattr(world, name)}"
    with contextlib.suppress(OSError, ValueError), contextlib.ExitStack() as stack:
        stack.callback(connection.close)
        stream = connection.makefile("rb")
        if connection.recv(1, socket.MSG_PEEK) == _GREETING:
            connection.sendall(b"HTTP/1.1 400 No TLS here\r\n\r\n")
            return
        while (asked := _read(stream, server)) is not None:
            if asked.method == "CONNECT":
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                server = f"https://{asked.path.removesuffix(':443')}"
                connection = tls.wrap_socket(connection, server_side=True)
                stack.callback(connection.close)
                stream = connection.makefile("rb")
            elif not _send(world, connection, asked, world.answer(asked)):
                return


def _read(stream: BinaryIO, server: str) -> Asked | None:
    line = stream.readline().decode("latin-1").split()
    if len(line) < 3:
        return None
    method, path = line[0], line[1]
    if match := _ORIGIN.fullmatch(path):
        server, path = f"http://{match[1]}", match[2]
    headers = {}
    while (field_line := stream.readline().decode("latin-1").strip()) != "":
        key, _, value = field_line.partition(":")
        headers[key.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", "0")))
    return Asked(server, method, path, headers, body)


def _send(world: World, connection: socket.socket, asked: Asked, answer: Answer) -> bool:
    """Send an answer; tell whether the connection can take another request."""
    if answer is None:
        connection.recv(1)  # until the client closes
        return False
    parts = [answer] if isinstance(answer, bytes) else answer.parts(asked.method)
    for part in parts:
        connection.sendall(part)
        world.sent += len(part)
        if world.sent > _FLOOD:
            return False
    if isinstance(answer, bytes):
        return False
    return answer.length is None and not answer.more


def endlessly(part: bytes) -> Iterator[bytes]:
    return itertools.repeat(part * (65536 // len(part) + 1))
