"""One name has an image for each platform: where it is, which one is meant, what collects it."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sundog.base.record.platform_names import parse_platform, platform_key, platform_of_key
from sundog.errors import NotInStorage, StoreError, UsageError
from sundog.image.oci.platform import Platform
from sundog.image.transfer.importer import import_image
from tests.image.store.conftest import image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sundog.image.store.image_files import Image
    from sundog.image.store.store import Store

HOST = Platform.of_host()
FOREIGN, OTHER = (
    Platform.parse(name) for name in ("riscv64", "arm/v6") if Platform.parse(name) != HOST
)
PLAIN = "docker.io%library%x+latest"


def image_for(platform: Platform, name: str = "x", **config: object) -> Image:
    return image(name, architecture=platform.architecture, variant=platform.variant, **config)


def put_as_1_0(store: Store, storage: Path, old: Image) -> None:
    """Put an image where Sundog 1.0 puts it, whatever its platform."""
    store.images.put(old)
    os.rename(storage / "images" / old.entry_name, storage / "images" / PLAIN)


@pytest.mark.parametrize("text", ["arm64", "arm/v6", "windows/amd64", "windows/arm/v7", "x_y-z"])
def test_keys_of_platforms_are_read_as_they_are_written(text: str) -> None:
    platform = parse_platform(text)
    key = platform_key(platform)
    assert "/" not in key
    assert platform_of_key(key) == platform


def test_images_for_other_platforms_lie_beside(store: Store, storage: Path) -> None:
    for platform in (FOREIGN, HOST, OTHER):
        store.images.put(image_for(platform))
    assert sorted(os.listdir(storage / "images")) == [
        PLAIN,
        f"{PLAIN}=arm%v6",
        f"{PLAIN}=riscv64",
    ]
    assert [each.platform for each in store.images.list()] == [HOST, OTHER, FOREIGN]
    assert store.images.get("x").platform == HOST
    for platform in (HOST, FOREIGN, OTHER):
        assert store.images.get("x", platform).platform == platform
    assert not any("=" in link for link in os.listdir(storage / "img"))


def test_without_a_platform_it_is_the_hosts_or_the_only_one(store: Store) -> None:
    store.images.put(image_for(FOREIGN))
    assert store.images.get("x").platform == FOREIGN
    store.images.put(image_for(OTHER))
    with pytest.raises(NotInStorage, match=f"for {OTHER}, {FOREIGN}, not for {HOST}"):
        store.images.get("x")
    with pytest.raises(NotInStorage, match="not for"):
        store.images.delete("x")
    store.images.put(image_for(HOST))
    assert store.images.get("x").platform == HOST
    with pytest.raises(NotInStorage, match=r"not in storage for linux/s390x: x; it is for"):
        store.images.get("x", Platform.parse("s390x"))


def test_a_variant_that_runs_older_ones_finds_them(store: Store) -> None:
    store.images.put(image_for(Platform.parse("arm/v6")))
    assert store.images.get("x", Platform.parse("arm/v7")).config.variant == "v6"
    with pytest.raises(NotInStorage):
        store.images.get("x", Platform.parse("arm/v5"))


def test_each_is_deleted_alone(store: Store) -> None:
    for platform in (FOREIGN, HOST, OTHER):
        store.images.put(image_for(platform))
    store.images.remove(store.images.get("x", OTHER))
    assert [each.platform for each in store.images.matching("x")["x"]] == [HOST, FOREIGN]
    store.images.delete("x")
    assert [each.platform for each in store.images.matching("*")["*"]] == [FOREIGN]
    store.images.delete("x")
    assert not store.images.has("x")


def test_an_image_of_the_same_platform_is_replaced(store: Store) -> None:
    for number in ("1", "2"):
        store.images.put(image_for(FOREIGN, env=(f"A={number}",)))
    assert [each.config.env for each in store.images.list()] == [("A=2",)]


def test_where_1_0_put_a_foreign_image_it_is_found(store: Store, storage: Path) -> None:
    put_as_1_0(store, storage, image_for(FOREIGN))
    assert store.images.get("x").platform == FOREIGN
    assert store.images.get("x", FOREIGN).platform == FOREIGN
    with pytest.raises(NotInStorage, match=f"not in storage for {OTHER}: x; it is for {FOREIGN}"):
        store.images.get("x", OTHER)


@pytest.mark.parametrize("new", [HOST, FOREIGN], ids=["host", "same"])
def test_a_foreign_image_of_1_0_makes_room(store: Store, storage: Path, new: Platform) -> None:
    put_as_1_0(store, storage, image_for(FOREIGN, env=("OLD=1",)))
    store.images.put(image_for(new, env=("NEW=1",)))
    assert store.images.get("x").config.env == ("NEW=1",)
    found = {each.platform: each.config.env for each in store.images.list()}
    both = {HOST: ("NEW=1",), FOREIGN: ("OLD=1",)}
    assert found == (both if new == HOST else {FOREIGN: ("NEW=1",)})
    assert (PLAIN in os.listdir(storage / "images")) == (new == HOST)


@pytest.mark.parametrize("architecture", ["../../x", "a=b", "x" * 70, "é"])
def test_what_is_no_platform_is_refused(store: Store, storage: Path, architecture: str) -> None:
    with pytest.raises(StoreError, match="its configuration is for not a platform"):
        store.images.put(image("x", architecture=architecture))
    assert os.listdir(storage / "images") == []


def test_a_name_that_leaves_no_room_for_the_platform_is_refused(store: Store) -> None:
    name = "docker.io/" + "x/" * 120 + "x:1"
    store.images.put(image_for(HOST, name))
    with pytest.raises(StoreError, match="too long to be stored for linux/riscv64"):
        store.images.put(image_for(FOREIGN, name))


def test_a_damaged_image_is_listed_and_deleted_with_its_platform(
    store: Store, storage: Path
) -> None:
    store.images.put(image_for(HOST))
    store.images.put(image_for(FOREIGN))
    (storage / "images" / f"{PLAIN}=riscv64" / "config.json").write_text("")
    (damaged,) = [each for each in store.images.list() if each.origin.startswith("damaged")]
    assert damaged.platform == FOREIGN
    store.images.remove(damaged)
    assert [each.platform for each in store.images.list()] == [HOST]


def test_notes_end_with_their_images(open_store: Callable[[], Store], storage: Path) -> None:
    store = open_store()
    store.images.put(image_for(FOREIGN))
    store.images.put(image_for(OTHER))
    assert sorted(os.listdir(storage / "platforms" / PLAIN)) == ["arm%v6", "riscv64"]
    store.images.remove(store.images.get("x", OTHER))
    store.close()
    assert os.listdir(storage / "platforms" / PLAIN) == ["riscv64"]
    store = open_store()
    store.images.delete("x")
    store.collect()
    assert os.listdir(storage / "platforms") == []


def test_a_deleted_image_comes_back_for_its_platform(store: Store, root_tar: Path) -> None:
    layers = import_image(store, str(root_tar), "kept").layers
    for platform in (FOREIGN, OTHER):
        store.images.put(replace(image_for(platform), layers=layers))
    gone = store.images.of_name("x")
    store.deleted.remember(*gone)
    store.images.remove(*gone)
    assert [each.platform for each in store.deleted.list()] == [OTHER, FOREIGN]
    with pytest.raises(NotInStorage, match=f"was deleted for {OTHER}, {FOREIGN}"):
        store.deleted.restore("x")
    assert store.deleted.restore("x", FOREIGN).platform == FOREIGN
    with pytest.raises(StoreError, match="image exists"):
        store.deleted.restore("x", FOREIGN)
    assert [each.platform for each in store.deleted.list()] == [OTHER]
    assert store.deleted.restore("x").platform == OTHER
    assert len(store.images.of_name("x")) == 2


def test_keys_are_no_way_out_of_the_directory() -> None:
    for architecture in ("..", ".", "", "a/b"):
        with pytest.raises(UsageError):
            platform_key(("linux", architecture, ""))
