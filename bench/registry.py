"""Pulls from a registry on this machine, for every tool that speaks with one without TLS."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING

from scripts.place import WorkshopError

from bench.measure import Cost
from bench.report import Row, Table, ratio
from bench.tools import Buildah, Sundog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bench.measure import Bench
    from bench.report import Results

NEEDS = ("docker-registry",)
ROUNDS = 3
_SECONDS = 30
_TYPE = "application/vnd.oci.image."


def pulls(bench: Bench, images: Mapping[str, Path], results: Results) -> None:
    """Pull one-layer images of ``images``, tarballs by name, into fresh storage and again."""
    costs: dict[tuple[str, str], list[Cost]] = {}
    layers = {name: _compressed(bench, name, tarball) for name, tarball in images.items()}
    commands: list[str] = []
    with _registry(bench) as host:
        for name, layer in layers.items():
            _put(host, name, layer)
        # What the registry wrote is not to be written at the expense of whoever syncs first.
        os.sync()
        for turn in range(ROUNDS):
            for name, layer in layers.items():
                for what, argv, environment in _ways(bench, f"{host}/{name}:latest", turn):
                    runs = costs.setdefault((name, what), [])
                    runs.extend(bench.time([argv], env=environment))
                    if len(commands) < len(_ways(bench, "", 0)):
                        commands.append(" ".join(argv))
                target = bench.directory(f"pull-bsdtar-{name}-{turn}")
                unpack = ["bsdtar", "--exclude", "*dev/*", "-C", str(target), "-xf", str(layer)]
                costs.setdefault((name, "bsdtar -xf"), []).extend(bench.time([unpack]))
    median = {key: Cost.median(runs) for key, runs in costs.items()}
    rows = []
    for (name, what), cost in median.items():
        own = median[name, "sundog again" if what.endswith("again") else "sundog"]
        numbers = (f"{cost.wall:.2f}", f"{cost.cpu:.2f}", f"{cost.resident / 1e6:.0f}")
        rows.append(Row((name, what, *numbers, ratio(own.wall, cost.wall))))
    sizes = ", ".join(f"{name} {path.stat().st_size / 1e6:.0f} MB" for name, path in layers.items())
    results.tables.append(
        Table(
            "Pull",
            f"From docker-registry on this machine, one layer of gzip each ({sizes}). Medians of"
            f" {ROUNDS} rounds, each in fresh storage; CPU time of all processes of the tool.",
            ("image", "by", "wall, s", "CPU, s", "peak, MB", "ratio: wall"),
            rows,
            commands=commands,
        )
    )
    for name in layers:
        own, plain = median[name, "sundog"], median[name, "bsdtar -xf"]
        peer, again = median[name, "buildah"], median[name, "sundog again"]
        results.target(f"pull of {name}: CPU ÷ bsdtar's", own.cpu / plain.cpu, 1.3)
        results.target(f"pull of {name}: wall ÷ buildah's", own.wall / peer.wall, 0.4)
        results.target(f"pull of {name} again, s", again.wall, 0.25)


def _ways(bench: Bench, image: str, turn: int) -> list[tuple[str, list[str], dict[str, str]]]:
    """Return what is measured: who pulls, by which command, in which environment."""
    place = bench.place / f"storage-pull-{turn}"
    sundog = Sundog("sundog", bench, place / "sundog")
    buildah = Buildah("buildah", bench, place / "buildah")
    bench.directory(place.name)
    pull = [str(bench.programs / "ch-image"), "pull", image]
    peer = [*buildah.pulling(image)]
    return [
        ("sundog", pull, sundog.environment),
        ("sundog again", pull, sundog.environment),
        ("buildah", peer, buildah.environment),
        ("buildah again", peer, buildah.environment),
    ]


def _compressed(bench: Bench, name: str, tarball: Path) -> Path:
    """Return the tarball as gzip, where the benchmark's user can read it."""
    layer = bench.place / f"{name}.tar.gz"
    if tarball.name.endswith(".gz"):
        shutil.copy(tarball, layer)
    else:
        with tarball.open("rb") as raw, gzip.GzipFile(layer, "wb", 6, mtime=0) as out:
            shutil.copyfileobj(raw, out)
    return layer


@contextlib.contextmanager
def _registry(bench: Bench) -> Iterator[str]:
    """Run docker-registry as the benchmark's user; give HOST:PORT."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    storage = {"filesystem": {"rootdirectory": str(bench.directory("registry"))}}
    settings = {"version": "0.1", "log": {"level": "error"}, "storage": storage}
    path = bench.place / "registry.yml"
    path.write_text(json.dumps({**settings, "http": {"addr": host}}))  # which is YAML as well
    server = subprocess.Popen(
        ["/usr/bin/docker-registry", "serve", path],
        user=bench.user.uid,
        group=bench.user.gid,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + _SECONDS
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://{host}/v2/").close()
                break
            if server.poll() is not None or time.monotonic() > deadline:
                raise WorkshopError("docker-registry does not come up")
            time.sleep(0.1)
        yield host
    finally:
        server.kill()
        server.wait()


def _put(host: str, name: str, layer: Path) -> None:
    """Push an image of one layer."""
    diff_id = hashlib.sha256()
    with gzip.open(layer) as raw:
        while chunk := raw.read(1 << 20):
            diff_id.update(chunk)
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{diff_id.hexdigest()}"]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs})
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_TYPE}manifest.v1+json",
        "config": _put_blob(host, name, config.encode(), "config.v1+json"),
        "layers": [_put_blob(host, name, layer.read_bytes(), "layer.v1.tar+gzip")],
    }
    path = f"/v2/{name}/manifests/latest"
    _send(host, "PUT", path, json.dumps(manifest).encode(), f"{_TYPE}manifest.v1+json")


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
