"""Containers that keep their changes: how these become layers, whatever happens meanwhile."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from sundog.base.record.owners import OwnerRecord, pack_owners
from sundog.errors import StoreError
from sundog.front.podman.container import NOBODY, Container
from sundog.front.podman.kept import Kept
from sundog.front.podman.users import NOTIFY, Who
from sundog.image.store.store import Store
from sundog.image.transfer.importer import import_image
from tests.image.store.conftest import ROOT_FILES, Files, write_tar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ID = "ab" * 32
BASE: Files = ROOT_FILES | {"etc/old": b"old\n"}


@pytest.fixture
def driver() -> str:
    """Return the only driver that keeps changes."""
    return "overlay"


@pytest.fixture
def kept(store: Store, storage: Path, tmp_path: Path) -> Kept:
    """Make a container that has run: it has added, changed and deleted files."""
    import_image(store, str(write_tar(tmp_path / "root.tar", BASE)), "img")
    place = Kept(str(storage))
    container = Container(
        "web",
        "img",
        ["sh"],
        identity=ID,
        words=["--", "img", "sh"],
        process=NOBODY,
        created=1,
        workdir="/",
        storage=str(storage),
        user=Who(NOTIFY),
        detached=False,
        kept=True,
    )
    assert place.make(container)
    run_once(storage)
    return place


def run_once(storage: Path, name: str = "new") -> None:
    """Leave what a run leaves."""
    place = storage / "containers" / ID
    (place / "upper" / name).write_text("mine\n")
    (place / "upper" / "etc").mkdir(exist_ok=True)
    os.mknod(place / "upper" / "etc" / "old", stat.S_IFCHR)
    (place / "work" / "work").mkdir(mode=0)
    records = {name.encode(): OwnerRecord("f", 42, 43)}
    (place / "owners").write_bytes(pack_owners(records))


def check(store: Store, storage: Path) -> None:
    """Check that the changes of the container are one layer, with their owners."""
    image = store.containers.image(ID)
    assert len(image.layers) == 2
    layer = image.layers[-1]
    tree = storage / "layers" / layer / "tree"
    assert (tree / "new").read_text() == "mine\n"
    owners = store.layers.owners(layer)
    assert (owners[b"new"].uid, owners[b"new"].gid, owners[b"etc/old"].kind) == (42, 43, "w")
    assert store.containers.changes(ID, 1) == [("C", b"etc"), ("D", b"etc/old"), ("A", b"new")]
    assert sorted(os.listdir(storage / "containers" / ID)) == [
        *("base.json", "image", "state.json", "upper", "work"),
    ]
    assert os.listdir(storage / "containers" / ID / "upper") == []


def test_settle(kept: Kept, store: Store, storage: Path) -> None:
    assert store.containers.changes(ID, 1) == [("C", b"etc"), ("D", b"etc/old"), ("A", b"new")]
    assert store.containers.size(ID, 1)[0] == 5
    image = store.containers.settle(ID, guessed=False)
    assert image == store.containers.image(ID)
    check(store, storage)
    assert store.containers.settle(ID, guessed=False) == image  # nothing new
    assert store.containers.size(ID, 1)[0] == 5
    assert len(image.config.diff_ids) == len(image.layers)
    assert kept.count_layers(ID) == 1


def test_more_runs_than_layers_can_be_stacked(
    kept: Kept, store: Store, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layers of the runs are joined; that of the image stays apart."""
    monkeypatch.setitem(vars(store.layers), "most_stacked", 4)
    base = store.containers.image(ID).layers
    for number in range(9):
        image = store.containers.settle(ID, guessed=False)
        assert len(image.layers) <= 4
        assert image.layers[:1] == base
        run_once(storage, f"run{number}")
    image = store.containers.settle(ID, guessed=False)
    changes = store.containers.changes(ID, kept.count_layers(ID))
    assert changes[:2] == [("C", b"etc"), ("D", b"etc/old")]
    assert changes[2:] == [("A", name.encode()) for name in ("new", *(f"run{n}" for n in range(9)))]
    made = [entry for entry in image.config.history if not entry.empty_layer]
    assert len(made) == len(image.layers)
    store.close()
    assert set(os.listdir(storage / "layers")) == set(image.layers)


