"""SIGKILL at any moment: the next command finds the old state or the new one, and no leftovers."""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from sundog.base.kernel.process import PR_SET_CHILD_SUBREAPER, prctl
from sundog.image.layer.remove import remove_tree
from sundog.image.store.moving import move, remove_moved
from sundog.image.store.store import Store
from sundog.image.transfer.importer import import_image
from sundog.runtime.container.root import OverlayRoot
from tests.conftest import KILLS
from tests.image.store.conftest import Files, contents, image, temporary_things, write_tar
from tests.image.store.test_moving import break_renames

SEED = random.SystemRandom().randrange(1 << 32)


def run_killed(operation: Callable[[], object], seconds: float | None, expected: int = 0) -> float:
    """Run ``operation`` in a process, kill it after ``seconds``, and return how long it took.

    Without ``seconds`` the process has to end with the status ``expected``.

    Returns when all processes that the operation made are gone.
    """
    go_read, go_write = os.pipe()
    told_read, told_write = os.pipe()
    middle = os.fork()
    if not middle:
        # It outlives all processes of the operation: those whose parents are dead become its own.
        prctl(PR_SET_CHILD_SUBREAPER, b"", 1)
        child = os.fork()
        if not child:
            status = 1
            try:
                os.read(go_read, 1)
                operation()
                status = 0
            finally:
                os._exit(status)
        os.write(told_write, b"%d\n" % child)
        _, status = os.waitpid(child, 0)
        with suppress(ChildProcessError):
            while True:
                os.wait()
        os.write(told_write, b"%d\n" % os.waitstatus_to_exitcode(status))
        os._exit(0)
    with open(told_read, closefd=False) as told:
        child = int(told.readline())
        started = time.monotonic()
        os.write(go_write, b"!")
        if seconds is not None:
            time.sleep(seconds)
            with suppress(ProcessLookupError):  # it has ended
                os.kill(child, signal.SIGKILL)
        status = int(told.readline())
    took = time.monotonic() - started
    os.waitpid(middle, 0)
    for fd in (go_read, go_write, told_read, told_write):
        os.close(fd)
    assert status in ((expected,) if seconds is None else (0, -signal.SIGKILL))
    return took


def many_files(content: bytes) -> Files:
    directory: Files = {"usr": None}
    return directory | {f"usr/{number}": content for number in range(60)}


class Bench:
    """A store with an image ``old``, in which a test kills operations."""

    def __init__(self, storage: Path, driver: str, tmp_path: Path) -> None:
        self.storage = storage
        self.driver = driver
        self.old_tar = str(write_tar(tmp_path / "old.tar", many_files(b"old")))
        self.new_tar = str(write_tar(tmp_path / "new.tar", many_files(b"new" * 2000)))
        with self.open() as store:
            self.old = import_image(store, self.old_tar, "old")
            self.old_tree = Path(os.fsdecode(store.layers.tree(self.old.layers[0])))
        self.old_contents = contents(self.old_tree)

    def open(self) -> Store:
        return Store.open(str(self.storage), driver=self.driver)

    def check(self, names: set[str]) -> set[str]:
        """Check the store that the next command finds after a kill; return its images' names.

        ``names``: the images that the store may have besides ``old``.
        """
        with self.open() as store:
            images = {image.typed: image for image in store.images.list()}
            assert set(images) <= names | {"old"}
            assert images["old"] == self.old
            assert contents(self.old_tree) == self.old_contents
            for found in images.values():
                for layer in found.layers:
                    assert len(contents(Path(os.fsdecode(store.layers.tree(layer))))) >= 60
                    store.layers.owners(layer)
                tree = store.driver.tree_of_image(found.layers)
                assert not tree or len(contents(self.storage / "trees" / os.fsdecode(tree))) > 60
        assert temporary_things(self.storage) == []
        self.check_no_orphans()
        return set(images)

    def check_no_orphans(self) -> None:
        with self.open() as store:
            wanted = {layer for image in store.images.list() for layer in image.layers}
            wanted |= {entry.needs for entry in store.cache.entries() if entry.is_result}
            assert set(os.listdir(self.storage / "layers")) == wanted


@pytest.fixture
def bench(storage: Path, driver: str, tmp_path: Path) -> Bench:
    return Bench(storage, driver, tmp_path)


def moments(operation: Callable[[], object], reset: Callable[[], object]) -> list[float]:
    """Return random moments within the time that ``operation`` takes."""
    took = run_killed(operation, None)
    reset()
    print(f"seed {SEED}, {KILLS} kills within {took:.3f} s")
    generator = random.Random(SEED)
    return sorted(generator.uniform(0, took * 1.05) for _ in range(KILLS))


