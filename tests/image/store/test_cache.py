"""The build cache: entries that name a layer, no layer, or a layer that is gone or lags."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sundog.image.store import device
from sundog.image.store import storage as storages
from sundog.image.store.cache import CacheEntry, CacheHit
from sundog.image.store.layer_info import LayerInfo
from sundog.image.store.layer_tree import layer_nodes
from sundog.image.store.store import Store
from tests.image.store.conftest import image

pytestmark = pytest.mark.parametrize("driver", ["overlay"])  # the cache uses no driver


def add_layer(store: Store) -> str:
    draft = Path(store.scratch.new().decode())
    (draft / "tree").mkdir()
    (draft / "owners").write_bytes(b"sundog-owners 1\n")
    return store.layers.add_own(str(draft).encode(), LayerInfo())


def test_unknown_key_is_a_miss(store: Store) -> None:
    assert store.cache.get("0" * 64) is None


def test_entry_with_layer_and_entry_without(store: Store) -> None:
    layer = add_layer(store)
    store.cache.put("with", layer)
    store.cache.put("without", None, [layer])
    assert store.cache.get("with") == CacheHit(layer)
    assert store.cache.get("without") == CacheHit(None)
    entries = sorted(store.cache.entries(), key=lambda entry: entry.key)
    assert entries == [
        CacheEntry("with", layer, is_result=True),
        CacheEntry("without", layer, is_result=False),
    ]


def test_entry_is_replaced(store: Store) -> None:
    store.cache.put("key", None)
    layer = add_layer(store)
    store.cache.put("key", layer)
    assert store.cache.get("key") == CacheHit(layer)


def test_entry_whose_layer_is_gone_is_a_miss(store: Store, storage: Path) -> None:
    layer = add_layer(store)
    store.cache.put("key", layer)
    shutil.rmtree(storage / "layers" / layer)
    assert store.cache.get("key") is None


def test_pruning_keeps_what_images_have(store: Store) -> None:
    kept, dropped = add_layer(store), add_layer(store)
    for key, layer, below in (
        ("kept", kept, ()),
        ("on kept", None, (dropped, kept)),
        ("on nothing", None, ()),
        ("dropped", dropped, (kept,)),
        ("on dropped", None, (dropped,)),
    ):
        store.cache.put(key, layer, below)
    store.cache.forget_layer(dropped, ["dropped", "on dropped", "kept", "unknown"])
    assert {entry.key for entry in store.cache.entries()} == {"kept", "on kept", "on nothing"}
    assert store.cache.clear() == 3
    assert list(store.cache.entries()) == []


def test_size_is_that_of_the_contents(store: Store, storage: Path) -> None:
    layer = add_layer(store)
    tree = storage / "layers" / layer / "tree"
    (tree / "a").write_bytes(b"12345")
    (tree / "b").hardlink_to(tree / "a")
    (tree / "c").symlink_to("a")
    (tree / "locked").mkdir()
    (tree / "locked/d").write_bytes(b"678")
    (tree / "locked").chmod(0)
    assert store.layers.size(layer) == 8
    (tree / "a").write_bytes(b"")  # the store does not measure again
    assert store.layers.size(layer) == 8
    assert store.layers.info(layer).size == 8


def is_marked(storage: Path, key: str) -> bool:
    return os.readlink(storage / "cache" / key).startswith("lags/")


def test_an_entry_whose_layer_lags(open_store: Callable[[], Store], storage: Path) -> None:
    one, other = open_store(), open_store()
    layer = add_layer(one)
    one.cache.put("key", layer)
    assert is_marked(storage, "key")
    assert other.cache.get("key") == CacheHit(layer)
    other.images.put(image("img", layer))  # all that it refers to is on the device
    assert not is_marked(storage, "key")
    one.close()
    assert one.cache.get("key") == CacheHit(layer)


def test_closing_settles_what_lags(open_store: Callable[[], Store], storage: Path) -> None:
    with open_store() as store:
        store.cache.put("key", add_layer(store))
        assert is_marked(storage, "key")
    assert not is_marked(storage, "key")


def test_long_work_does_not_lag(
    store: Store, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.cache.put("early", add_layer(store))
    monkeypatch.setattr(device, "LAG_LIMIT", -1)
    store.cache.put("late", add_layer(store))
    assert not is_marked(storage, "early")
    assert not is_marked(storage, "late")


@pytest.mark.parametrize("what_is_lost", ["nothing", "layer.json", "users"])
def test_what_lagged_in_another_boot(
    open_store: Callable[[], Store],
    storage: Path,
    monkeypatch: pytest.MonkeyPatch,
    what_is_lost: str,
) -> None:
    killed = open_store()
    torn = add_layer(killed)
    killed.cache.put("key", torn)
    path = storage / "layers" / torn
    if what_is_lost == "layer.json":
        (path / "layer.json").write_bytes(b"")
    elif what_is_lost == "users":
        shutil.rmtree(path / "users")
    killed._storage.use_lock.release()
    monkeypatch.setattr(storages, "boot_id", lambda: "4af1e8b0-0000-0000-0000-000000000000")
    with open_store() as store:
        assert store.cache.get("key") is None
        assert {node.layer for node in layer_nodes(store)} <= {torn}
        layer = add_layer(store)
        store.cache.put("key", layer)
    with open_store() as store:
        assert store.cache.get("key") == CacheHit(layer)
        assert store.layers.list() == [layer]


def test_where_others_may_not_know_the_mark(
    store: Store, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storages, "is_shared", lambda *_: True)
    store.cache.put("key", add_layer(store))
    assert not is_marked(storage, "key")
