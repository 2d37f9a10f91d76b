"""Images that start before they are here: pull --lazy, ch-run, and what completes them."""

import gzip
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sundog.base.record.chunk_table import ChunkTable
from sundog.base.record.lazy_layer import LAZY_BLOCK
from sundog.base.record.span_table import SPAN, SPANS_HEAD, SpanTable
from sundog.image.layer.blob_tables import unpacked_frame
from sundog.image.layer.compressing import ESTARGZ, ZstdFrames
from sundog.image.layer.piecewise import piecewise_writer
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.oci.media_types import OCI_LAYER_GZIP
from tests.conftest import KILLS, RootHelper, Runner, command, runner, until
from tests.image.convert.blobs import NOISE, chunked, forged, large_tars, layers_of
from tests.image.pull.flavours import serving as serving_registry
from tests.image.registry.layer_servers import end, serving, subreaper  # noqa: F401 - a fixture
from tests.image.registry.servers import InProcessRegistry, Refuse, _Handler, part_of

pytestmark = pytest.mark.usefixtures("fuse")

MANIFEST, CONFIG = (f"application/vnd.oci.image.{kind}.v1+json" for kind in ("manifest", "config"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> InProcessRegistry:
    """Return a registry which does not serve yet.

    It has an image of zstd:chunked, and the same of gzip: ``gzip``.
    """
    place = tmp_path_factory.mktemp("lazy")
    registry = InProcessRegistry()
    tars = large_tars(place, busybox_tar)
    publish(
        registry, "latest", tars, [(one, path.read_bytes()) for one, path in chunked(place, tars)]
    )
    blobs = [gzip.compress(tar.read_bytes(), 1, mtime=0) for tar in tars]
    gzips = [(Descriptor(OCI_LAYER_GZIP, Digest.of(blob), len(blob)), blob) for blob in blobs]
    publish(registry, "gzip", tars, gzips)
    stargz = [estargz(tar.read_bytes()) for tar in tars]
    publish(
        registry, "estargz", [], [each[:2] for each in stargz], [diff_id for *_, diff_id in stargz]
    )
    return registry


def estargz(tar: bytes) -> tuple[Descriptor, bytes, str]:
    """Return a layer as eStargz: its descriptor, blob and diff_id."""
    out = io.BytesIO()
    writer = piecewise_writer(out, ESTARGZ)
    assert writer is not None
    contents = tar.rstrip(b"\0")
    writer.write(contents + bytes(-len(contents) % 512 + 1024))  # as ``tar_writer`` ends it
    writer.finish()
    blob = out.getvalue()
    described = Descriptor(OCI_LAYER_GZIP, Digest.of(blob), len(blob), writer.annotations)
    return described, blob, writer.diff_id


def publish(
    registry: InProcessRegistry,
    tag: str,
    tars: list[Path],
    layers: list[tuple[Descriptor, bytes]],
    diff_ids: Sequence[str] = (),
) -> None:
    """Put an image into a registry, whose layers are ``tars``, as blobs; else with ``diff_ids``."""
    for descriptor, blob in layers:
        registry.blobs["r", str(descriptor.digest)] = blob
    diff_ids = diff_ids or [str(Digest.of(tar.read_bytes())) for tar in tars]
    config = {
        "architecture": os.uname().machine.replace("x86_64", "amd64").replace("aarch64", "arm64"),
        "os": "linux",
        "config": {"Cmd": ["/bin/cat", "/d/top"]},
        "rootfs": {"type": "layers", "diff_ids": [*diff_ids]},
    }
    content = json.dumps(config).encode()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    registry.blobs["r", digest] = content
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": digest, "size": len(content)},
        "layers": [descriptor.to_json() for descriptor, _ in layers],
    }
    registry.manifests["r", tag] = MANIFEST, json.dumps(manifest).encode()


class Lazy:
    """An image in a registry that serves, and commands on a storage directory."""

    def __init__(self, registry: InProcessRegistry, storage: Path) -> None:
        self.registry = registry
        self.name = f"{registry.host}/r"
        self.storage = storage
        self.image: Runner = runner("ch-image", storage)
        self.sent: list[tuple[int, int]] = []
        registry.part = self._part
        registry.requests.clear()

    def _part(self, content: bytes, start: int, end: int) -> tuple[int, dict[str, str], bytes]:
        self.sent.append((start, end))
        return part_of(content, start, end)

    def run(self, *command: str, **variables: str) -> str:
        """Run a command in the image; return what it prints."""
        run = runner("ch-run", self.storage)
        return run(self.name, "--", *command, env=variables).stdout

    def again(self) -> None:
        """Let nothing of the image be here but its tables, as after its first pull."""
        self.image("delete", self.name)
        self.image("pull", "--lazy", self.name)
        self.sent.clear()

    @property
    def moved(self) -> int:
        """The number of bytes that were sent in parts."""
        return sum(end - start for start, end in self.sent)

    @property
    def incomplete(self) -> int:
        """The number of layers that are not all here."""
        return len([*self.storage.glob("layers/*/here")])


def started(lazy: Lazy, *words: str) -> "subprocess.Popen[str]":
    """Start a command in the image, with pipes."""
    return subprocess.Popen(
        [*command("ch-run"), lazy.name, "--", *words],
        env={**os.environ, "CH_IMAGE_STORAGE": str(lazy.storage)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def lazy(made: InProcessRegistry, tmp_path: Path) -> Generator[Lazy]:
    with made.serve():
        yield Lazy(made, tmp_path / "storage")


@pytest.mark.usefixtures("subreaper")
def test_it_starts_before_it_is_here(lazy: Lazy, tmp_path: Path) -> None:
    pulled = lazy.image("pull", "--lazy", lazy.name)
    assert "pulled whole: layer 3 (small)" in pulled.stderr
    assert lazy.incomplete == 2
    assert len(lazy.registry.requests) <= 10
    assert lazy.moved < 100_000
    sizes = [layer["size"] for layer in layers_in(lazy.registry, "r")[:2]]
    assert shares(lazy) == [(0, size) for size in sizes]
    assert "3 layers, 0 % here" in lazy.image("list", "-l").stdout
    # What it reads comes, and no more.
    assert lazy.run("cat", "/d/top", CH_RUN_LAZY="ondemand") == "top"
    assert lazy.incomplete == 2
    end()
    here = sum(part for part, _ in shares(lazy))
    assert 0 < here <= lazy.moved
    assert f"3 layers, {100 * here // sum(sizes)} % here" in lazy.image("list", "-l").stdout
    assert lazy.moved < 4 << 20
    assert lazy.run("ls", "/d", CH_RUN_LAZY="ondemand") == "top\n"
    # The pull brings the rest.
    lazy.image("pull", lazy.name)
    assert lazy.incomplete == 0
    check_published(lazy, tmp_path / "shared", "latest", "chunks")
    tables = [*lazy.storage.glob("layers/*/chunks")]
    assert {ChunkTable(table.read_bytes()).is_checked for table in tables} == {True}
    lazy.registry.requests.clear()
    digests = [hashlib.sha256(data).hexdigest() for data in (NOISE, NOISE[::-1])]
    printed = lazy.run("sha256sum", "/noise", "/more")
    assert [line.split()[0] for line in printed.splitlines()] == digests
    assert lazy.registry.requests == []
    assert "here" not in lazy.image("list", "-l").stdout


def layers_in(registry: InProcessRegistry, repository: str) -> list[dict[str, Any]]:
    """Return the layers of an image in the registry, as its manifest has them."""
    found: list[dict[str, Any]] = json.loads(registry.manifests[repository, "latest"][1])["layers"]
    return found


def shares(lazy: Lazy) -> list[tuple[int, int]]:
    """Return how many bytes are here of layers that are not all here, and how many they have."""
    (image,) = json.loads(lazy.image("inspect", lazy.name).stdout)
    return [(each["here"], each["blob_size"]) for each in image["layers"] if "here" in each]


@pytest.mark.parametrize("tag", ["latest", "gzip"])
def test_no_layer_comes_twice(lazy: Lazy, tag: str) -> None:
    """The second layer depends on the first one: it stays when that is complete."""
    name = f"{lazy.name}:{tag}"
    large = [
        layer["digest"]
        for layer in json.loads(lazy.registry.manifests["r", tag][1])["layers"]
        if layer["size"] > 1 << 20
    ]
    assert len(large) == 2
    if tag == "gzip":
        lazy.image("index", name)
    lazy.image("pull", "--lazy", name)
    assert lazy.incomplete == 2
    lazy.registry.requests.clear()
    lazy.sent.clear()
    lazy.image("pull", name, "other")
    assert lazy.incomplete == 0
    came = sum(lazy.registry.count(f"GET .*/blobs/{digest}") for digest in large)
    assert came == len(lazy.sent)  # in parts, so none as a whole
    sizes = [len(lazy.registry.blobs["r", digest]) for digest in large]
    assert lazy.moved == sum(sizes)
    lazy.registry.requests.clear()
    for words in (["--lazy", name, "third"], [name, "fourth"]):
        assert lazy.image("pull", *words).stderr.count("using existing layer") == 3
    assert [lazy.registry.count(f"GET .*/blobs/{digest}") for digest in large] == [0, 0]


def test_blocks_that_a_kill_left_are_checked(lazy: Lazy) -> None:
    lazy.image("pull", "--lazy", lazy.name)
    for path in lazy.storage.glob("layers/*/here"):
        path.write_bytes(b"\1" * 3)  # nothing but holes is there
    told = lazy.image("pull", lazy.name).stderr
    assert "content has digest" in told
    digests = [hashlib.sha256(data).hexdigest() for data in (NOISE, NOISE[::-1])]
    printed = lazy.run("sha256sum", "/noise", "/more")
    assert [line.split()[0] for line in printed.splitlines()] == digests


def test_the_rest_comes_while_it_runs(lazy: Lazy) -> None:
    lazy.image("pull", "--lazy", lazy.name)
    digests = [hashlib.sha256(data).hexdigest() for data in (NOISE, NOISE[::-1])]
    printed = lazy.run("sha256sum", "/noise", "/more")
    assert [line.split()[0] for line in printed.splitlines()] == digests
    until(lambda: not lazy.incomplete or not lazy.run("sleep", "1"))
    total = sum(len(data) for data in lazy.registry.blobs.values())
    assert lazy.moved <= 1.2 * total


def test_what_stays_in_a_container_does_not_keep_messages_open(lazy: Lazy) -> None:
    lazy.image("pull", "--lazy", lazy.name)
    script = "cat /d/top >/dev/null; sleep 1000 </dev/null >/dev/null 2>&1 & echo $!"
    with started(lazy, "sh", "-c", script) as start:
        assert start.stdout
        left = int(start.stdout.readline())
        try:
            assert start.communicate(timeout=60)[0] == ""  # all ends of the pipe are closed
        finally:
            os.kill(left, signal.SIGKILL)


def test_a_deleted_image_runs_on(lazy: Lazy) -> None:
    lazy.image("pull", "--lazy", lazy.name)
    script = "echo ready; read line; sha256sum </noise"
    with started(lazy, "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        lazy.image("delete", lazy.name)
        printed, _ = process.communicate("\n", timeout=60)
    assert printed.split()[0] == hashlib.sha256(NOISE).hexdigest()


def test_a_table_that_lies(lazy: Lazy, tmp_path: Path) -> None:
    """Start by the table, find out that the tar is another, and never start so again."""
    media_type, content = lazy.registry.manifests["r", "latest"]
    manifest = json.loads(content)
    layer = Descriptor.from_json(manifest["layers"][0])
    blob = tmp_path / "blob"
    blob.write_bytes(lazy.registry.blobs["r", str(layer.digest)])

    def lie(entries: list[dict[str, object]]) -> None:
        (entry,) = (entry for entry in entries if entry["name"] == "old")
        entry["mode"] = 0o4755

    other, path = forged(layer, blob, lie)
    manifest["layers"][0] = other.to_json()
    lazy.registry.blobs["r", str(other.digest)] = path.read_bytes()
    lazy.registry.manifests["r", "lies"] = media_type, json.dumps(manifest).encode()
    name = f"{lazy.name}:lies"
    assert "pulled whole: layer 3 (small)" in lazy.image("pull", "--lazy", name).stderr
    run = runner("ch-run", lazy.storage)
    assert run(name, "--", "cat", "/d/top", env={"CH_RUN_LAZY": "ondemand"}).stdout == "top"
    lazy.name = name
    with started(lazy, "sh", "-c", "read line") as process:  # the rest comes meanwhile
        until(lambda: [*lazy.storage.glob("layers/*/refused")])
        printed, _ = process.communicate("\n", timeout=60)
    assert "its table of contents is not true: old: mode" in printed
    done = run(name, "--", "true", check=False)
    assert done.returncode != 0
    assert "its table of contents is not true: old: mode" in done.stderr
    assert "hint: pull it again, without --lazy" in done.stderr
    assert "1 (its table of contents is not true)" in lazy.image("pull", "--lazy", name).stderr
    assert run(name, "--", "stat", "-c", "%a", "/noise").stdout == "644\n"


def test_a_table_that_has_lied_over_other_layers(lazy: Lazy, tmp_path: Path) -> None:
    """What is below determines the ID of such a layer; the refusal holds over anything."""
    manifest = json.loads(lazy.registry.manifests["r", "latest"][1])
    config = json.loads(lazy.registry.blobs["r", manifest["config"]["digest"]])
    lower, layer = map(Descriptor.from_json, manifest["layers"][:2])
    diff_ids = config["rootfs"]["diff_ids"]
    blob = tmp_path / "blob"
    blob.write_bytes(lazy.registry.blobs["r", str(layer.digest)])

    def lie(entries: list[dict[str, object]]) -> None:
        (entry,) = (entry for entry in entries if entry["name"] == "d/upper")
        entry["mode"] = 0o777

    other, path = forged(layer, blob, lie)
    upper = other, path.read_bytes()
    below = lower, lazy.registry.blobs["r", str(lower.digest)]
    publish(lazy.registry, "lies", [], [below, upper], diff_ids[:2])
    publish(lazy.registry, "again", [], [below, below, upper], [diff_ids[0], *diff_ids[:2]])
    told = lazy.image("pull", "--lazy", f"{lazy.name}:lies").stderr
    assert "layer 2/2" in told
    assert "whole" not in told
    done = lazy.image("pull", f"{lazy.name}:lies", check=False)
    assert "its table of contents is not true" in done.stderr
    lazy.image("delete", f"{lazy.name}:lies")
    assert not [*lazy.storage.glob("layers/*")]
    lazy.image("gc")
    told = lazy.image("pull", "--lazy", f"{lazy.name}:again").stderr
    assert "pulled whole: layer 3 (its table of contents is not true)" in told
    assert lazy.incomplete
    lazy.image("reset")
    assert not [*lazy.storage.glob("refused/*")]
    assert "whole" not in lazy.image("pull", "--lazy", f"{lazy.name}:again").stderr


def test_a_gzip_with_an_index(lazy: Lazy) -> None:
    name = f"{lazy.name}:gzip"
    told = lazy.image("pull", "--lazy", name, lazy.name).stderr
    assert "layer 1 (no table of contents), 2 (no table of contents), 3 (small)" in told
    lazy.image("delete", lazy.name)
    told = lazy.image("index", name).stderr
    assert "layer 3/3" in told
    assert "no index: small" in told
    assert "indexes of 2 layers" in told
    assert len([*lazy.storage.glob("gzip-indexes/*")]) == 2
    assert not [*lazy.storage.glob("layers/*")]
    lazy.registry.requests.clear()
    assert lazy.image("index", name).stderr.count("using existing index") == 2
    assert lazy.registry.count("GET .*/blobs/.*") == 1  # the configuration
    lazy.sent.clear()
    lazy.image("pull", "--lazy", name, lazy.name)
    assert lazy.incomplete == 2
    assert lazy.sent == []
    assert lazy.run("cat", "/d/top", CH_RUN_LAZY="ondemand") == "top"
    assert lazy.incomplete == 2
    assert lazy.moved < 4 << 20
    shared = lazy.storage.parent / "shared"
    told = lazy.image("publish", "--as=app", lazy.name, shared, check=False).stderr
    assert f"not all of {lazy.name}:latest is here" in told
    lazy.image("pull", name, lazy.name)
    assert lazy.incomplete == 0
    digests = [hashlib.sha256(data).hexdigest() for data in (NOISE, NOISE[::-1])]
    printed = lazy.run("sha256sum", "/noise", "/more")
    assert [line.split()[0] for line in printed.splitlines()] == digests
    check_published(lazy, shared, "gzip", "spans")
    # A pull of another name finds the layers that came so.
    assert lazy.image("pull", name, "other").stderr.count("using existing layer") == 3
    # A damaged index counts as none.
    for path in lazy.storage.glob("gzip-indexes/*"):
        path.write_bytes(b"")
    lazy.image("delete", lazy.name, "other")
    assert "1 (no table of contents)" in lazy.image("pull", "--lazy", name).stderr
    lazy.image("reset")
    assert not [*lazy.storage.glob("gzip-indexes/*")]


def test_an_estargz(lazy: Lazy, tmp_path: Path) -> None:
    name = f"{lazy.name}:estargz"
    lazy.image("pull", "--lazy", name, lazy.name)
    assert lazy.incomplete == 2
    assert lazy.run("cat", "/d/top", CH_RUN_LAZY="ondemand") == "top"
    lazy.image("pull", name, lazy.name)
    assert lazy.incomplete == 0
    check_published(lazy, tmp_path / "shared", "estargz", "chunks")


def check_published(lazy: Lazy, shared: Path, tag: str, table: str) -> None:
    """Publish the image; check what others do with layers that are blobs."""
    lazy.image("publish", "--as=app", lazy.name, shared)
    (_, manifest) = lazy.registry.manifests["r", tag]
    blobs = [layer["digest"].removeprefix("sha256:") for layer in json.loads(manifest)["layers"]]
    files = [path.with_name("file").read_bytes() for path in shared.glob(f"layers/*/{table}")]
    assert {hashlib.sha256(data).hexdigest() for data in files} == set(blobs[:2])
    place = lazy.storage.with_name("other")
    run, image = runner("ch-run", place), runner("ch-image", place)
    words = ["--image-store", str(shared), "app", "--", "sha256sum", "/noise", "/more"]
    seen = lazy.run("sha256sum", "/noise", "/more")
    assert run(*words).stdout == seen
    assert run("-W", "--notify", *words).stdout == seen
    # They come from there, and not from the registry.
    lazy.registry.requests.clear()
    image("--image-store", shared, "pull", f"{lazy.name}:{tag}", "copied")
    assert lazy.registry.count("GET .*/blobs/.*") == 1  # the configuration
    assert run("copied", "--", "sha256sum", "/noise", "/more").stdout == seen
    assert "0 layers written" in image("publish", "--as=app", "copied", shared).stderr
    # Nobody believes a table that others can write, or bytes without their digests.
    (path,) = (
        path
        for path in shared.glob(f"layers/*/{table}")
        if hashlib.sha256(path.with_name("file").read_bytes()).hexdigest() == blobs[0]
    )
    path.chmod(0o664)
    done = run(*words, check=False)
    assert f"{path} is writable to others" in done.stderr
    assert done.returncode == 31
    path.chmod(0o444)
    blob = path.with_name("file")
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.seek(blob.stat().st_size // 2)
        file.write(b"damaged by somebody else")
    blob.chmod(0o444)
    done = run(*words, check=False)
    assert done.returncode != 0
    assert done.stdout.splitlines() == seen.splitlines()[1:]


def layout_of(lazy: Lazy, place: Path) -> str:
    """Write the image of gzips to a layout in ``place``; return its name."""
    layout = place / "layout"
    (layout / "blobs/sha256").mkdir(parents=True)
    media_type, manifest = lazy.registry.manifests["r", "gzip"]
    document = json.loads(manifest)
    parts = [part["digest"] for part in (document["config"], *document["layers"])]
    for blob in (*(lazy.registry.blobs["r", digest] for digest in parts), manifest):
        (layout / "blobs/sha256" / hashlib.sha256(blob).hexdigest()).write_bytes(blob)
    entry = Descriptor(media_type, Digest.of(manifest), len(manifest))
    index = {"schemaVersion": 2, "manifests": [entry.to_json()]}
    (layout / "index.json").write_text(json.dumps(index))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return f"oci:{layout}"


def test_a_layout_of_gzips_with_an_index(lazy: Lazy, tmp_path: Path) -> None:
    """It runs in place, by the index that the store has of the same blobs."""
    lazy.image("index", f"{lazy.name}:gzip")
    layout_of(lazy, tmp_path)
    layout = tmp_path / "layout"
    run = runner("ch-run", lazy.storage)
    done = run("--lazy", f"oci:{layout}", "--", "sha256sum", "/noise", "/more")
    digests = [hashlib.sha256(data).hexdigest() for data in (NOISE, NOISE[::-1])]
    assert [line.split()[0] for line in done.stdout.splitlines()] == digests
    assert "layer 3 (no table of contents)" in done.stderr
    assert len([*lazy.storage.glob("layers/*/place")]) == lazy.incomplete == 2
    # An index of the layout itself leaves no layer to be copied.
    lazy.image("reset")
    told = lazy.image("index", f"oci:{layout}").stderr
    assert "done: indexes of 3 layers" in told
    done = run("--lazy", f"oci:{layout}", "--", "sha256sum", "/noise", "/more")
    assert [line.split()[0] for line in done.stdout.splitlines()] == digests
    assert "copied" not in done.stderr
    assert len([*lazy.storage.glob("layers/*/place")]) == lazy.incomplete == 3


def test_layouts_that_get_no_index(lazy: Lazy, tmp_path: Path) -> None:
    done = lazy.image("index", "--push", f"oci:{tmp_path}", check=False)
    assert "--push is for images of a registry" in done.stderr
    done = lazy.image("index", f"oci:{tmp_path}/none", check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert f"{tmp_path}/none" in done.stderr
    archive = tmp_path / "archive.tar"
    copying = ("skopeo", "--insecure-policy", "copy", "-q")
    subprocess.run([*copying, layout_of(lazy, tmp_path), f"oci-archive:{archive}:x"], check=True)
    done = lazy.image("index", f"oci:{archive}", check=False)
    assert f"no layout: {archive}" in done.stderr
    layout = tmp_path / "layout"
    blob = max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = blob.read_bytes()
    blob.write_bytes(data[:-1] + b"x")
    done = lazy.image("index", f"oci:{layout}", check=False)
    assert done.returncode == 1
    assert f"blob sha256:{blob.name}: content has digest" in done.stderr
    blob.unlink()
    done = lazy.image("index", f"oci:{layout}", check=False)
    assert done.returncode == 1
    assert blob.name in done.stderr


def test_an_index_that_lies(lazy: Lazy) -> None:
    """Start by the index, find out that the tar is another, and never start so again."""
    name = f"{lazy.name}:gzip"
    lazy.image("index", name)
    for path in lazy.storage.glob("gzip-indexes/*"):
        rewrite_index(path)
    lazy.image("pull", "--lazy", name)
    done = lazy.image("pull", name, check=False)
    assert done.returncode == 1
    assert "its table of contents is not true" in done.stderr
    assert "1 (its table of contents is not true)" in lazy.image("pull", "--lazy", name).stderr
    # An index that tells the truth about the same blob is another one.
    for path in lazy.storage.glob("gzip-indexes/*"):
        path.unlink()
    lazy.image("delete", name)
    lazy.image("index", name)
    assert "not true" not in lazy.image("pull", "--lazy", name).stderr
    lazy.image("pull", name)
    assert lazy.incomplete == 0


def rewrite_index(path: Path) -> None:
    """Give each file of an index other permissions."""
    data = path.read_bytes()
    start, end = SpanTable(data, 1 << 40).table
    text = unpacked_frame(data[start + 8 : end], int.from_bytes(data[start : start + 8], "little"))
    toc = json.loads(text)
    for entry in toc["entries"]:
        entry["mode"] = 0o777
    text = json.dumps(toc).encode()
    table = len(text).to_bytes(8, "little") + ZstdFrames().piece(text)
    magic, count, size, _ = SPANS_HEAD.unpack_from(data)
    spans = bytearray(data[SPANS_HEAD.size : start])
    for at in range(0, len(spans), SPAN.size):
        offset, blob, window, *rest = SPAN.unpack_from(spans, at)
        SPAN.pack_into(spans, at, offset, blob, window + start + len(table) - end, *rest)
    head = SPANS_HEAD.pack(magic, count, size, len(table))
    path.write_bytes(head + spans + table + data[end:])


def test_a_missing_image_is_pulled(lazy: Lazy) -> None:
    run = runner("ch-run", lazy.storage)
    words = (lazy.name, "--", "cat", "/d/top")
    assert "image not found" in run(*words, check=False).stderr
    done = run("--lazy=never", *words, check=False)
    assert "--lazy: no such way: never" in done.stderr
    assert "hint: one of: no, yes, ondemand" in done.stderr
    done = run(*words, check=False, env={"CH_RUN_LAZY": "maybe"})
    assert "$CH_RUN_LAZY: no such way: maybe" in done.stderr
    done = run("--lazy", f"{lazy.name}:other", "--", "true", check=False)
    assert f"can't run {lazy.name}:other: not in registry" in done.stderr
    assert run("--lazy=ondemand", *words).stdout == "top"
    assert lazy.incomplete == 2
    lazy.image("delete", lazy.name)
    assert run(*words, env={"CH_RUN_LAZY": "ondemand"}).stdout == "top"
    lazy.image("delete", lazy.name)
    sundog = runner("sundog", lazy.storage)
    printed = sundog("run", "--rm", "--pull=lazy", lazy.name, env={"CH_RUN_LAZY": "ondemand"})
    assert printed.stdout == "top"
    assert lazy.incomplete == 2


RANKS = 6


def test_ranks_that_begin_at_once(lazy: Lazy) -> None:
    """Each pulls the image, if need be; each byte of the layers that are not pulled comes once."""
    came: list[tuple[int, int]] = []

    def part(content: bytes, start: int, end: int) -> tuple[int, dict[str, str], bytes]:
        if start % LAZY_BLOCK == 0:  # else it is a table, of a pull
            came.extend((len(content), at) for at in range(start, end, LAZY_BLOCK))
        return part_of(content, start, end)

    lazy.registry.part = part
    script = "sha256sum /noise /more; read line"
    words = ["--lazy=ondemand", lazy.name, "--", "sh", "-c", script]
    digests = [hashlib.sha256(data).hexdigest() for data in (NOISE, NOISE[::-1])]
    with ExitStack() as stack:
        ranks = [
            stack.enter_context(
                subprocess.Popen(
                    [*command("ch-run"), *words],
                    env={**os.environ, "CH_IMAGE_STORAGE": str(lazy.storage)},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(RANKS)
        ]
        for rank in ranks:
            assert rank.stdout is not None
            assert [rank.stdout.readline().split()[0] for _ in digests] == digests
        assert len(came) > 2 * len(NOISE) / LAZY_BLOCK
        assert len(came) == len({*came})
        for rank in ranks:
            rank.communicate("\n", timeout=60)
            assert rank.returncode == 0
    assert lazy.incomplete == 2


def test_how_long_a_reader_waits(lazy: Lazy, tmp_path: Path) -> None:
    lazy.image("pull", "--lazy", lazy.name)
    run = runner("ch-run", lazy.storage)
    for wrong in ("5m", "-1", "1.5", " 3"):
        done = run(lazy.name, "--", "true", check=False, env={"CH_RUN_LAZY_WAIT": wrong})
        assert done.returncode == 31
        error, hint = done.stderr.splitlines()
        assert error.endswith(f": error: $CH_RUN_LAZY_WAIT: not a number of seconds: {wrong}")
        assert hint.endswith(": hint: such as 300, in digits")
    (tmp_path / "Dockerfile").write_text(f"FROM {lazy.name}\nCOPY Dockerfile /d/\n")
    build = runner("ch-image", lazy.storage)
    failed = build("build", tmp_path, check=False, env={"CH_RUN_LAZY_WAIT": "5m"})
    assert failed.returncode == 1
    assert "$CH_RUN_LAZY_WAIT: not a number of seconds: 5m\n" in failed.stderr
    longest = "9" * 400  # more than any clock takes
    for text in ("", "60", longest):
        assert lazy.run("ls", "/d", CH_RUN_LAZY="ondemand", CH_RUN_LAZY_WAIT=text) == "top\n"
    lazy.image("pull", lazy.name)
    assert lazy.run("ls", "/d", CH_RUN_LAZY_WAIT="5m") == "top\n"  # nobody waits


@pytest.mark.usefixtures("subreaper")
@pytest.mark.parametrize("tag", ["latest", "gzip", "other"])
def test_the_process_that_fetches_is_ready(lazy: Lazy, tag: str) -> None:
    """It loads its modules while the image is looked up; without a use, it ends."""
    found: list[set[int]] = []

    def wait(request: str) -> None:
        if "/manifests/" in request and not found:
            until(is_there, "it starts meanwhile")

    def is_there() -> bool:
        if fetching := serving("sundog-fetch"):
            found.append(fetching)
        return bool(fetching)

    lazy.registry.before = wait
    script = "cat /d/top; read line"
    bind = []
    if tag == "gzip":  # the image comes whole, and yet there is a server
        (lazy.storage.parent / "empty").mkdir()
        squash = str(lazy.storage.parent / "bound.sqfs")
        subprocess.run(["mksquashfs", lazy.storage.parent / "empty", squash, "-quiet"], check=True)
        bind = ["-b", f"{squash}:/mnt"]
    words = ["--lazy=ondemand", *bind, f"{lazy.name}:{tag}", "--", "sh", "-c", script]
    environment = {**os.environ, "CH_IMAGE_STORAGE": str(lazy.storage)}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*command("ch-run"), *words], env=environment, stdin=pipe, stdout=pipe, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.read(3) == ("" if tag == "other" else "top")
            used = found[0] if tag == "latest" else set()
            until(lambda: serving("sundog-fetch") == used, "no other one starts")
            if tag != "other":
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
                until(lambda: not children.read_text(), "it is no child of the command")
        finally:
            lazy.registry.before = lambda _: None
            process.communicate("\n", timeout=60)
    assert process.returncode == (31 if tag == "other" else 0)
    until(lambda: not serving(), "what serves ends with its container")


@pytest.mark.usefixtures("subreaper")
def test_what_the_processes_beside_it_hold(
    lazy: Lazy, tmp_path: Path, root_helper: RootHelper
) -> None:
    """Nothing of the caller or of the container; no program of the user can look into them."""
    lazy.image("pull", "--lazy", lazy.name)
    assert lazy.run("ls", "/proc/self/fd", CH_RUN_LAZY="ondemand").split() == ["0", "1", "2", "3"]
    end()
    pipe = subprocess.PIPE
    with open(tmp_path / "secret", "w") as secret:
        os.set_inheritable(secret.fileno(), True)
        process = subprocess.Popen(
            [*command("ch-run"), lazy.name, "--", "sh", "-c", "sha256sum /noise; read line"],
            env={**os.environ, "CH_IMAGE_STORAGE": str(lazy.storage), "CH_RUN_LAZY": "ondemand"},
            stdin=pipe,
            stdout=pipe,
            close_fds=False,
        )
    assert process.stdout is not None
    assert process.stdout.readline().split()[0] == hashlib.sha256(NOISE).hexdigest().encode()
    (fetcher,), (server,) = serving("sundog-fetch"), serving("sundog-fuse")
    for one in (fetcher, server):
        for name in ("environ", "mem", "ns/mnt"):
            with pytest.raises(PermissionError):
                open(f"/proc/{one}/{name}", "rb").close()
    held = {one: [*root_helper.descriptors(one).values()] for one in (fetcher, server)}
    process.communicate(b"\n", timeout=60)
    assert process.returncode == 0
    assert not [path for path in held[server] + held[fetcher] if "secret" in path]
    assert [os.path.basename(path) for path in held[server]].count("fuse") == 1
    own = (f"{lazy.storage}/layers/", "socket:", "anon_inode:", "/dev/null")
    for path in held[fetcher]:
        assert path.startswith(own) or path == os.readlink("/proc/self/fd/2"), path


def test_a_build_on_it(lazy: Lazy, tmp_path: Path) -> None:
    lazy.image("pull", "--lazy", lazy.name)
    (tmp_path / "Dockerfile").write_text(
        f"FROM {lazy.name}\nRUN cat /d/top >/copy\nCOPY --from={lazy.name} /noise /again\n"
    )
    lazy.image("build", "-t", "made", tmp_path)
    lazy.name = "made"
    printed = lazy.run("sha256sum", "/again").split()[0]
    assert printed == hashlib.sha256(NOISE).hexdigest()
    assert lazy.run("cat", "/copy") == "top"


@contextmanager
def silent(registry: InProcessRegistry) -> Generator[threading.Event]:
    """Let the registry answer no request for a blob while the context lasts."""
    asked, over = threading.Event(), threading.Event()

    def hang(request: str) -> None:
        if "/blobs/" in request:
            asked.set()
            over.wait(120)

    registry.before = hang
    try:
        yield asked
    finally:
        registry.before = lambda _: None
        over.set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_start_ends_while_the_registry_is_silent(lazy: Lazy, number: signal.Signals) -> None:
    lazy.image("pull", "--lazy", lazy.name)
    with silent(lazy.registry) as asked, started(lazy, "true") as process:
        assert asked.wait(60)
        process.send_signal(number)
        process.communicate(timeout=30)  # neither its server nor what fetches holds the pipe
        assert process.returncode == -number


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_reader_ends_while_the_registry_is_silent(
    lazy: Lazy, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setenv("CH_RUN_LAZY", "ondemand")
    lazy.image("pull", "--lazy", lazy.name)
    with started(lazy, "sh", "-c", "echo ready; read line; exec cat /more") as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        with silent(lazy.registry) as asked:
            process.stdin.write("\n")
            process.stdin.flush()
            assert asked.wait(60)
            process.send_signal(number)
            process.communicate(timeout=30)
        assert process.returncode == -number


def test_a_completion_ends_while_the_registry_is_silent(lazy: Lazy) -> None:
    lazy.image("pull", "--lazy", lazy.name)
    with silent(lazy.registry) as asked:
        process = subprocess.Popen(
            [*command("ch-image"), "pull", lazy.name],
            env={**os.environ, "CH_IMAGE_STORAGE": str(lazy.storage)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        try:
            printed, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert "interrupted" in printed
    assert process.returncode == -signal.SIGINT


@pytest.mark.usefixtures("subreaper")
def test_a_killed_server(lazy: Lazy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CH_RUN_LAZY", "ondemand")
    lazy.image("pull", "--lazy", lazy.name)
    script = "echo ready; read line; read word </more; exit 3"
    with started(lazy, "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        with silent(lazy.registry) as asked:
            process.stdin.write("\n")
            process.stdin.flush()
            assert asked.wait(60)
            for server in serving("sundog-fuse"):
                os.kill(server, signal.SIGKILL)
            process.communicate(timeout=30)
        assert process.returncode != 0
    lazy.image("pull", lazy.name)  # nothing is damaged
    assert lazy.run("sha256sum", "/noise").split()[0] == hashlib.sha256(NOISE).hexdigest()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("subreaper")
def test_kills_at_any_moment(lazy: Lazy) -> None:
    right = {hashlib.sha256(data).hexdigest() for data in (NOISE, NOISE[::-1])}
    chance = random.Random(seed := random.randrange(1 << 32))
    print(f"seed {seed}")
    longest, killed = 1.0, Counter[str]()
    for number in range(KILLS):
        if number % 5 == 0:  # else it goes on with what is here
            lazy.image("delete", lazy.name, check=False)
            lazy.image("pull", "--lazy", lazy.name)
        begun = time.monotonic()
        with started(lazy, "sha256sum", "/noise", "/more") as process:
            time.sleep(chance.uniform(0, longest))
            with suppress(OSError):  # it may have ended
                victim = chance.choice([process.pid, *serving()])
                killed[Path(f"/proc/{victim}/comm").read_text().strip()] += 1
                os.kill(victim, signal.SIGKILL)
            printed, _ = process.communicate(timeout=120)
        longest = max(0.2, time.monotonic() - begun)
        assert {line.split()[0] for line in printed.splitlines() if line[64:66] == "  "} <= right
        until(lambda: not serving(), "what serves ends with its container")
    print(killed)
    lazy.image("pull", lazy.name)
    printed = lazy.run("sha256sum", "/noise", "/more")
    assert {line.split()[0] for line in printed.splitlines()} == right
    assert not lazy.incomplete
    assert [name for name in os.listdir(lazy.storage / "tmp") if name != "trash"] == []


def blocks_here(lazy: Lazy) -> dict[Path, set[int]]:
    """Return which blocks are here of each layer that is not all here; their bytes are right."""
    blobs = {len(data): data for data in lazy.registry.blobs.values()}
    found = {}
    for path in lazy.storage.glob("layers/*/here"):
        with suppress(FileNotFoundError):  # now all of it is here, or was checked
            found[path] = {block for block, is_here in enumerate(path.read_bytes()) if is_here}
            came = path.with_name("file").read_bytes()
            for block in found[path]:
                part = slice(block * LAZY_BLOCK, (block + 1) * LAZY_BLOCK)
                assert came[part] == blobs[len(came)][part]
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("subreaper")
def test_kills_of_the_registry(lazy: Lazy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that reads waits until it is back, and no block that had come is lost."""
    right = [hashlib.sha256(data).hexdigest() for data in (NOISE, NOISE[::-1])]
    count = 2 * len(NOISE) // LAZY_BLOCK
    chance = random.Random(seed := random.randrange(1 << 32))
    print(f"seed {seed}")
    lazy.image("pull", lazy.name)
    with serving_registry(tmp_path, "registry", {}, {}) as host:
        lazy.image("push", lazy.name, f"{host}/r")
    lazy.image("delete", lazy.name)
    lazy.name, killed = f"{host}/r", Counter[str]()
    script = "echo ready; read line; exec sha256sum /noise /more"
    for number in range(KILLS):
        monkeypatch.setenv("CH_RUN_LAZY", ("ondemand", "yes")[number % 2])
        is_down_first, wanted = number % 4 == 0, chance.randrange(count)
        with ExitStack() as registry:
            registry.enter_context(serving_registry(tmp_path, "registry", {}, {}, host))
            lazy.image("pull", "--lazy", lazy.name)
            with started(lazy, "sh", "-c", script) as process:
                read_to(process, "ready")
                if not is_down_first:
                    go_on(process)
                    until(partial(has_come, lazy, wanted, process))
                registry.close()  # by SIGKILL
                before = blocks_here(lazy)
                killed["too late" if len(before) < 2 else "in the middle"] += 1
                time.sleep(chance.uniform(0, 0.5))
                for path, blocks in blocks_here(lazy).items():
                    assert before[path] <= blocks
                registry.enter_context(serving_registry(tmp_path, "again", {}, {}, host))
                printed, _ = process.communicate("\n" if is_down_first else None, timeout=120)
            assert process.returncode == 0, printed
            assert [line[:64] for line in printed.splitlines() if line[64:66] == "  "] == right
            until(lambda: not serving(), "what serves ends with its container")
        lazy.image("delete", lazy.name)
    print(killed)
    assert killed["in the middle"]


def has_come(lazy: Lazy, count: int, reader: "subprocess.Popen[str]") -> bool:
    """Tell whether so many blocks of layers are here, or all of one, or nobody wants more."""
    found = blocks_here(lazy)
    is_here = len(found) < 2 or sum(map(len, found.values())) >= count
    return is_here or reader.poll() is not None


def read_to(process: "subprocess.Popen[str]", line: str) -> None:
    """Read what the process prints, up to a line."""
    assert process.stdout is not None
    assert f"{line}\n" in iter(process.stdout.readline, "")


def go_on(process: "subprocess.Popen[str]") -> None:
    """Give a line to the process."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_a_registry_that_wants_to_be_left_alone(
    lazy: Lazy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread asks it meanwhile, for whichever layer, and all comes in the end."""
    monkeypatch.setenv("CH_RUN_LAZY", "ondemand")
    lazy.image("pull", "--lazy", lazy.name)
    upper = layers_in(lazy.registry, "r")[1]["digest"]
    asked: list[float] = []
    limits: list[float] = []
    seconds, others = 3, 2  # who fetches for readers has three threads

    def limit(request: str) -> None:
        asked.append(time.monotonic())
        if upper in request and not limits:
            limits.append(asked[-1])
            raise Refuse(429, Retry_After=str(seconds))

    # Two programs read here and there, each in a layer of its own.
    script = """
        some() { for at in 0 1 2 3 4 5; do dd if=$1 bs=4k skip=$((128 * at)) count=1; done; }
        echo ready; read line
        some /noise >/dev/null 2>&1 & some /more >/dev/null 2>&1; wait; sha256sum /noise /more"""
    with started(lazy, "sh", "-c", script) as process:
        read_to(process, "ready")
        lazy.registry.before = limit
        try:
            printed, _ = process.communicate("\n", timeout=120)
        finally:
            lazy.registry.before = lambda _: None
    right = {hashlib.sha256(data).hexdigest() for data in (NOISE, NOISE[::-1])}
    assert {line[:64] for line in printed.splitlines() if line[64:66] == "  "} == right
    # Requests of others may have been on their way when the answer came.
    assert sum(limits[0] < at < limits[0] + seconds for at in asked) <= others
    assert len(asked) > 10


def test_what_leaves_before_it_is_here(lazy: Lazy, tmp_path: Path) -> None:
    lazy.image("pull", "--lazy", lazy.name)
    runner("ch-convert", lazy.storage)(lazy.name, tmp_path / "out")
    assert (tmp_path / "out/noise").read_bytes() == NOISE
    lazy.image("push", lazy.name, f"{lazy.registry.host}/copy")
    assert lazy.incomplete == 0
    # All is as it came, byte for byte, with the tables.
    manifests = lazy.registry.manifests
    assert manifests["copy", "latest"] == manifests["r", "latest"]
    other = runner("ch-image", tmp_path / "other")
    other("pull", f"{lazy.registry.host}/copy")
    run = runner("ch-run", tmp_path / "other")
    printed = run(f"{lazy.registry.host}/copy", "--", "sha256sum", "/more").stdout
    assert printed.split()[0] == hashlib.sha256(NOISE[::-1]).hexdigest()


def test_what_is_saved_or_built_on_before_it_is_here(lazy: Lazy, tmp_path: Path) -> None:
    lazy.image("pull", "--lazy", lazy.name)
    came = [layer["digest"] for layer in layers_in(lazy.registry, "r")]
    (tmp_path / "Dockerfile").write_text(f"FROM {lazy.name}\nRUN true >/new\n")
    output = f"--output=type=oci,dest={tmp_path}/built,tar=false"
    lazy.image("build", "-t", "built", output, tmp_path)
    lazy.image("delete", lazy.name, "built")
    lazy.image("pull", "--lazy", lazy.name)
    assert lazy.incomplete == 2
    lazy.image("save", "--format=oci-dir", "-o", tmp_path / "saved", lazy.name)
    assert lazy.incomplete == 0
    saved, built = (
        {str(layer.digest): path.read_bytes() for layer, path in layers_of(tmp_path / name)}
        for name in ("saved", "built")
    )
    # The small layer was unpacked, so its blob is gone.
    assert [*saved][:2] == came[:2] == [*built][:2]
    for digest in came[:2]:
        assert saved[digest] == built[digest] == lazy.registry.blobs["r", digest]
    assert (len(saved), len(built)) == (3, 4)
    # They are still there.
    lazy.image("save", "--format=docker-archive", "-o", tmp_path / "archive", lazy.name)
    printed = lazy.run("sha256sum", "/noise", "/more")
    assert printed.split()[0] == hashlib.sha256(NOISE).hexdigest()


def test_what_is_converted_before_it_is_here(lazy: Lazy, tmp_path: Path) -> None:
    convert = runner("ch-convert", lazy.storage)
    lazy.image("pull", "--lazy", lazy.name)
    convert("--dry-run", lazy.name, f"oci:{tmp_path}/converted")
    assert lazy.incomplete == 2
    convert(lazy.name, f"oci:{tmp_path}/converted")
    assert lazy.incomplete == 0
    came = [layer["digest"] for layer in layers_in(lazy.registry, "r")][:2]
    converted = layers_of(tmp_path / "converted")
    assert [str(layer.digest) for layer, _ in converted][:2] == came
    for digest, (_, path) in zip(came, converted, strict=False):
        assert path.read_bytes() == lazy.registry.blobs["r", digest]


def test_what_is_converted_is_no_lie(lazy: Lazy, tmp_path: Path) -> None:
    name = f"{lazy.name}:gzip"
    lazy.image("index", name)
    for path in lazy.storage.glob("gzip-indexes/*"):
        rewrite_index(path)
    lazy.image("pull", "--lazy", name)
    target = tmp_path / "converted"
    done = runner("ch-convert", lazy.storage)(name, f"docker-archive:{target}", check=False)
    assert done.returncode == 1
    assert "its table of contents is not true" in done.stderr
    assert not target.exists()


def test_what_leaves_is_no_lie(lazy: Lazy) -> None:
    """All of an index is compared with the tar before another registry gets the layer."""
    name = f"{lazy.name}:gzip"
    lazy.image("index", name)
    for path in lazy.storage.glob("gzip-indexes/*"):
        rewrite_index(path)
    lazy.image("pull", "--lazy", name)
    lazy.registry.requests.clear()
    done = lazy.image("push", name, f"{lazy.registry.host}/copy:lie", check=False)
    assert done.returncode == 1
    assert "its table of contents is not true" in done.stderr
    assert lazy.registry.count("(POST|PUT) .*") == 0


def test_a_push_gives_its_password_to_no_source(
    lazy: Lazy, monkeypatch: pytest.MonkeyPatch
) -> None:
    lazy.image("pull", "--lazy", lazy.name)
    asked: list[tuple[str, str]] = []
    authenticate = vars(_Handler)["_authenticate"]

    def noted(handler: _Handler) -> None:
        asked.append((handler.server_registry.host, handler.headers.get("Authorization", "")))
        authenticate(handler)

    monkeypatch.setattr(_Handler, "_authenticate", noted)
    lazy.registry.token = "of-the-source"
    login = {"CH_IMAGE_USERNAME": "u", "CH_IMAGE_PASSWORD": "p"}
    try:
        with InProcessRegistry().serve() as other:
            other.token = "of-the-destination"
            lazy.image("push", lazy.name, f"{other.host}/r", env=login)
            assert layers_in(other, "r")[:2] == layers_in(lazy.registry, "r")[:2]
            hosts = {host for host, words in asked if words.startswith("Basic ")}
            assert hosts == {other.host}
            assert (lazy.registry.host, "Bearer of-the-source") in asked
    finally:
        lazy.registry.token = ""


def test_it_is_unpacked_when_it_is_here(lazy: Lazy) -> None:
    lazy.image("pull", "--lazy", lazy.name)
    done = lazy.image("unpack", lazy.name, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"error: can't unpack {lazy.name}: a part of it is still in a registry",
        f"hint: ch-image pull {lazy.name}",
    ]
    lazy.image("pull", lazy.name)
    look = ("sh", "-c", "find / -xdev -not -path '/etc/*' -exec stat -c '%n %A' {} +")
    before = sorted(lazy.run(*look).splitlines())
    assert "/d/top -rw-r--r--" in before
    lazy.image("unpack", lazy.name)
    assert [*lazy.storage.glob("layers/*/file")] == []
    assert sorted(lazy.run(*look).splitlines()) == before
    digests = [hashlib.sha256(data).hexdigest() for data in (NOISE, NOISE[::-1])]
    printed = lazy.run("sha256sum", "/noise", "/more")
    assert [line.split()[0] for line in printed.splitlines()] == digests
