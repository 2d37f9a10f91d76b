"""The space that each thing in a store needs, and the time of its last use."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sundog.base.record.owners import pack_owners
from sundog.base.record.stack import USE_FRESH
from sundog.image.store.cache_mounts import CacheRequest
from sundog.image.store.layer_info import LayerInfo
from sundog.image.store.space import CACHE_MOUNT, by_image, measure
from sundog.image.store.store import Store
from sundog.image.transfer.importer import import_image
from tests.image.store.conftest import image, write_tar

DAY = 86400


def layer_of(store: Store, tmp_path: Path, content: bytes) -> str:
    """Import a layer with a file of that content; delete its image."""
    name = content.decode()[0]
    tar = write_tar(tmp_path / f"{name}.tar", {"file": content})
    (layer,) = import_image(store, str(tar), name).layers
    return layer


def age(path: Path, seconds: float) -> float:
    """Let a file or a link be that old; return its time."""
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)
    return path.lstat().st_mtime


def test_a_shared_layer_counts_once(open_store: Callable[[], Store], tmp_path: Path) -> None:
    with open_store() as store:
        base, one = layer_of(store, tmp_path, b"base!"), layer_of(store, tmp_path, b"one")
        two = layer_of(store, tmp_path, b"2")
        store.images.delete("b", "o", "2")
        store.images.put(image("x", base, one), image("y", base), image("z", base, base))
        store.cache.put("key", two, (base,))
        with store.cache_mounts.use([CacheRequest("pip", "shared")], lambda _: None) as (mount,):
            Path(os.fsdecode(mount.path.tree), "wheel").write_bytes(bytes(100))
        space = measure(store)
    trees = sum(size for name, size in space.sizes.items() if name.startswith("trees/"))
    assert space.total - trees == 5 + 3 + 1 + 100
    found = {each.image.name: each for each in by_image(space)}
    if not trees:  # each of the images has one of its own
        assert [(found[name].own, found[name].shared) for name in "xyz"] == [(3, 5), (0, 5), (0, 5)]
    (result,) = space.results
    assert (result.layers, result.names) == ((two,), ("key",))
    (rest,) = space.rest
    assert (rest.kind, rest.name, rest.size) == (CACHE_MOUNT, "pip", 100)


@pytest.mark.parametrize("driver", ["overlay"])
def test_uses_are_noted_seldom(
    open_store: Callable[[], Store], storage: Path, tmp_path: Path
) -> None:
    request = CacheRequest("pip", "shared")
    with open_store() as store:
        store.images.put(image("x", layer := layer_of(store, tmp_path, b"1")))
        store.cache.put("key", layer)
        store.cache.put("empty", None, (layer,))
        with store.cache_mounts.use([request], lambda _: None):
            pass
    (stack,) = storage.glob("images/*x+latest/stack")
    (lock,) = storage.glob("cache-mounts/*/lock")
    places = (stack, lock, storage / "cache/key", storage / "cache/empty")

    def use() -> None:
        with open_store() as store:
            store.images.get("x")
            assert store.cache.get("key")
            assert store.cache.get("empty")
            with store.cache_mounts.use([request], lambda _: None):
                pass

    for seconds, is_noted in ((USE_FRESH - 60, False), (USE_FRESH + 60, True), (30 * DAY, True)):
        before = [age(place, seconds) for place in places]
        with open_store() as store:
            store.images.list()
            measure(store)
        assert [place.lstat().st_mtime for place in places] == before  # no use
        use()
        noted = [place.lstat().st_mtime != time for place, time in zip(places, before, strict=True)]
        assert noted == [is_noted] * len(places)
        assert all(place.lstat().st_mtime <= time.time() for place in places)


@pytest.mark.parametrize("driver", ["overlay"])
def test_a_result_is_as_young_as_what_was_made_on_it(
    open_store: Callable[[], Store], storage: Path, tmp_path: Path
) -> None:
    with open_store() as store:
        first = layer_of(store, tmp_path, b"1")
        draft = store.scratch.new()
        os.mkdir(draft + b"/tree")
        Path(os.fsdecode(draft), "owners").write_bytes(pack_owners({}))
        second = store.layers.add_own(draft, LayerInfo().made_by("RUN 2", (first,)))
        store.cache.put("1", first)
        store.cache.put("2", second, (first,))
        store.images.delete("1")
    age(storage / "cache/1", 9 * DAY)
    young = age(storage / "cache/2", 2 * DAY)
    with open_store() as store:
        results = {result.names: result for result in measure(store).results}
    assert results[("1",)].last_use == results[("2",)].last_use == young
    assert results[("2",)].name == "RUN 2"
    assert results[("2",)].rank > results[("1",)].rank  # of the same age, it goes first
