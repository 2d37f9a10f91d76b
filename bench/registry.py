"""Registries on this machine for pulls and pushes, and images in them."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scripts.place import WorkshopError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.measure import Bench

NEEDS = ("docker-registry", "openssl")
_SECONDS = 30
_TYPE = "application/vnd.oci.image."


@dataclass(frozen=True)
class Shelf:
    """Images to pull: HOST:PORT without and with TLS, and each image's tar.gz, bottom first."""

    host: str
    secure: str
    layers: Mapping[str, Sequence[Path]]


@contextlib.contextmanager
def registry(
    bench: Bench, storage: Path, *, tls: bool = False, access: Path | None = None
) -> Iterator[str]:
    """Run docker-registry over ``storage`` as the benchmark's user; give HOST:PORT.

    The file ``access`` gets a line for each request.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    http = {"addr": host, **({"tls": _certificate(bench)} if tls else {})}
    settings = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(storage)}},
        "http": http,
    }
    path = bench.place / f"registry-{host.rpartition(':')[2]}.yml"
    path.write_text(json.dumps(settings))  # JSON is YAML as well
    with open(access or os.devnull, "wb") as log:
        server = subprocess.Popen(
            ["/usr/bin/docker-registry", "serve", path],
            user=bench.user.uid,
            group=bench.user.gid,
            stdout=log,
            stderr=subprocess.DEVNULL,
        )
    try:
        _wait(server, f"http{'s' if tls else ''}://{host}/v2/")
        yield host
    finally:
        server.kill()
        server.wait()


def _wait(server: subprocess.Popen[bytes], url: str) -> None:
    anybody = ssl._create_unverified_context()
    deadline = time.monotonic() + _SECONDS
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, context=anybody).close()
            return
        if server.poll() is not None or time.monotonic() > deadline:
            raise WorkshopError("docker-registry does not come up")
        time.sleep(0.1)


def _certificate(bench: Bench) -> dict[str, str]:
    """Return the files of a self-signed certificate and of its key."""
    files = {name: bench.place / f"registry.{name}" for name in ("certificate", "key")}
    if not files["key"].exists():
        bench.run([
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(files["key"]), "-out", str(files["certificate"])),
        ])  # fmt: skip
    return {name: str(path) for name, path in files.items()}


def compressed(bench: Bench, tarball: Path) -> Path:
    """Return the tarball as gzip, where the benchmark's user can read it."""
    layer = bench.place / f"{tarball.name}.gz"
    with tarball.open("rb") as raw, gzip.GzipFile(layer, "wb", 6, mtime=0) as out:
        shutil.copyfileobj(raw, out)
    return layer


def put(host: str, name: str, layers: Sequence[Path]) -> None:
    """Push an image of these layers (tar.gz, bottom first)."""
    diff_ids = []
    for layer in layers:
        diff_id = hashlib.sha256()
        with gzip.open(layer) as raw:
            while chunk := raw.read(1 << 20):
                diff_id.update(chunk)
        diff_ids.append(f"sha256:{diff_id.hexdigest()}")
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    history = [{"created_by": "make bench"}] * len(layers)
    common = {"architecture": "amd64", "os": "linux", "config": {}}
    config = json.dumps({**common, "rootfs": rootfs, "history": history})
    kind = "layer.v1.tar+gzip"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_TYPE}manifest.v1+json",
        "config": _put_blob(host, name, config.encode(), "config.v1+json"),
        "layers": [_put_blob(host, name, layer.read_bytes(), kind) for layer in layers],
    }
    path = f"/v2/{name}/manifests/latest"
    _send(host, "PUT", path, json.dumps(manifest).encode(), f"{_TYPE}manifest.v1+json")
    # Otherwise the first command that syncs would pay for what the registry wrote.
    os.sync()


def _put_blob(host: str, name: str, content: bytes, kind: str) -> dict[str, str | int]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    location = _send(host, "POST", f"/v2/{name}/blobs/uploads/", b"")
    query = "&" if "?" in location else "?"
    _send(host, "PUT", f"{location}{query}digest={digest}", content)
    return {"mediaType": f"{_TYPE}{kind}", "digest": digest, "size": len(content)}


def _send(
    host: str, method: str, path: str, body: bytes, kind: str = "application/octet-stream"
) -> str:
    url = urllib.parse.urljoin(f"http://{host}", path)
    request = urllib.request.Request(url, body, {"Content-Type": kind}, method=method)
    with urllib.request.urlopen(request) as answer:
        return str(answer.headers.get("Location", ""))
