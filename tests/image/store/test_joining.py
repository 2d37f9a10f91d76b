"""Layers that are joined when an image is put: which ones, what stays, and a kill in between."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.base.record.owners import OwnerRecord, pack_owners
from sundog.image.oci.config import HistoryEntry
from sundog.image.store import layers as store_layers
from sundog.image.store.device import Device
from sundog.image.store.images import Images
from sundog.image.store.joining import stacked
from sundog.image.store.layer_ids import layer_id
from sundog.image.store.layer_info import LayerInfo
from sundog.image.store.layers import Layers
from sundog.image.store.store import Store
from tests.image.store.conftest import contents, image, temporary_things

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sundog.image.store.image_files import Image

LIMIT = 6  # images have one layer less


@pytest.fixture(autouse=True)
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_layers, "layers_limit", lambda _: LIMIT)


def add_layers(store: Store, count: int) -> list[str]:
    """Add layers: each has a file of its own, a common one, and deletes that of the one below."""
    drafts = []
    for number in range(count):
        draft = store.scratch.new()
        os.makedirs(draft + b"/tree/d")
        for name in (b"d/%d" % number, b"common"):
            with open(draft + b"/tree/" + name, "w") as file:
                file.write(f"{number}\n")
        owners = {b"common": OwnerRecord("f", number)}
        if number % 3 == 2:
            owners[b"d/%d" % (number - 1)] = OwnerRecord("w")
            os.mknod(draft + b"/tree/d/%d" % (number - 1), 0o20000)
        with open(draft + b"/owners", "xb") as file:
            file.write(pack_owners(owners))
        drafts.append((draft, layer_id("many", str(number)), LayerInfo()))
    store.layers.add_all(drafts)
    return [layer for _, layer, _ in drafts]


def tall(layers: list[str]) -> Image:
    history = tuple(HistoryEntry(created_by=f"step {number}") for number in range(len(layers)))
    return image("tall", *layers, diff_ids=("",) * len(layers), history=history)


def shown(store: Store, name: str, tmp_path: Path) -> dict[str, bytes | None]:
    target = tmp_path / "flat"
    paths = store.layers.paths(store.images.get(name).layers)
    from sundog.image.store.tree_work import flatten_layers

    store.worker.call(flatten_layers, paths, None, os.fsencode(target))
    found = contents(target)
    for path in sorted(found, reverse=True):
        (target / path).rmdir() if found[path] is None else (target / path).unlink()
    target.rmdir()
    return found


def test_what_is_put(open_store: Callable[[], Store], storage: Path, tmp_path: Path) -> None:
    told: list[str] = []
    with Store.open(str(storage), driver="overlay", tell=told.append) as store:
        layers = add_layers(store, 10)
        (stored,) = store.images.put(tall(layers))
        assert stored == store.images.get("tall")
        assert len(stored.layers) <= LIMIT - 1
        assert shown(store, "tall", tmp_path) == {
            "common": b"9\n",
            "d": None,
            **{f"d/{number}": b"%d\n" % number for number in (0, 2, 3, 5, 6, 8, 9)},
        }
        owner = store.layers.owners(stored.layers[-1])[b"common"]
        assert owner.uid == 9
    assert len(told) == 1
    assert told[0].endswith("overlayfs stacks at most 5")
    # What was joined is gone with the command.
    assert set(os.listdir(storage / "layers")) == set(stored.layers)
    assert [entry.created_by for entry in stored.config.history] == [
        f"step {number}" for number in range(10)
    ]
    made = [entry for entry in stored.config.history if not entry.empty_layer]
    assert len(made) == len(stored.layers) == len(stored.config.diff_ids)
    assert any("joined" in entry.comment for entry in made)
    with open_store() as store:
        assert store.images.put(stored) == (stored,)
        assert store.images.stackable(stored) is stored


def test_a_joined_layer_that_another_image_has_stays(storage: Path) -> None:
    with Store.open(str(storage), driver="overlay") as store:
        layers = add_layers(store, 10)
        (one,) = store.images.put(tall(layers))
        with Store.open(str(storage), driver="overlay") as other:
            (two,) = other.images.put(image("two", *layers))
        assert one.layers == two.layers
        store.images.delete("tall")
    with Store.open(str(storage), driver="overlay") as store:
        assert store.images.get("two").layers == one.layers
        store.images.delete("two")
    assert os.listdir(storage / "layers") == []


def test_a_step_on_too_many_layers(store: Store, driver: str) -> None:
    """A stage keeps its own list; what it mounts, and what a step inherits, are joined."""
    layers = add_layers(store, LIMIT + 3)
    assert len(store.layers.visible(layers)) < LIMIT
    with store.driver.begin(layers) as snapshot:
        assert snapshot.commit() is None
    assert store.layers.paths(layers)[0].tree == store.layers.tree(layers[-1])
    assert len(store.layers.visible(layers[:LIMIT])) == LIMIT, "nothing is joined too early"


def test_a_root_that_hides_all_below(store: Store) -> None:
    layers = add_layers(store, LIMIT + 4)
    draft = store.scratch.new()
    os.makedirs(draft + b"/tree")
    with open(draft + b"/owners", "xb") as file:
        file.write(pack_owners({b"": OwnerRecord("d", opaque=True)}))
    opaque = layer_id("opaque")
    store.layers.add_all([(draft, opaque, LayerInfo(root_opaque=True))])
    (stored,) = store.images.put(tall([*layers[:2], opaque, *layers[2:], layers[5]]))
    assert not set(layers[:2]) & set(stored.layers)
    assert len(stored.layers) < LIMIT
    made = [entry for entry in stored.config.history if not entry.empty_layer]
    assert len(made) == len(stored.layers)


def test_squashed(storage: Path, tmp_path: Path) -> None:
    with Store.open(str(storage), driver="overlay") as store:
        layers = add_layers(store, 5)
        store.images.put(tall(layers))
        before = shown(store, "tall", tmp_path)
        squashed = store.images.squashed(tall(layers), 2)
        assert squashed.layers[:2] == tuple(layers[:2])
        assert len(squashed.layers) == 3
        store.images.put(squashed)
        assert shown(store, "tall", tmp_path) == before
        assert [entry.comment for entry in squashed.config.history if entry.comment] == [
            "3 layers, squashed"
        ]
        assert store.images.squashed(squashed, 2) is squashed
        assert len(store.images.squashed(squashed, 0).layers) == 1


STEPS = {
    "before it is in place": (Layers, "add"),
    "before it is on the device": (Device, "sync"),
    "before the image": (Images, "draft"),
    "before the name": (Images, "replace"),
    "at the end": (Store, "close"),
}


@pytest.mark.parametrize("moment", STEPS)
def test_a_kill(moment: str, storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(str(storage), driver="overlay") as store:
        layers = add_layers(store, 10)
        store.images.put(image("low", *layers[:5]), image("high", *layers[5:]))
    child = os.fork()
    if not child:
        with Store.open(str(storage), driver="overlay") as store:
            store.images.get("low")
            where, name = STEPS[moment]
            monkeypatch.setattr(where, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
            store.images.put(tall(layers))
            store.close()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    Store.open(str(storage), driver="overlay").close()
    with Store.open(str(storage), driver="overlay") as store:
        names = {image.typed for image in store.images.list()}
        assert names == {"low", "high"} | ({"tall"} if moment == "at the end" else set())
        needed = {layer for image in store.images.list() for layer in image.layers}
    assert set(os.listdir(storage / "layers")) == needed
    assert temporary_things(storage) == []


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(3, 9))
def test_plans(sizes: list[int], most: int) -> None:
    layers = [f"{number:020x}" for number in range(len(sizes))]
    size = dict(zip(layers, sizes, strict=True)).__getitem__
    pieces = stacked(layers, most, size)
    assert len(pieces) <= most
    assert [member for piece in pieces for member in piece.members] == layers
    assert all((piece.layer in layers) == (not piece.parts) for piece in pieces)
    # One layer more changes little: nearly always, all that was joined stays as it is.
    more = stacked([*layers, "f" * 20], most, lambda layer: 0 if layer[0] == "f" else size(layer))
    if len(pieces) < most:
        assert [piece.layer for piece in more[:-1]] == [piece.layer for piece in pieces]
