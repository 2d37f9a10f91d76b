"""Hostile and damaged images: a pull refuses them, or they reach only their own files."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest

from sundog.image.oci import media_types
from tests.image.layer.archives import Entry, archive, directory, file, hard_link, symlink
from tests.image.pull.conftest import leftovers, refused
from tests.image.pull.images import Layer, Shelf

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Runner
    from tests.image.pull.faulty import FaultyRegistry

# Layers on top of a base, which try to reach ``outside``.
Paths = tuple[tuple[Entry, ...], ...]
UP = "../" * 16


def paths(outside: str) -> dict[str, Paths]:
    """Return layers that try to reach into the directory ``outside`` of the host."""
    up = UP + outside.lstrip("/")
    return {
        "dotdot": ((file(f"{up}/escaped"),),),
        "symlink-out": ((symlink("e", outside), file("e/escaped")),),
        "symlink-out-later": ((symlink("e", up),), (file("e/escaped"),)),
        "hardlink-out": ((hard_link("e", f"{up}/victim"),),),
        "hardlink-through-symlink": ((symlink("e", outside), hard_link("p", "e/victim")),),
        "whiteout-out": ((symlink("e", outside),), (file("e/.wh.victim", b""),)),
        "opaque-out": ((symlink("e", f"{outside}/dir"),), (file("e/.wh..wh..opq", b""),)),
        "root-is-link": ((symlink(".", outside),),),
        "root-is-file": ((file("./"),),),
        "whiteout-of-dots": (
            (directory("e"), file("e/.wh...", b"")),
            (file("e/.wh..", b""),),
            (file("e/.wh.", b""),),
        ),
        "device-and-fifo-as-files": (
            (Entry("e", "p"), Entry("null", "c", device=(1, 3))),
            (file("e", b"must not block\n"), file("null", b"data\n")),
        ),
    }


# Refused images, and a part of the error message of each.
REFUSED = {
    "dotdot": "..",
    "hardlink-out": "..",
    "hardlink-through-symlink": "is not there",
    "root-is-link": "the root is not a directory",
    "whiteout-of-dots": "a whiteout without a name",
}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a directory of the host.  An image must not reach it."""
    place = tmp_path / "outside"
    (place / "dir").mkdir(parents=True)
    (place / "victim").write_text("victim\n")
    (place / "dir/f").write_text("f\n")
    return place


@pytest.mark.parametrize("name", list(paths("")))
def test_a_hostile_image_reaches_nothing(
    faulty: FaultyRegistry, run_ch_image: Runner, storage: Path, outside: Path, name: str
) -> None:
    shelf = faulty.shelf
    layers = [shelf.layer(*entries) for entries in paths(str(outside))[name]]
    shelf.image(shelf.base(), *layers, tag="bad:latest")
    done = run_ch_image("pull", f"{faulty.host}/bad", check=False)
    assert sorted(path.name for path in outside.rglob("*")) == ["dir", "f", "victim"]
    assert (outside / "victim").read_text() == "victim\n"
    assert (outside / "victim").stat().st_nlink == 1
    if name in REFUSED:
        refused(done, "error: layer ", REFUSED[name])
        assert leftovers(storage) == []
    elif done.returncode:
        refused(done, "error: layer ")
        assert leftovers(storage) == []


