"""An instruction's changes become a layer, the same one on both drivers."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from sundog.base.record.owners import OwnerRecord
from sundog.image.store.store import Store
from sundog.image.transfer.importer import import_image
from sundog.runtime.steps.step import in_root
from tests.image.store.conftest import ROOT_FILES, image, temporary_things, write_tar

Change = Callable[[int], object]


@pytest.fixture
def base(store: Store, root_tar: Path) -> str:
    (layer,) = import_image(store, str(root_tar), "base").layers
    return layer


def apply(store: Store, layers: tuple[str, ...], change: Change) -> str | None:
    """Carry out ``change`` on a snapshot as an instruction would, and commit it."""
    with store.driver.begin(layers) as snapshot:
        in_root([snapshot.root], lambda roots: change(roots[0]))
        return snapshot.commit()


def view(store: Store, layers: tuple[str, ...]) -> dict[str, str]:
    """Return the paths in an image of ``layers``, with the contents of the files."""

    def look(roots: list[int]) -> dict[str, str]:
        found = {}
        for directory, names, files, fd in os.fwalk(".", dir_fd=roots[0]):
            for name in names + files:
                path = os.path.normpath(os.path.join(directory, name))
                status = os.lstat(name, dir_fd=fd)
                if stat.S_ISREG(status.st_mode):
                    with open(os.open(name, os.O_RDONLY, dir_fd=fd)) as file:
                        found[path] = file.read()
                elif stat.S_ISLNK(status.st_mode):
                    found[path] = "-> " + os.readlink(name, dir_fd=fd)
                else:
                    found[path] = stat.filemode(status.st_mode)
        return found

    return in_root([store.driver.root(layers)], look)


def write(path: str, text: str) -> Change:
    def change(root: int) -> None:
        with open(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=root), "w"
        ) as f:
            f.write(text)

    return change


BASE_VIEW = {
    path: "drwxr-xr-x"
    if content is None
    else f"-> {content[0]}"
    if isinstance(content, tuple)
    else content.decode()
    for path, content in ROOT_FILES.items()
}


def test_a_snapshot_is_mounted_again(store: Store, base: str) -> None:
    """An instruction may be several commands, each with a container of its own."""

    def put(path: str) -> Callable[[list[int]], object]:
        return lambda roots: write(path, path)(roots[0])

    with store.driver.begin((base,)) as snapshot:
        in_root([snapshot.root], put("a"))
        in_root([snapshot.reopened()], put("b"))
        seen = in_root([snapshot.reopened()], lambda roots: os.listdir(roots[0]))
        layer = snapshot.commit()
    assert {"a", "b"} < set(seen)
    assert layer is not None
    assert view(store, (base, layer)) == BASE_VIEW | {"a": "a", "b": "b"}


def test_view_is_exactly_what_the_layers_hold(store: Store, base: str) -> None:
    assert view(store, (base,)) == BASE_VIEW
    assert view(store, ()) == {}


def names_in(root: int, path: str = ".") -> list[str]:
    fd = os.open(path, os.O_RDONLY, dir_fd=root)
    try:
        return sorted(os.listdir(fd))
    finally:
        os.close(fd)


def test_nothing_changed_is_no_layer(store: Store, base: str) -> None:
    assert apply(store, (base,), names_in) is None
    assert apply(store, (), lambda _: None) is None


def test_what_is_not_committed_is_discarded(store: Store, storage: Path, base: str) -> None:
    with store.driver.begin((base,)) as snapshot:
        in_root([snapshot.root], lambda roots: write("new", "x")(roots[0]))
    store.close()
    assert os.listdir(storage / "layers") == [base]
    assert temporary_things(storage) == []


def test_changes_make_a_layer_and_leave_the_base_alone(store: Store, base: str) -> None:
    def change(root: int) -> None:
        write("etc/motd", "changed\n")(root)
        write("usr/new", "new\n")(root)
        os.unlink("etc/link", dir_fd=root)
        os.unlink("bin/tool", dir_fd=root)
        os.rmdir("bin", dir_fd=root)
        os.mkdir("bin", dir_fd=root)
        write("bin/other", "")(root)

    layer = apply(store, (base,), change)
    assert layer is not None
    assert view(store, (base, layer)) == {
        "bin": "drwxr-xr-x",
        "bin/other": "",
        "etc": "drwxr-xr-x",
        "etc/motd": "changed\n",
        "usr": "drwxr-xr-x",
        "usr/new": "new\n",
    }
    assert view(store, (base,)) == BASE_VIEW
    owners = store.layers.owners(layer)
    assert owners[b"etc/link"].kind == "w"
    # Overlayfs marks the directory as new; the comparison finds that the file is gone.
    assert owners.get(b"bin", OwnerRecord("d")).opaque or owners[b"bin/tool"].kind == "w"


def test_layers_stack(store: Store, base: str) -> None:
    layers: tuple[str, ...] = (base,)
    for number in range(5):

        def change(root: int, number: int = number) -> None:
            if number:
                os.unlink(f"usr/{number - 1}", dir_fd=root)
            write(f"usr/{number}", str(number))(root)

        layer = apply(store, layers, change)
        assert layer is not None
        layers = (*layers, layer)
    assert view(store, layers) == BASE_VIEW | {"usr/4": "4"}


def test_image_from_nothing(store: Store) -> None:
    layer = apply(store, (), write("program", "x"))
    assert layer is not None
    assert view(store, (layer,)) == {"program": "x"}


def test_skeleton_is_there_during_the_instruction_and_not_in_the_layer(
    store: Store, base: str
) -> None:
    def change(root: int) -> None:
        assert names_in(root) == ["bin", "dev", "etc", "proc", "sys", "tmp", "usr"]
        assert names_in(root, "etc") == ["hosts", "link", "motd", "resolv.conf"]
        write("etc/new", "")(root)

    layer = apply(store, (base,), change)
    assert layer is not None
    assert view(store, (base, layer)) == BASE_VIEW | {"etc/new": ""}


def test_owners_below_are_handed_on(store: Store, tmp_path: Path) -> None:
    archive = write_tar(
        tmp_path / "x.tar",
        {"usr": None, "home": None, "home/file": b"1"},
        {
            "home": {"uid": 100, "gid": 102, "mode": 0o2750},
            "home/file": {"uid": 0, "gid": 42, "mode": 0o640},
        },
    )
    (base,) = import_image(store, str(archive), "x").layers

    def change(root: int) -> None:
        write("home/new", "")(root)
        with open(os.open("home/file", os.O_WRONLY | os.O_APPEND, dir_fd=root), "w") as file:
            file.write("2")

    layer = apply(store, (base,), change)
    assert layer is not None
    assert store.layers.owners(layer) == {
        b"home": OwnerRecord("d", 100, 102),
        b"home/file": OwnerRecord("f", 0, 42),
    }
    mode = os.stat(store.layers.tree(layer) + b"/home").st_mode
    assert stat.S_IMODE(mode) == 0o2750


@pytest.mark.parametrize("mode", [0o555, 0o1777])
def test_mode_of_the_root_is_the_images_own(
    store: Store, storage: Path, tmp_path: Path, mode: int
) -> None:
    archive = write_tar(tmp_path / "x.tar", {".": None, "usr": None}, {".": {"mode": mode}})
    (base,) = import_image(store, str(archive), "x").layers

    def change(root: int) -> None:
        assert stat.S_IMODE(os.fstat(root).st_mode) == mode
        write("usr/new", "")(root)

    layer = apply(store, (base,), change)
    assert layer is not None
    store.images.put(image("x", base, layer))
    root = storage / "images/docker.io%library%x+latest/root"
    assert stat.S_IMODE(root.stat().st_mode) == mode
    for tree in (storage / "trees").iterdir():
        assert stat.S_IMODE(tree.stat().st_mode) == mode
    assert store.layers.root_mode((base, layer)) == mode


def test_root_that_is_opaque_cuts_the_stack(store: Store, base: str, tmp_path: Path) -> None:
    opaque = write_tar(tmp_path / "o.tar", {".wh..wh..opq": b"", "only": b"this"})
    (layer,) = import_image(store, str(opaque), "o").layers
    assert store.layers.info(layer).root_opaque
    assert view(store, (base, layer)) == {"only": "this"}
    assert store.layers.visible((base, layer)) == [layer]


def test_image_is_run_from_what_ch_run_knows(store: Store, storage: Path, base: str) -> None:
    layer = apply(store, (base,), write("usr/new", "x"))
    assert layer is not None
    store.images.put(image("x", base, layer))
    trees = sorted((storage / "trees").iterdir())
    if store.driver.name == "overlay":
        assert trees == []
    else:
        tree = next(tree for tree in trees if (tree / "usr/new").exists())
        assert sorted(os.listdir(tree)) == [
            "bin",
            "ch",
            "dev",
            "etc",
            "mnt",
            "proc",
            "sys",
            "tmp",
            "usr",
        ]
        assert "passwd" in os.listdir(tree / "etc")


def test_snapshot_syncs_only_when_told_to(store: Store, base: str) -> None:
    for real_sync in (False, True):
        with store.driver.begin((base,), real_sync=real_sync) as snapshot:
            volatile = getattr(snapshot.root, "volatile", False)
            assert (volatile or snapshot.fake_sync) == (not real_sync)


@pytest.mark.slow
def test_many_layers(store: Store, tmp_path: Path) -> None:
    layers: list[str] = []
    for number in range(126):
        tar = write_tar(tmp_path / "x.tar", {f"f{number}": b""})
        layers += import_image(store, str(tar), "x").layers
    layer = apply(store, tuple(layers), write("new", ""))
    assert layer is not None
    assert len(view(store, (*layers, layer))) == 127


@pytest.mark.parametrize("name", ["a:b", "a,b", "a\\b", "a b", "a\n\tb", "ü\udcff"])
def test_storage_paths_of_any_characters(
    tmp_path: Path, root_tar: Path, driver: str, name: str
) -> None:
    with Store.open(str(tmp_path / name), driver=driver) as store:
        (base,) = import_image(store, str(root_tar), "x").layers
        layer = apply(store, (base,), write("new", "x"))
        assert layer is not None
        assert "new" in view(store, (base, layer))
