"""Things leave a store so that it stays in bounds."""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sundog.image.store.cache_mounts import CacheRequest
from sundog.image.store.retention import (
    EVERYTHING,
    Bounds,
    Plan,
    carry_out,
    clear_out,
    plan,
    plan_for,
)
from sundog.image.store.space import CACHE_MOUNT, IMAGE, RESULT, Item, Space
from sundog.image.store.store import Store
from tests.image.store.conftest import image, temporary_things
from tests.image.store.test_space import DAY, age, layer_of

SIZES = {"base": 100, "one": 10, "two": 20, "old": 7, "new": 9, "kept": 50}
SPACE = Space(
    [
        Item(IMAGE, "a", ("a",), 1.0, ("base", "one"), rank=9),
        Item(IMAGE, "b", ("b",), 5.0, ("base", "two"), rank=9),
        Item(IMAGE, "c", ("c",), 6.0, ("kept",), rank=9),
    ],
    [
        Item(RESULT, "RUN one", ("k1",), 1.0, ("one",), rank=1),
        Item(RESULT, "RUN old", ("k2", "k3"), 2.0, ("old",), rank=1),
        Item(RESULT, "RUN new", ("k4",), 4.0, ("new",), rank=2),
        Item(RESULT, "RUN kept", ("k5",), 0.0, ("kept",), rank=1),
    ],
    [Item(CACHE_MOUNT, "pip", ("p",), 3.0, size=30)],
    SIZES,
    frozenset({"kept"}),
    changed=4,
    downloads=0,
    held=0,
)
TOTAL = sum(SIZES.values()) + 30 + 4


@pytest.mark.parametrize(
    ("bounds", "images", "leaving", "left"),
    [
        (Bounds(), "abc", [], TOTAL),
        (EVERYTHING, "", ["RUN old", "pip", "RUN new"], TOTAL - 7 - 30 - 9),
        (Bounds(oldest=3.5), "", ["RUN old", "pip"], TOTAL - 7 - 30),
        (Bounds(limit=TOTAL - 1), "", ["RUN old"], TOTAL - 7),
        (Bounds(limit=TOTAL - 8), "", ["RUN old", "pip"], TOTAL - 37),
        (Bounds(limit=0), "", ["RUN old", "pip", "RUN new"], TOTAL - 46),
        # The image's own layer is free when the result has gone, too; the base when both have.
        (Bounds(limit=TOTAL - 1), "abc", ["a", "RUN one"], TOTAL - 10),
        (Bounds(oldest=2.5), "ab", ["a", "RUN one", "RUN old"], TOTAL - 17),
        (EVERYTHING, "ab", ["a", "RUN one", "RUN old", "pip", "RUN new", "b"], 50 + 4),
        # What a container needs frees nothing, and its results stay.
        (EVERYTHING, "abc", ["a", "RUN one", "RUN old", "pip", "RUN new", "b", "c"], 50 + 4),
        (Bounds(limit=0, youngest=3.0), "abc", ["a", "RUN one", "RUN old"], TOTAL - 17),
    ],
)
def test_plans(bounds: Bounds, images: str, leaving: list[str], left: int) -> None:
    found = plan(SPACE, bounds, lambda item: item.name in images)
    assert [each.item.name for each in found.leaving] == leaving
    assert (found.total, found.left) == (TOTAL, left)
    assert found.total - found.left == sum(each.freed for each in found.leaving)
    assert found.count(RESULT) == sum(
        {"RUN one": 1, "RUN old": 2, "RUN new": 1}.get(name, 0) for name in leaving
    )


def test_bounds_of_words() -> None:
    assert Bounds.of(None, None) == Bounds(-math.inf, math.inf)
    assert Bounds.of(0, 5) == Bounds(math.inf, 5)
    assert time.time() - Bounds.of(3, None).oldest == pytest.approx(3 * DAY, abs=60)


def names(found: Plan) -> list[str]:
    return [each.item.name for each in found.leaving]


