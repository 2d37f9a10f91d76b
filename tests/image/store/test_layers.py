"""Layers: what the store knows of them, and the tar that it makes of them."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sundog.errors import StoreError
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.oci.media_types import OCI_LAYER_GZIP
from sundog.image.store.layer_ids import layer_id
from sundog.image.store.layer_info import LayerBlob
from sundog.image.store.store import Store
from sundog.image.store.tree_work import read_in_tree
from sundog.image.transfer.importer import import_image
from tests.image.store.conftest import ROOT_FILES, temporary_things, write_tar


@pytest.fixture
def layer(store: Store, tmp_path: Path) -> str:
    archive = write_tar(
        tmp_path / "root.tar",
        ROOT_FILES,
        {
            "bin/tool": {"uid": 0, "gid": 42, "mode": 0o4755},
            "usr": {"uid": 100, "gid": 102, "mode": 0o2750},
        },
    )
    (layer,) = import_image(store, str(archive), "x").layers
    return layer


def test_tar_of_a_layer_is_what_was_imported(store: Store, layer: str, tmp_path: Path) -> None:
    out = tmp_path / "out.tar"
    digest = store.layers.write_tar(layer, os.fsencode(out))
    assert digest == f"sha256:{hashlib.sha256(out.read_bytes()).hexdigest()}"
    with tarfile.open(out) as tar:
        members = {member.name: member for member in tar if member.name not in ("", ".")}
    assert set(members) == set(ROOT_FILES)
    tool, usr = members["bin/tool"], members["usr"]
    assert (tool.uid, tool.gid, tool.mode) == (0, 42, 0o4755)
    assert (usr.uid, usr.gid, usr.mode) == (100, 102, 0o2750)
    assert members["etc/link"].linkname == "/etc/motd"


def test_diff_id_is_the_digest_of_the_tar_and_is_kept(
    store: Store, storage: Path, layer: str, tmp_path: Path
) -> None:
    assert store.layers.info(layer).diff_id == ""
    digest = store.layers.diff_id(layer)
    assert digest == store.layers.write_tar(layer, os.fsencode(tmp_path / "out.tar"))
    assert store.layers.info(layer).diff_id == digest
    (storage / "layers" / layer / "tree/usr/later").parent.chmod(0o700)
    (storage / "layers" / layer / "tree/usr/later").touch()
    assert store.layers.diff_id(layer) == digest  # the store does not read the layer again
    store.close()
    assert temporary_things(storage) == []


def test_tar_can_be_imported_again_and_makes_the_same_tar(
    store: Store, layer: str, tmp_path: Path
) -> None:
    first, second = tmp_path / "1.tar", tmp_path / "2.tar"
    store.layers.write_tar(layer, os.fsencode(first))
    (again,) = import_image(store, str(first), "y").layers
    store.layers.write_tar(again, os.fsencode(second))
    assert first.read_bytes() == second.read_bytes()


def test_identities(store: Store, storage: Path, layer: str) -> None:
    assert len(layer) == len(layer_id("a", "b")) == 20
    assert layer_id("a", "b") != layer_id("ab") != layer_id("b", "a")
    info = json.loads((storage / "layers" / layer / "layer.json").read_text())
    assert layer == layer_id("import", info["source"])


def test_damaged_manifest_is_one_clear_error(store: Store, storage: Path, layer: str) -> None:
    (storage / "layers" / layer / "owners").write_bytes(b"")
    with pytest.raises(StoreError, match=r"damaged layer in storage: .*/owners"):
        store.layers.diff_id(layer)


def test_tar_goes_to_the_callers_directory(
    store: Store, layer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.worker.call(read_in_tree, b"/", b"", 1)  # the worker keeps its directory
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.layers.write_tar(layer, b"out.tar")
    assert io.BytesIO((tmp_path / "elsewhere/out.tar").read_bytes()).read(1)


def blob(content: bytes, made: str = "") -> LayerBlob:
    digest = Digest.of(content)
    return LayerBlob(Descriptor(OCI_LAYER_GZIP, digest, len(content)), f"sha256:{'0' * 64}", made)


def test_blobs_of_a_layer_are_kept(store: Store, storage: Path, layer: str) -> None:
    before = store.layers.info(layer)
    assert store.layers.blobs(layer) == ()
    store.layers.add_blob(layer, blob(b"ours", "gzip"))
    store.layers.add_blob(layer, blob(b"theirs"))
    store.layers.add_blob(layer, blob(b"theirs"))
    store.layers.add_blob(layer, blob(b"ours, anew", "gzip"))
    store.layers.write_down()
    with Store.open(str(storage)) as other:
        assert other.layers.blobs(layer) == (blob(b"theirs"), blob(b"ours, anew", "gzip"))
    assert replace(store.layers.info(layer), blobs=()) == before


def test_damaged_layer_is_told(open_store: Callable[[], Store], storage: Path, layer: str) -> None:
    path = storage / "layers" / layer / "layer.json"
    for text in ("", "[]", '{"blobs": [{}]}', '{"source": 1}'):
        path.write_text(text)
        with pytest.raises(StoreError, match=f"damaged layer in storage: {layer}: layer.json"):
            open_store().layers.info(layer)