@pytest.mark.slow
def test_killed_import(bench: Bench) -> None:
    def operation() -> None:
        with bench.open() as store:
            import_image(store, bench.new_tar, "new")

    def remove() -> None:
        with bench.open() as store:
            if store.images.matching("new")["new"]:
                store.images.delete("new")

    for moment in moments(operation, remove):
        run_killed(operation, moment)
        bench.check({"new"})
        remove()


@pytest.mark.slow
def test_killed_replacement(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader finds the replaced image at any time, in its old form or its new one."""
    changed = image("x", *bench.old.layers, env=("N=2",))

    def operation() -> None:
        with bench.open() as store:
            for _ in range(5):
                store.images.put(changed)

    def restore() -> None:
        with bench.open() as store:
            store.images.put(image("x", *bench.old.layers, env=("N=1",)))

    restore()
    for moment in moments(operation, restore):
        run_killed(operation, moment)
        assert bench.check({"x"}) == {"old", "x"}
        with bench.open() as store:
            assert store.images.get("x").config.env in (("N=1",), ("N=2",))
        restore()


@pytest.mark.slow
def test_killed_commit(bench: Bench) -> None:
    def operation() -> None:
        with bench.open() as store:
            base = store.images.get("old").layers
            with store.driver.begin(base) as snapshot:
                root = snapshot.root
                if isinstance(root, OverlayRoot):
                    assert root.upper is not None
                    path = os.path.join(root.base, root.upper)
                else:
                    path = root.directory
                for number in range(60):
                    with open(os.path.join(path, b"%d" % number), "wb") as file:
                        file.write(b"new" * 2000)
                layer = snapshot.commit()
            assert layer is not None
            store.cache.put("key", layer)
            store.images.put(image("built", *base, layer))

    def remove() -> None:
        with bench.open() as store:
            if store.images.matching("built")["built"]:
                store.images.delete("built")
            if store.cache.get("key"):
                store.cache.forget("key")

    for moment in moments(operation, remove):
        run_killed(operation, moment)
        bench.check({"built"})
        with bench.open() as store:
            hit = store.cache.get("key")
            assert hit is None or hit.layer is not None
        remove()


@pytest.mark.slow
def test_killed_delete_and_collection(bench: Bench) -> None:
    def prepare() -> None:
        with bench.open() as store:
            import_image(store, bench.new_tar, "new")

    def operation() -> None:
        with bench.open() as store:
            store.images.delete("new")

    prepare()
    for moment in moments(operation, prepare):
        run_killed(operation, moment)
        names = bench.check({"new"})
        if "new" not in names:
            prepare()


@pytest.mark.slow
def test_killed_move(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At least one of both places has the whole storage; what is left beside them is removed."""
    storage, target = bench.storage, tmp_path / "there"
    break_renames(monkeypatch, storage)

    def operation() -> None:
        move(os.fsencode(storage), os.fsencode(target), print)

    def back() -> None:
        bench.storage = storage
        for path in tmp_path.glob("storage.moved-*"):
            remove_tree(os.fsencode(path))
        if not storage.exists():
            os.rename(target, storage)
        remove_tree(os.fsencode(target))

    for moment in moments(operation, back):
        run_killed(operation, moment)
        for place in (storage, target):
            if place.exists():
                bench.storage = place
                bench.old_tree = place / bench.old_tree.relative_to(bench.old_tree.parents[2])
                bench.check(set())
        assert storage.exists() or target.exists()
        if target.exists() and not storage.exists():
            remove_moved(os.fsencode(target), print)
            assert not list(tmp_path.glob("storage.moved-*"))
        back()
    bench.storage = storage
    bench.old_tree = storage / bench.old_tree.relative_to(bench.old_tree.parents[2])
    operation()
    assert [path.name for path in tmp_path.glob("there*")] == ["there"]


@pytest.mark.slow
def test_killed_collector_of_leftovers(bench: Bench) -> None:
    """A command that cleans up after a killed command may be killed as well."""

    def leave() -> None:
        def operation() -> None:
            store = bench.open()
            import_image(store, bench.new_tar, "new")
            store.images.delete("new")
            os.kill(os.getpid(), signal.SIGKILL)

        run_killed(operation, None, -signal.SIGKILL)

    def operation() -> None:
        with bench.open() as store:
            store.collect()

    leave()
    for moment in moments(operation, leave):
        run_killed(operation, moment)
        bench.check(set())
        leave()