@pytest.fixture
def filled(open_store: Callable[[], Store], storage: Path, tmp_path: Path) -> dict[str, str]:
    """Fill a store: images x (3 days old) and y, results k1 (2 days), k2; return the layers."""
    with open_store() as store:
        layers = {name: layer_of(store, tmp_path, name.encode()) for name in ("1", "2", "3", "4")}
        store.images.put(image("x", layers["1"], layers["2"]), image("y", layers["1"]))
        store.cache.put("k1", layers["3"])
        store.cache.put("k2", layers["4"])
        store.images.delete("1", "2", "3", "4")
        with store.cache_mounts.use([CacheRequest("pip", "shared")], lambda _: None) as (mount,):
            Path(os.fsdecode(mount.path.tree), "wheel").write_bytes(bytes(100))
    (stack,) = storage.glob("images/*x+latest/stack")
    (lock,) = storage.glob("cache-mounts/*/lock")
    age(stack, 3 * DAY)
    age(storage / "cache/k1", 2 * DAY)
    age(lock, 4 * DAY)
    return layers


@pytest.mark.parametrize("seconds", [math.inf, 60])
def test_what_leaves_is_gone(
    open_store: Callable[[], Store], storage: Path, filled: dict[str, str], seconds: float
) -> None:
    with open_store() as store:
        found = plan_for(store, Bounds.of(1, None), lambda _: True)
        assert [name.partition(" ")[0] for name in names(found)] == ["pip", "x", filled["3"]]
        assert len(carry_out(store, found.leaving, seconds)) == 3
    assert {path.name for path in (storage / "layers").iterdir()} == {filled["1"], filled["4"]}
    assert [path.name for path in (storage / "cache").iterdir()] == ["k2"]
    assert not any((storage / "cache-mounts").iterdir())
    assert temporary_things(storage) == []
    with open_store() as store:
        assert [each.typed for each in store.images.list()] == ["y"]
        assert store.images.get("y").layers == (filled["1"],)


def test_names_stay_unless_asked(
    open_store: Callable[[], Store], storage: Path, filled: dict[str, str]
) -> None:
    with open_store() as store:
        assert names(clear_out(store, EVERYTHING))[0] == "pip"
    with open_store() as store:
        assert [each.typed for each in store.images.list()] == ["x", "y"]
    assert {path.name for path in (storage / "layers").iterdir()} == {filled["1"], filled["2"]}


@pytest.mark.parametrize("driver", ["overlay"])
def test_a_bound_of_time(
    open_store: Callable[[], Store], storage: Path, filled: dict[str, str]
) -> None:
    with open_store() as store:
        found = plan_for(store, EVERYTHING, lambda _: True)
        assert carry_out(store, found.leaving, -1) == []
    assert len(list((storage / "layers").iterdir())) == len(filled)


@pytest.mark.parametrize("driver", ["overlay"])
def test_beside_a_running_build(
    open_store: Callable[[], Store], storage: Path, filled: dict[str, str]
) -> None:
    """Its layers stay until it ends, and its base keeps its name."""
    build = open_store()
    request = CacheRequest("pip", "shared")
    with build.cache_mounts.use([request], lambda _: None) as (mount,):
        assert build.cache.get("k2")
        base = build.images.get("x")
        age(storage / "cache/k2", 9 * DAY)
        age(next(storage.glob("cache-mounts/*/lock")), 9 * DAY)
        with open_store() as store:
            found = clear_out(store, EVERYTHING, lambda _: True)
        assert found.is_busy
        assert found.count(IMAGE) == 0
        assert os.path.exists(mount.path.tree)
        assert all((storage / "layers" / layer).exists() for layer in filled.values())
    build.images.put(image("new", *base.layers, filled["4"]))
    build.close()
    with open_store() as store:
        assert {each.typed for each in store.images.list()} == {"new", "x", "y"}
        assert not (storage / "layers" / filled["3"]).exists()


@pytest.mark.parametrize("driver", ["overlay"])
def test_an_image_that_is_used_meanwhile_stays(
    open_store: Callable[[], Store], storage: Path, filled: dict[str, str]
) -> None:
    with open_store() as store:
        found = plan_for(store, EVERYTHING, lambda _: True)
        assert "x" in names(found)
        os.utime(next(storage.glob("images/*x+latest/stack")))  # a start
        carry_out(store, found.leaving)
    with open_store() as store:
        assert [each.typed for each in store.images.list()] == ["x"]
    assert {path.name for path in (storage / "layers").iterdir()} == {filled["1"], filled["2"]}
