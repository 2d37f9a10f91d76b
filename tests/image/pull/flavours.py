"""Debian's docker-registry on loopback, run by an ordinary user: four flavours, one storage.

http    neither TLS nor logins
basic   TLS, user alice with password secret
token   a token server: everybody may pull, alice may push
tls     TLS, no logins
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.image.pull.images import Shelf

USER, PASSWORD = "alice", "secret"
_SECONDS = 30


@dataclass(frozen=True)
class Flavours:
    """HOST:PORT of each flavour; ``authority`` is the certificate of the flavours with TLS."""

    http: str
    basic: str
    token: str
    tls: str
    authority: Path
    place: Path

    def put(self, shelf: Shelf) -> None:
        """Upload all content of a shelf through the flavour without logins."""
        for tag, digest in shelf.tags.items():
            repository, _, name = tag.rpartition(":")
            self._put_document(shelf, repository, digest, name)

    def _put_document(self, shelf: Shelf, repository: str, digest: str, name: str) -> None:
        content = shelf.blobs[digest]
        value: dict[str, Any] = json.loads(content)
        for entry in value.get("manifests", ()):
            self._put_document(shelf, repository, entry["digest"], entry["digest"])
        for entry in (value["config"], *value["layers"]) if "config" in value else ():
            self._put_blob(repository, entry["digest"], shelf.blobs[entry["digest"]])
        self._send("PUT", f"/v2/{repository}/manifests/{name}", content, shelf.types[digest])

    def _put_blob(self, repository: str, digest: str, content: bytes) -> None:
        location = self._send("POST", f"/v2/{repository}/blobs/uploads/", b"")
        query = "&" if "?" in location else "?"
        self._send("PUT", f"{location}{query}digest={digest}", content)

    def _send(
        self, method: str, path: str, body: bytes, kind: str = "application/octet-stream"
    ) -> str:
        url = urllib.parse.urljoin(f"http://{self.http}", path)
        request = urllib.request.Request(
            url, data=body, method=method, headers={"Content-Type": kind}
        )
        with urllib.request.urlopen(request) as answer:
            return str(answer.headers.get("Location", ""))


def certificate(place: Path) -> tuple[Path, Path]:
    """Make a self-signed certificate for this machine's loopback names, and its key."""
    certificate, key = place / "tls.crt", place / "tls.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-keyout", key, "-out", certificate),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


@contextmanager
def running(place: Path, tls: tuple[Path, Path]) -> Generator[Flavours]:
    """Run all flavours while the context lasts."""
    certificate, key = tls
    hashed = subprocess.run(
        ["htpasswd", "-Bbn", USER, PASSWORD], check=True, capture_output=True
    ).stdout
    (place / "htpasswd").write_bytes(hashed)
    with ExitStack() as stack:
        realm = stack.enter_context(_token_server(tls))
        secure = {"tls": {"certificate": str(certificate), "key": str(key)}}
        basic = {"htpasswd": {"realm": "test", "path": str(place / "htpasswd")}}
        token = {
            "token": {
                "realm": realm,
                "service": "test",
                "issuer": "test-tokens",
                "rootcertbundle": str(certificate),
            }
        }
        flavours: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
            ("http", {}, {}),
            ("basic", secure, basic),
            ("token", {}, token),
            ("tls", secure, {}),
        ]
        hosts = [
            stack.enter_context(serving(place, name, settings, auth))
            for name, settings, auth in flavours
        ]
        http, with_basic, with_token, with_tls = hosts
        yield Flavours(http, with_basic, with_token, with_tls, certificate, place)


@contextmanager
def demanding(flavours_place: Path, tls: tuple[Path, Path], clients: Path) -> Generator[str]:
    """Run one more over the same storage.  It demands a client certificate from ``clients``."""
    files = {"certificate": str(tls[0]), "key": str(tls[1]), "clientcas": [str(clients)]}
    with serving(flavours_place, "demanding", {"tls": files}, {}) as host:
        yield host


@contextmanager
def serving(
    place: Path,
    name: str,
    http: dict[str, Any],
    auth: dict[str, Any],
    address: str = "127.0.0.1",
) -> Generator[str]:
    """Run docker-registry with its files in ``place``; give its HOST:PORT, of which PORT is free.

    ``address`` may have a port.
    """
    with socket() as probe:
        probe.bind((address.partition(":")[0], 0))
        host = address if ":" in address else f"{address}:{probe.getsockname()[1]}"
    settings: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(place / "storage")}},
        "http": {"addr": host, **http},
    }
    if auth:
        settings["auth"] = auth
    path = place / f"{name}.yml"
    path.write_text(json.dumps(settings))  # JSON is also YAML
    with (place / f"{name}.log").open("wb") as log:
        server = subprocess.Popen(["docker-registry", "serve", path], stdout=log, stderr=log)
    try:
        _wait(server, host, place / f"{name}.log")
        yield host
    finally:
        server.kill()
        server.wait()


def _wait(server: subprocess.Popen[bytes], host: str, log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    address, _, port = host.partition(":")
    while True:
        with socket() as connection:
            if connection.connect_ex((address, int(port))) == 0:
                return
        if server.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(log.read_text())
        time.sleep(0.05)


@contextmanager
def _token_server(tls: tuple[Path, Path]) -> Generator[str]:
    class Handler(_TokenHandler):
        files = tls

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/token"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _TokenHandler(BaseHTTPRequestHandler):
    """Tokens by the distribution project's specification: JWTs that the certificate's key signs."""

    files: tuple[Path, Path]

    def do_GET(self) -> None:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        authorization = self.headers.get("Authorization", "")
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if authorization not in ("", expected):
            self._answer(401, {})
            return
        access = []
        for scope in query.get("scope", []):
            kind, name, actions = scope.split(":")
            allowed = [one for one in actions.split(",") if authorization or one == "pull"]
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        claims = {
            "iss": "test-tokens",
            "sub": USER if authorization else "",
            "aud": query["service"][0],
            "exp": now + 300,
            "nbf": now - 10,
            "iat": now,
            "jti": os.urandom(8).hex(),
            "access": access,
        }
        self._answer(200, {"access_token": self._signed(claims), "expires_in": 300})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _signed(self, claims: dict[str, Any]) -> str:
        certificate, key = self.files
        chain = "".join(certificate.read_text().split("-----")[2].split())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [chain]}
        text = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", key],
            input=text.encode(),
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        return f"{text}.{_base64(signature)}"

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