def _truncated_gzip(shelf: Shelf) -> Layer:
    raw = archive(file("big", os.urandom(100_000))).getvalue()
    whole = gzip.compress(raw, mtime=0)
    return Layer(
        shelf.blob(whole[: len(whole) // 2], media_types.OCI_LAYER_GZIP), shelf.base().diff_id
    )


def _truncated_tar(shelf: Shelf) -> Layer:
    return shelf.tar_layer(archive(file("big", b"y" * 100_000)).getvalue()[:50_000])


def _wrong_diff_id(shelf: Shelf) -> Layer:
    return Layer(shelf.base().descriptor, "sha256:" + "0" * 64)


def _wrong_digest(shelf: Shelf) -> Layer:
    layer = shelf.layer(file("f"))
    name = layer.descriptor["digest"]
    content = bytearray(shelf.blobs[name])
    content[len(content) // 2] ^= 1
    shelf.blobs[name] = bytes(content)
    return layer


def _wrong_size(shelf: Shelf) -> Layer:
    layer = shelf.layer(file("f"))
    return Layer({**layer.descriptor, "size": layer.descriptor["size"] + 1}, layer.diff_id)


def _unknown_type(shelf: Shelf) -> Layer:
    layer = shelf.layer(file("f"))
    return Layer({**layer.descriptor, "mediaType": "application/x-unknown"}, layer.diff_id)


def _foreign(shelf: Shelf) -> Layer:
    layer = shelf.layer(file("f"))
    kind = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    elsewhere = {"mediaType": kind, "urls": ["http://127.0.0.1:9/x"]}
    del shelf.blobs[layer.descriptor["digest"]]
    return Layer({**layer.descriptor, **elsewhere}, layer.diff_id)


def _no_tar(shelf: Shelf) -> Layer:
    return shelf.tar_layer(b"this is no tar" * 100)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (_truncated_gzip, "the gzip stream ends early"),
        (_truncated_tar, "the archive ends early"),
        (_wrong_diff_id, "the configuration says sha256:000"),
        (_wrong_digest, "content has digest sha256:"),
        (_wrong_size, "the manifest says"),
        (_unknown_type, "type application/x-unknown is not supported"),
        (_foreign, "can't reach 127.0.0.1:9"),
        (_no_tar, "not a tar archive"),
    ],
)
def test_a_damaged_image_is_refused(
    faulty: FaultyRegistry,
    run_ch_image: Runner,
    storage: Path,
    make: Callable[[Shelf], Layer],
    fault: str,
) -> None:
    shelf = faulty.shelf
    shelf.image(shelf.base(), make(shelf), shelf.layer(file("above")), tag="bad:latest")
    done = run_ch_image("pull", f"{faulty.host}/bad", check=False)
    refused(done, "layer 2", fault)
    assert leftovers(storage) == []
    assert run_ch_image("list").stdout == ""


def test_a_foreign_layer_comes_from_where_it_says(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner
) -> None:
    layer = _foreign(shelf)
    content = shelf.layer(file("f")).descriptor["digest"]
    shelf.blobs["sha256:elsewhere"] = shelf.blobs.pop(content)
    layer.descriptor["urls"] = [f"http://{faulty.host}/v2/other/blobs/sha256:elsewhere"]
    shelf.image(shelf.base(), layer, tag="a:latest")
    run_ch_image("pull", f"{faulty.host}/a")


@pytest.mark.parametrize(
    ("manifest", "fault"),
    [
        (b"{not json", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'"text"', "expected an object"),
        (b'{"schemaVersion": 2}', "config"),
        (b'{"schemaVersion": 2, "manifests": [], "layers": []}', "both"),
        (b'{"schemaVersion": 2, "manifests": []}', "requested arch unavailable"),
    ],
)
def test_a_damaged_manifest_is_refused(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, manifest: bytes, fault: str
) -> None:
    shelf.tag("bad:latest", shelf.document(manifest, "application/json"))
    refused(run_ch_image("pull", f"{faulty.host}/bad", check=False), fault)


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        (b"{not json", "not JSON"),
        (b"{}", "layers, the configuration names 0"),
        (b'{"architecture": "amd64", "rootfs": {"diff_ids": [1]}}', "expected a list of strings"),
        (b'{"architecture": "amd64", "rootfs": {"diff_ids": ["x"]}}', "digest 'x'"),
        (
            b'{"os": "windows", "architecture": "amd64", "rootfs": {"diff_ids": ["x"]}}',
            "the image is for windows/amd64",
        ),
    ],
)
def test_a_damaged_configuration_is_refused(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, config: bytes, fault: str
) -> None:
    manifest = {
        "schemaVersion": 2,
        "config": shelf.blob(config, media_types.OCI_CONFIG),
        "layers": [shelf.base().descriptor],
    }
    shelf.tag("bad:latest", shelf.document(manifest, media_types.OCI_MANIFEST))
    refused(run_ch_image("pull", f"{faulty.host}/bad", check=False), fault)


def test_indexes_in_indexes_end(shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner) -> None:
    entry = shelf.image(shelf.base())
    for _ in range(6):
        entry = shelf.index(entry, tag="bad:latest")
    refused(run_ch_image("pull", f"{faulty.host}/bad", check=False), "indexes in indexes")
