"""The store as a whole: parallel commands, other users, and what reading it costs."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from sundog.image.store.store import Store, default_path
from sundog.image.transfer.importer import import_image
from tests.conftest import RootHelper, until
from tests.image.store.conftest import contents, image, temporary_things, write_tar

WORK = """
import sys
from sundog.runtime.steps.step import in_root
from sundog.image.transfer.importer import import_image
from sundog.image.store.store import Store
from tests.image.store.conftest import image
import os

storage, driver, tar, name = sys.argv[1:]

def change(roots):
    os.mkdir(name, dir_fd=roots[0])

for round in range(5):
    with Store.open(storage, driver=driver) as store:
        base = import_image(store, tar, name + "-base").layers
        with store.driver.begin(base) as snapshot:
            in_root([snapshot.root], change)
            layer = snapshot.commit()
        store.cache.put(name, layer)
        store.images.put(image(name, *base, layer))
        store.images.put(image("both", *base, layer))
    with Store.open(storage, driver=driver) as store:
        store.images.delete(name + "-base")
"""


@pytest.mark.slow
def test_commands_side_by_side(storage: Path, driver: str, root_tar: Path, tmp_path: Path) -> None:
    other_tar = write_tar(tmp_path / "other.tar", {"usr": None, "usr/other": b""})
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    commands = [
        subprocess.Popen([sys.executable, "-c", WORK, storage, driver, tar, name], env=environment)
        for name, tar in (("a", root_tar), ("b", root_tar), ("c", other_tar))
    ]
    assert [command.wait() for command in commands] == [0, 0, 0]
    with Store.open(str(storage), driver=driver) as store:
        images = {image.typed: image for image in store.images.list()}
        assert set(images) == {"a", "b", "c", "both"}
        for name in "abc":
            tree = Path(os.fsdecode(store.layers.tree(images[name].layers[1])))
            assert contents(tree) == {name: None}
            hit = store.cache.get(name)
            assert hit is not None
            assert hit.layer == images[name].layers[1]
        assert images["both"].layers in [images[name].layers for name in "abc"]
        wanted = {layer for image in images.values() for layer in image.layers}

    def is_tidied() -> bool:
        """Collect; an image stays while another test has mounted a layer with the same ID."""
        with Store.open(str(storage), driver=driver) as store:
            store.expect_garbage()
        return temporary_things(storage) == []

    until(is_tidied, "an image stays")
    assert set(os.listdir(storage / "layers")) == wanted


def test_second_user_gets_nowhere(storage: Path, root_helper: RootHelper, root_tar: Path) -> None:
    with Store.open(str(storage), driver="overlay") as store:
        (layer,) = import_image(store, str(root_tar), "x").layers
    for directory in (storage, *storage.parents):  # all but storage is open to all
        if directory != storage and directory.stat().st_uid == os.getuid():
            directory.chmod(directory.stat().st_mode | 0o055)
    ask = root_helper.as_second_user
    for path in (storage, storage / "version", storage / "layers" / layer / "tree/etc/motd"):
        done = ask(["stat" if path == storage else "cat", str(path)])
        assert (done.returncode == 0) == (path == storage)
        assert path == storage or b"Permission denied" in done.stderr
    done = ask(["ls", str(storage)])
    assert b"Permission denied" in done.stderr


def test_default_path_is_what_ch_run_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CH_IMAGE_STORAGE", "/somewhere/\udcff")
    assert default_path() == "/somewhere/\udcff"
    monkeypatch.delenv("CH_IMAGE_STORAGE")
    name = pwd.getpwuid(os.geteuid()).pw_name
    for user in (name, "alice"):  # alice is not the user's name
        monkeypatch.setenv("USER", user)
        assert default_path() == f"/var/tmp/{name}.sundog"


def test_relative_path_is_meant_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Store.open("here", driver="overlay") as store:
        monkeypatch.chdir("/")
        store.images.put(image("x"))
    assert (tmp_path / "here/images/docker.io%library%x+latest").is_dir()


def test_a_look_makes_and_changes_nothing(storage: Path) -> None:
    with Store.open(str(storage), driver="overlay") as store:
        store.images.put(image("x"))
    before = {path: path.lstat().st_ctime_ns for path in storage.rglob("*")}
    with Store.open(str(storage)) as store:
        assert len(store.images.list()) == 1
        store.images.get("x")
    assert {path: path.lstat().st_ctime_ns for path in storage.rglob("*")} == before


HEAVY = {"pickle", "hashlib", "tarfile", "socket", "ssl", "subprocess", "shutil", "tempfile"}


def test_a_look_imports_nothing_heavy(storage: Path) -> None:
    with Store.open(str(storage), driver="overlay") as store:
        store.images.put(image("x"))
    program = (
        "import sys\n"
        "from sundog.image.store.store import Store\n"
        "with Store.open(sys.argv[1]) as store:\n"
        "    assert store.images.list()\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program, storage],
        env={"PYTHONPATH": str(Path(sys.modules["sundog"].__path__[0]).parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert loaded & HEAVY == set()
    assert {name for name in loaded if name.startswith("sundog.image.layer")} <= {
        "sundog.image.layer",
        "sundog.image.layer.remove",
    }
