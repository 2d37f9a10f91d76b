"""The build cache: entries that name a layer, no layer, or a layer that is gone."""

import shutil
from pathlib import Path

import pytest

from sundog.image.store.cache import CacheEntry, CacheHit
from sundog.image.store.layer_info import LayerInfo
from sundog.image.store.store import Store

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
    assert store.cache.prune({kept}) == 2
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
