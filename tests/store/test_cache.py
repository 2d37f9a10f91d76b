"""The build cache: entries that point to a layer, to none, or to one that is gone."""

import shutil
from pathlib import Path

import pytest

from sundog.store.cache import CacheHit
from sundog.store.layer_info import LayerInfo
from sundog.store.layers import random_layer_id
from sundog.store.store import Store

pytestmark = pytest.mark.parametrize("driver", ["overlay"])  # no driver is involved


def add_layer(store: Store) -> str:
    draft = Path(store.scratch.new().decode())
    (draft / "tree").mkdir()
    (draft / "owners").write_bytes(b"sundog-owners 1\n")
    return store.layers.add(str(draft).encode(), random_layer_id(), LayerInfo())


def test_unknown_key_is_a_miss(store: Store) -> None:
    assert store.cache.get("0" * 64) is None


def test_entry_with_layer_and_entry_without(store: Store) -> None:
    layer = add_layer(store)
    store.cache.put("with", layer)
    store.cache.put("without", None)
    assert store.cache.get("with") == CacheHit(layer)
    assert store.cache.get("without") == CacheHit(None)
    assert list(store.cache.layers()) == [("with", layer)]


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