# What settle calls, and after or before which a crash is tried.
STEPS = (
    ("sundog.image.store.containers", "os.makedirs"),
    ("sundog.image.store.containers", "os.unlink"),
    ("sundog.image.store.containers", "os.chmod"),
    ("sundog.image.store.worker", "TreeWorker.call"),
    ("sundog.image.store.storage", "Storage.write_file"),
    ("sundog.image.store.storage", "Storage.place"),
    ("sundog.image.store.images", "Images.draft"),
    ("sundog.image.store.images", "Images.replace"),
)


def crash_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process die at a step: before the step for even numbers, else after it."""
    left = [number]

    def dying(original: Callable[..., object]) -> Callable[..., object]:
        def step(*args: object, **kwargs: object) -> object:
            left[0] -= 1
            if left[0] == -1:
                os._exit(9)
            result = original(*args, **kwargs)
            left[0] -= 1
            if left[0] == -1:
                os._exit(9)
            return result

        return step

    for module, name in STEPS:
        path = f"{module}.{name}"
        holder = __import__(module, fromlist=["x"])
        *classes, function = name.split(".")
        for each in classes:
            holder = getattr(holder, each)
        monkeypatch.setattr(path, dying(getattr(holder, function)))


def test_crashes(kept: Kept, store: Store, storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that dies at any step loses nothing: the next one goes on."""
    store.close()
    crashes = 0
    while True:
        child = os.fork()
        if child == 0:
            try:
                crash_at(crashes, monkeypatch)
                with Store.open(str(storage), driver="overlay") as own:
                    own.containers.settle(ID, guessed=False)
                os._exit(0)
            finally:
                os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with Store.open(str(storage), driver="overlay") as other:
            other.collect()  # garbage collection takes nothing of it
            other.containers.settle(ID, guessed=False)
            check(other, storage)
            if status != 9:
                break
            # Once more, from the beginning.
            base = other.images.get("img")
            draft = other.images.draft(base)
            other.images.replace(draft, os.fsencode(storage / "containers" / ID / "image"))
        run_once(storage)
        crashes += 1
    assert status == 0
    assert crashes > 2 * len(STEPS)


def test_lost_records(kept: Kept, store: Store, storage: Path) -> None:
    """Without records, because the supervisor was killed, files inherit the owners below."""
    (storage / "containers" / ID / "owners").unlink()
    image = store.containers.settle(ID, guessed=False)
    assert b"new" not in store.layers.owners(image.layers[-1])


def test_garbage(kept: Kept, store: Store, storage: Path) -> None:
    """The layers of an image stay as long as a container has it."""
    image = store.containers.settle(ID, guessed=False)
    store.images.delete("img")
    assert store.collect()
    assert all(store.layers.exists(layer) for layer in image.layers)
    store.containers.remove(ID)
    assert store.containers.list() == []
    assert store.collect()
    assert not any(store.layers.exists(layer) for layer in image.layers)


def test_leftovers(kept: Kept, store: Store, storage: Path) -> None:
    """What a killed command has begun goes after a while, and what is in the making stays."""
    old, new = (storage / "containers" / f"{ID}~{name}" for name in ("old", "new"))
    for path in (old, new):
        path.mkdir()
    os.utime(old, (1, 1))
    assert store.collect()
    assert (old.exists(), new.exists()) == (False, True)
    assert store.containers.list() == [ID]


def test_damaged(kept: Kept, store: Store, storage: Path) -> None:
    (storage / "containers" / ID / "image" / "image.json").write_text("{}")
    with pytest.raises(StoreError, match="damaged container in storage"):
        store.containers.settle(ID, guessed=False)
    assert store.containers.images() == []


def test_clear(kept: Kept, store: Store, storage: Path) -> None:
    """Everything goes, when a command is told so."""
    store.clear()
    assert store.containers.list() == []
    assert kept.named("web") is None
