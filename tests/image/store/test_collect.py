"""Garbage collection: what it removes, what it keeps, and which command has to wait."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sundog.errors import StoreError
from sundog.image.store.reset import reset
from sundog.image.store.store import Store
from sundog.image.transfer.importer import import_image, read_image
from tests.image.store.conftest import Files, image, temporary_things, write_tar


@pytest.fixture
def make_tar(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that makes a new tar, different from all earlier ones."""

    def make(name: str) -> str:
        files: Files = {"usr": None, f"usr/{name}": os.urandom(8)}
        return str(write_tar(tmp_path / f"{name}.tar", files))

    return make


def layers_in(storage: Path) -> list[str]:
    return sorted(os.listdir(storage / "layers"))


def test_delete_collects_what_only_that_image_used(
    open_store: Callable[[], Store], storage: Path, make_tar: Callable[[str], str]
) -> None:
    with open_store() as store:
        (only,) = import_image(store, make_tar("only"), "x").layers
        (shared,) = import_image(store, make_tar("shared"), "y").layers
        (cached,) = import_image(store, make_tar("cached"), "z").layers
        store.cache.put("key", cached)
        store.images.put(image("x", shared, only, cached))
    with open_store() as store:
        store.images.delete("x")
        store.images.delete("z")
    assert layers_in(storage) == sorted([shared, cached])
    assert os.listdir(storage / "trees") == (
        [] if driver_of(store) == "overlay" else [store.driver.tree_of_image((shared,)).decode()]
    )
    assert temporary_things(storage) == []


def driver_of(store: Store) -> str:
    return store.driver.name


def test_layers_of_a_command_at_work_are_kept_and_collected_at_its_end(
    open_store: Callable[[], Store], storage: Path, make_tar: Callable[[str], str]
) -> None:
    with open_store() as store:
        (base,) = import_image(store, make_tar("base"), "base").layers
    builder = open_store()
    builder.images.get("base")
    with open_store() as other:
        other.images.delete("base")
        assert not other.collect()
    assert layers_in(storage) == [base]
    builder.close()
    assert layers_in(storage) == []
    assert os.listdir(storage / "locks") == ["use"]


def test_layer_that_a_build_goes_on_using_survives_the_delete(
    open_store: Callable[[], Store], storage: Path, make_tar: Callable[[str], str]
) -> None:
    with open_store() as store:
        import_image(store, make_tar("base"), "base")
    with open_store() as builder:
        base = builder.images.get("base")
        with open_store() as other:
            other.images.delete("base")
        builder.images.put(image("built", *base.layers))
    assert layers_in(storage) == list(base.layers)


def test_lookers_need_no_lock_and_hold_nobody_up(
    open_store: Callable[[], Store], storage: Path, make_tar: Callable[[str], str]
) -> None:
    with open_store() as store:
        import_image(store, make_tar("base"), "base")
    looker = open_store()
    looker.images.list()
    with open_store() as other:
        other.images.delete("base")
    assert layers_in(storage) == []
    assert list(looker.images.list()) == []


def test_failed_command_leaves_no_layer_without_an_image(
    open_store: Callable[[], Store], storage: Path, make_tar: Callable[[str], str]
) -> None:
    def fail(source: str) -> None:
        with open_store() as store:
            read_image(store, source, "base", is_kept=True)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail(make_tar("base"))
    assert layers_in(storage) == []


def test_layer_for_the_command_alone_goes_with_it(
    open_store: Callable[[], Store], storage: Path, make_tar: Callable[[str], str]
) -> None:
    tar = make_tar("base")
    with open_store() as other, open_store() as store:
        (layer,) = read_image(store, tar, "base").layers
        other.hold()
        store.close()  # another command uses layers; that command has to collect
        assert layers_in(storage) == [layer]
        other.close()
        assert layers_in(storage) == []
    with open_store() as store:
        (layer,) = import_image(store, tar, "base").layers
    with open_store() as store:
        assert read_image(store, tar, "base").layers == (layer,)
    assert layers_in(storage) == [layer]


def test_cache_entry_of_a_lost_layer_is_forgotten(
    open_store: Callable[[], Store], storage: Path
) -> None:
    with open_store() as store:
        store.cache.put("key", "0" * 20)
        store.cache.put("none", None)
        store.cache.put("on lost", None, ["0" * 20])
        store.expect_garbage()
    assert os.listdir(storage / "cache") == ["none"]


def test_layer_of_a_running_container_is_kept_until_it_ends(
    open_store: Callable[[], Store], storage: Path, make_tar: Callable[[str], str]
) -> None:
    with open_store() as store:
        (layer,) = import_image(store, make_tar("base"), "base").layers
    tree = next((storage / "trees").glob("*"), storage / "layers" / layer / "tree")
    script = 'mount --bind "$1" /mnt && echo ready && read -r _ && ls /mnt/usr/base'
    container = subprocess.Popen(
        ["unshare", "-r", "-m", "sh", "-c", script, "sh", tree],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert container.stdout is not None
    assert container.stdout.readline() == b"ready\n"
    for _ in range(2):
        with open_store() as store:
            if store.images.matching("base")["base"]:
                store.images.delete("base")
        assert list(store.images.list()) == []
        assert temporary_things(storage) != []
    output, _ = container.communicate(b"\n")
    assert output == b"/mnt/usr/base\n"
    open_store().close()
    assert temporary_things(storage) == []


def test_reset_empties_the_storage(
    open_store: Callable[[], Store], storage: Path, make_tar: Callable[[str], str]
) -> None:
    with open_store() as store:
        import_image(store, make_tar("base"), "base")
        store.cache.put("key", None)
    for name in ("downloads", "accounts"):
        (storage / name).mkdir()
        (storage / name / "note").touch()
    reset(os.fsencode(storage))
    for name in ("images", "layers", "cache", "trees", "probe", "downloads", "accounts"):
        assert os.listdir(storage / name) == []
    assert temporary_things(storage) == []
    assert list(open_store().images.list()) == []


def test_reset_is_refused_while_another_command_works(open_store: Callable[[], Store]) -> None:
    store = open_store()
    store.images.put(image("x"))
    with pytest.raises(StoreError, match="is in use by another command"):
        reset(store.path)
    store.close()
    reset(store.path)


def test_reset_of_another_format_makes_the_directory_anew(
    open_store: Callable[[], Store], storage: Path
) -> None:
    open_store().close()
    (storage / "version").write_text("sundog 99\n")
    (storage / "new-thing").mkdir()
    (storage / "new-thing/closed").mkdir(0)
    reset(os.fsencode(storage))
    assert not (storage / "new-thing").exists()
    assert list(open_store().images.list()) == []


def test_reset_of_another_format_follows_a_symlink(
    open_store: Callable[[], Store], storage: Path, tmp_path: Path
) -> None:
    open_store().close()
    (storage / "version").write_text("sundog 99\n")
    (tmp_path / "link").symlink_to(storage)
    reset(os.fsencode(tmp_path / "link"))
    assert list(open_store().images.list()) == []


def test_reset_of_what_is_not_sundogs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(StoreError, match="not a Sundog storage directory"):
            reset(os.fsencode(path))
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_name_that_is_no_text_is_collected(
    open_store: Callable[[], Store], storage: Path
) -> None:
    with open_store() as store:
        os.mkdir(os.fsencode(storage) + b"/layers/\xff")
        store.expect_garbage()
    assert layers_in(storage) == []
