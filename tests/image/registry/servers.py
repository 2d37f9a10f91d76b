"""A registry in this process, which keeps what clients push, and fails on request."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Refuse(Exception):
    """Answer a request with this status and these headers, and do not carry it out."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(status)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class CutOff(Exception):
    """Close the connection without an answer."""


class CutAfter(Exception):
    """Close the connection after so many bytes of the answer's body."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class InProcessRegistry:
    """A registry that keeps all in memory and checks only digests.

    It calls ``before`` with each request, ``METHOD PATH``, before it carries the request out, and
    ``after`` before it answers.  Both may raise Refuse or CutOff, and ``after`` CutAfter.
    """

    def __init__(self) -> None:
        self.blobs: dict[tuple[str, str], bytes] = {}  # (repository, digest)
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}  # (repository, tag or digest)
        self.uploads: dict[str, bytearray] = {}
        self.requests: list[str] = []
        self.received = 0  # bytes of blobs
        self.connections: set[int] = set()  # the ports of clients
        self.before: Callable[[str], None] = lambda _: None
        self.after: Callable[[str], None] = lambda _: None
        self.token = ""  # the token that clients have to send
        # Answers a request for a part of a blob: the blob, the first byte, and one past the last.
        self.part: Callable[[bytes, int, int], _Answer] | None = None
        self.host = ""
        self.lists_referrers = False  # distribution-spec v1.1, "Listing Referrers"
        self.tells_digests = False  # Docker-Content-Digest, which registries may leave out

    @contextmanager
    def serve(self) -> Iterator[InProcessRegistry]:
        """Answer requests while the context lasts."""
        registry = self

        class Handler(_Handler):
            server_registry = registry

        server = _Server(("127.0.0.1", 0), Handler)
        self.host = f"localhost:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def count(self, pattern: str) -> int:
        """Return how many requests matched ``pattern``, a regular expression."""
        return sum(re.fullmatch(pattern, request) is not None for request in self.requests)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore the error: a killed client just closes its connection."""


_Answer = tuple[int, dict[str, str], bytes]


def part_of(content: bytes, start: int, end: int) -> _Answer:
    """Return the answer that has a part of a blob."""
    headers = {"Content-Range": f"bytes {start}-{end - 1}/{len(content)}"}
    return 206, headers, content[start:end]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_registry: InProcessRegistry

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _serve(self) -> None:
        registry = self.server_registry
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = f"{self.command} {self.path}"
        registry.requests.append(request)
        registry.connections.add(self.client_address[1])
        end = None
        try:
            self._authenticate()
            registry.before(request)
            status, headers, content = self._answer(body)
            try:
                registry.after(request)
            except CutAfter as cut:
                end = cut.size
        except Refuse as refusal:
            status, headers, content = refusal.status, refusal.headers, b""
        except CutOff:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204 and not (self.command == "HEAD" and "Content-Length" in headers):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:end])
        if end is not None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _authenticate(self) -> None:
        token = self.server_registry.token
        if not token or self.path.startswith("/token"):
            return
        if self.headers.get("Authorization") != f"Bearer {token}":
            realm = f"http://{self.server_registry.host}/token"
            raise Refuse(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s"')

    def _answer(self, body: bytes) -> _Answer:
        registry = self.server_registry
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path == "/v2/":
            return 200, {}, b"{}"
        if url.path == "/token":
            return 200, {}, json.dumps({"token": registry.token, "expires_in": 300}).encode()
        match = re.fullmatch(r"/v2/(.+)/(blobs/uploads|blobs|manifests|referrers)/(.*)", url.path)
        assert match, self.path
        repository, kind, name = match.groups()
        if kind == "blobs/uploads":
            return self._upload(repository, name, query, body)
        if kind == "blobs":
            return self._blob(repository, name)
        if kind == "referrers":
            return self._referrers(repository, name)
        return self._manifest(repository, name, body)

    def _upload(self, repository: str, name: str, query: dict[str, str], body: bytes) -> _Answer:
        registry = self.server_registry
        if self.command == "POST":
            source = (query.get("from", ""), query.get("mount", ""))
            if source in registry.blobs:
                registry.blobs[repository, source[1]] = registry.blobs[source]
                return 201, {"Location": f"/v2/{repository}/blobs/{source[1]}"}, b""
            name = f"{len(registry.uploads)}"
            registry.uploads[name] = bytearray()
        upload = registry.uploads.get(name)
        if upload is None:
            return 404, {}, b""
        headers = {"Location": f"/v2/{repository}/blobs/uploads/{name}?state={len(upload)}"}
        if self.command == "PATCH":
            start = int(self.headers["Content-Range"].partition("-")[0])
            if start != len(upload):
                return 416, headers, b""
            registry.received += len(body)
            upload += body
        elif self.command == "PUT":
            registry.received += len(body)
            content = bytes(upload + body)
            del registry.uploads[name]
            if f"sha256:{hashlib.sha256(content).hexdigest()}" != query["digest"]:
                return 400, {}, b'{"errors": [{"code": "DIGEST_INVALID", "message": "wrong"}]}'
            registry.blobs[repository, query["digest"]] = content
            return 201, {"Location": f"/v2/{repository}/blobs/{query['digest']}"}, b""
        headers["Range"] = f"0-{max(0, len(upload) - 1)}"
        return {"POST": 202, "PATCH": 202, "GET": 204, "DELETE": 204}[self.command], headers, b""

    def _blob(self, repository: str, digest: str) -> _Answer:
        content = self.server_registry.blobs.get((repository, digest))
        if content is None:
            return 404, {}, b""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted and self.server_registry.part:
            return self.server_registry.part(content, int(wanted[1]), int(wanted[2]) + 1)
        return 200, {"Content-Length": str(len(content))}, content

    def _manifest(self, repository: str, name: str, body: bytes) -> _Answer:
        manifests = self.server_registry.manifests
        if self.command == "PUT":
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            manifests[repository, name] = manifests[repository, digest] = (
                self.headers["Content-Type"],
                body,
            )
            subject = json.loads(body).get("subject")
            is_listed = subject and self.server_registry.lists_referrers
            listed = {"OCI-Subject": subject["digest"]} if is_listed else {}
            return 201, {"Docker-Content-Digest": digest, **listed}, b""
        if (repository, name) not in manifests:
            return 404, {}, b""
        media_type, content = manifests[repository, name]
        headers = {"Content-Type": media_type, "Content-Length": str(len(content))}
        if self.server_registry.tells_digests:
            headers["Docker-Content-Digest"] = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return 200, headers, content

    def _referrers(self, repository: str, subject: str) -> _Answer:
        registry = self.server_registry
        if not registry.lists_referrers:
            return 404, {}, b"404 page not found"
        found = []
        for (place, name), (media_type, content) in [*registry.manifests.items()]:
            value = json.loads(content)
            if (place, (value.get("subject") or {}).get("digest")) == (repository, subject):
                entry = {"mediaType": media_type, "digest": name, "size": len(content)}
                found.append({**entry, "artifactType": value["artifactType"]})
        index_type = "application/vnd.oci.image.index.v1+json"
        index = {"schemaVersion": 2, "mediaType": index_type, "manifests": found}
        return 200, {"Content-Type": index_type}, json.dumps(index).encode()
