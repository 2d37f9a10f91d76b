"""The garbage of images that are gone is found by the users of their layers."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sundog.errors import NotInStorage
from sundog.image.oci.digest import Digest
from sundog.image.store.collect import Collection
from sundog.image.store.layer_info import LayerInfo
from sundog.image.store.store import Store
from tests.image.store.conftest import image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sundog.image.store.collect import _Found


@pytest.fixture
def only_what_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a look at everything fail."""

    def fail(_: Collection) -> _Found:
        raise AssertionError

    monkeypatch.setattr(Collection, "_found", fail)


def new_layer(store: Store) -> str:
    draft = store.scratch.new()
    os.mkdir(os.path.join(draft, b"tree"))
    with open(os.path.join(draft, b"owners"), "wb") as file:
        file.write(b"sundog-owners 1\n")
    return store.layers.add_own(draft, LayerInfo())


def layers_in(storage: Path) -> set[str]:
    return set(os.listdir(storage / "layers"))


def users_of(storage: Path, layer: str) -> set[str]:
    notes = (storage / "layers" / layer / "users").iterdir()
    return {os.readlink(note).removeprefix("../../../") for note in notes}


@pytest.mark.usefixtures("only_what_is_gone")
def test_what_anything_else_uses_stays(open_store: Callable[[], Store], storage: Path) -> None:
    with open_store() as store:
        shared, cached, own = (new_layer(store) for _ in range(3))
        store.images.put(image("x", shared, cached, own), image("y", shared))
        store.cache.put("key", cached)
        store.cache.put("config", None, [own])
        store.cache.put("kept", None, [shared])
    with open_store() as store:
        store.deleted.remember(store.images.get("x"))
        store.images.delete("x")
    assert layers_in(storage) == {shared, cached}
    assert set(os.listdir(storage / "cache")) == {"key", "kept"}  # what "own" was needed for goes
    assert os.listdir(storage / "deleted") == []
    assert os.listdir(storage / "locks") == ["use"]
    assert users_of(storage, shared) == {"images/docker.io%library%y+latest", "cache/kept"} | {
        f"deleted/docker.io%library%{name}+latest" for name in "x"
    }
    with open_store() as store:
        store.images.put(image("y", cached))
    assert layers_in(storage) == {cached}


@pytest.mark.usefixtures("only_what_is_gone")
def test_an_entry_with_another_layer_keeps_the_old_one_no_more(
    open_store: Callable[[], Store], storage: Path
) -> None:
    with open_store() as store:
        old, new = new_layer(store), new_layer(store)
        store.cache.put("key", old)
        store.images.put(image("x", old), image("y", new))
        store.cache.put("key", new)
    with open_store() as store:
        store.images.delete("x", "y")
    assert layers_in(storage) == {new}


@pytest.mark.usefixtures("only_what_is_gone")
def test_documents_go_with_the_last_image_that_came_by_them(
    open_store: Callable[[], Store], storage: Path
) -> None:
    digest = Digest.of(b"{}")
    with open_store() as store:
        layer = new_layer(store)
        store.blobs.put(b"{}", digest)
        came = (replace(image(name, layer), blobs=(str(digest),)) for name in "xy")
        store.images.put(*came)
        store.images.put(image("z", layer))
    for name, is_kept in (("y", True), ("x", False)):
        with open_store() as store:
            store.images.delete(name)
        assert (storage / "blobs/sha256" / digest.encoded).exists() == is_kept


def test_a_note_of_a_killed_command(
    open_store: Callable[[], Store], storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store() as store:
        layer = new_layer(store)
        store.images.put(image("x", layer))
    child = os.fork()
    if not child:
        Store.open(str(storage)).images.delete("x")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert layers_in(storage) == {layer}
    with monkeypatch.context() as patched:
        patched.setattr(Collection, "_found", lambda _: pytest.fail("a look at everything"))
        open_store().close()
    assert layers_in(storage) == set()
    assert os.listdir(storage / "locks") == ["use"]


@pytest.mark.parametrize(
    "text", ["", "{}", '[{"directory": "x", "layers": ["../../x"]}]', "[" * 10000]
)
def test_a_damaged_note_is_a_look_at_everything(
    open_store: Callable[[], Store], storage: Path, text: str
) -> None:
    with open_store() as store:
        store.images.put(image("x", new_layer(store)))
        kept = layers_in(storage)
    with open_store() as store:
        store.layers.add(os.path.dirname(draft_of(store)), "0" * 20, LayerInfo())
    (storage / "locks/gone-1").write_text(text)
    open_store().close()
    assert layers_in(storage) == kept
    assert os.listdir(storage / "locks") == ["use"]


def draft_of(store: Store) -> bytes:
    draft = store.scratch.new()
    os.mkdir(os.path.join(draft, b"tree"))
    return os.path.join(draft, b"tree")


def test_a_storage_directory_of_the_first_format(
    storage: Path, open_store: Callable[[], Store]
) -> None:
    """There, Sundog 1.0 may have made images whose layers have no note of them."""
    open_store().close()
    (storage / "version").write_text("sundog 1\n")
    with open_store() as store:
        shared, own = new_layer(store), new_layer(store)
        store.images.put(image("x", shared, own), image("y", shared))
    assert not (storage / "layers" / own / "users").exists()
    with open_store() as store:
        store.images.delete("x")
    assert layers_in(storage) == {shared}
    assert (storage / "version").read_text() == "sundog 1\n"


def test_a_note_of_what_is_no_user(open_store: Callable[[], Store], storage: Path) -> None:
    with open_store() as store:
        layer = new_layer(store)
        store.images.put(image("x", layer), image("y"))
        for name in ("images/docker.io%library%y+latest", "images/gone", "cache/no", "../.."):
            (storage / "layers" / layer / "users" / name.replace("/", "-")).symlink_to(
                f"../../../{name}"
            )
        store.images.delete("x")
    assert layers_in(storage) == set()
    assert (storage / "version").exists()


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["overlay"])
def test_many_commands_with_the_same_names_and_layers(
    open_store: Callable[[], Store], storage: Path
) -> None:
    """No image loses a layer, and no layer is left, without a look at everything."""
    with open_store() as store:
        base = new_layer(store)
        store.images.put(image("base", base))

    def work(seed: int) -> None:
        choose = random.Random(seed)
        for _ in range(25):
            with Store.open(str(storage)) as store:
                store.images.get("base")
                known = {layer for name in "abc" for layer in _layers(store, name)}
                top = choose.choice([*known, new_layer(store)])
                match choose.randrange(3):
                    case 0:
                        names = choose.sample("abc", 2)
                        store.images.put(*(image(name, base, top) for name in names))
                    case 1:
                        _delete(store, choose.choice("abc"))
                    case _:
                        store.cache.put(f"{seed} {choose.randrange(3)}", top)

    children = []
    for seed in range(4):
        child = os.fork()
        if not child:
            status = 1
            try:
                work(seed)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    open_store().close()
    with open_store() as store:
        images = [store.images.get(entry.typed) for entry in store.images.entries()]
        needed = {layer for each in images for layer in each.layers}
        needed |= {entry.needs for entry in store.cache.entries()}
    assert layers_in(storage) == needed


def _layers(store: Store, name: str) -> tuple[str, ...]:
    try:
        return store.images.get(name).layers[1:]
    except NotInStorage:
        return ()


def _delete(store: Store, name: str) -> None:
    with suppress(NotInStorage):
        store.images.delete(name)
