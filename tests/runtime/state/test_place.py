"""The place of run-time state: private, of this boot, and nowhere that every container sees."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sundog.base.kernel.living_process import boot_id
from sundog.base.record.own_storage import claim_storage
from sundog.errors import StoreError, SundogError
from sundog.image.store.storage import Storage
from sundog.runtime.state.place import CONTAINERS, OCI, forgotten_boots, given_place, state_place

OLD, YOUNG = "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0", "1c0d3e2f-5a4b-7c6d-9e8f-b0a1d2c3f4e5"  # boots


def place(environment: dict[str, Path | str], *, make: bool = True) -> Path:
    encoded = {name.encode(): os.fsencode(value) for name, value in environment.items()}
    return Path(os.fsdecode(state_place(encoded, CONTAINERS, make=make)))


def test_run_time_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    found = place({"XDG_RUNTIME_DIR": tmp_path, "CH_IMAGE_STORAGE": tmp_path / "storage"})
    assert found == tmp_path / "sundog" / "containers"
    assert found.parent.stat().st_mode & 0o777 == 0o700
    assert not (tmp_path / "storage").exists()


@pytest.mark.parametrize("runtime", ["", "relative", "/no/such", "open", "file", "/dev", "tmp"])
def test_storage(runtime: str, tmp_path: Path) -> None:
    """A directory that others can enter does not count, or one that each container sees."""
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "file").touch(mode=0o600)
    storage = tmp_path / "storage"
    with tempfile.TemporaryDirectory(dir="/tmp") as seen:
        (tmp_path / "tmp").symlink_to(seen)
        if runtime in ("open", "file", "tmp"):
            runtime = f"{tmp_path}/{runtime}"
        environment: dict[str, Path | str] = {
            "XDG_RUNTIME_DIR": runtime,
            "CH_IMAGE_STORAGE": storage,
        }
        found = place(environment, make=False)
        assert not storage.exists()
        assert place(environment) == found == storage / "run" / boot_id() / "containers"
        assert os.listdir(seen) == []
    for made in (storage, storage / "run", found.parent):
        assert made.stat().st_mode & 0o777 == 0o700
    claim_storage(os.fsencode(storage))  # it is a storage directory, which ch-image can use


def test_refused(tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    storage.mkdir(mode=0o700)
    (storage / "file").touch()
    with pytest.raises(StoreError, match="not a Sundog storage directory"):
        place({"CH_IMAGE_STORAGE": storage})
    (storage / "file").unlink()
    (storage / "elsewhere").mkdir()
    place({"CH_IMAGE_STORAGE": tmp_path / "other"})
    (tmp_path / "other" / "run" / boot_id()).rmdir()
    (tmp_path / "other" / "run").rmdir()
    (tmp_path / "other" / "run").symlink_to(storage / "elsewhere")
    with pytest.raises(SundogError, match="not a directory that is yours alone"):
        place({"CH_IMAGE_STORAGE": tmp_path / "other"})
    assert os.listdir(storage / "elsewhere") == []


def test_other_boots(tmp_path: Path) -> None:
    """Those in which no container was made for a month are removed, with all in them."""
    environment: dict[str, Path | str] = {"CH_IMAGE_STORAGE": tmp_path / "storage"}
    own = place(environment).parent
    for name, age in ((OLD, 31), (YOUNG, 29), ("others", 99), (own.name, 99)):
        made = own.parent / name / "containers" / "web"
        made.mkdir(parents=True)
        os.utime(own.parent / name, (0, made.stat().st_mtime - age * 86400))
    path = os.fsencode(tmp_path / "storage")
    assert forgotten_boots(path + b"/run") == [path + b"/run/" + OLD.encode()]
    for name in ("tmp", "tmp/trash"):
        (tmp_path / "storage" / name).mkdir()
    Storage(path).collect_leftovers()
    assert sorted(os.listdir(own.parent)) == sorted([own.name, YOUNG, "others"])
    place(environment)
    assert own.stat().st_mtime > own.parent.parent.stat().st_mtime - 86400


@pytest.fixture
def configure(tmp_path: Path) -> Callable[[str], dict[str, Path | str]]:
    """Give what writes the user's file, and returns the variables for it."""
    directory = tmp_path / "config" / "sundog"
    directory.mkdir(parents=True)

    def write(text: str) -> dict[str, Path | str]:
        (directory / "sundog.toml").write_text(f"run.state = '{text}'\n")
        for path in (tmp_path, directory.parent, directory, directory / "sundog.toml"):
            path.chmod(0o700)
        return {
            "XDG_CONFIG_HOME": directory.parent,
            "XDG_CACHE_HOME": tmp_path / "cache",
            "XDG_RUNTIME_DIR": tmp_path,
            "CH_IMAGE_STORAGE": tmp_path / "storage",
        }

    return write


Configure = Callable[[str], dict[str, Path | str]]


def test_the_configuration(configure: Configure, tmp_path: Path) -> None:
    """It comes before the variable; old boots are removed when another one begins.

    What else is in the directory is the user's.
    """
    environment = configure(f"{tmp_path}/$NAME/%U")
    assert place(environment, make=False) == tmp_path / "sundog" / "containers"  # it is unset
    environment["NAME"] = "state"
    top = tmp_path / "state" / str(os.geteuid())
    users = ["thesis", f"{OLD}.txt", OLD.upper(), OLD.replace("-", "")]
    for name, age in ((OLD, 31), (YOUNG, 29), *((name, 99) for name in users)):
        (top / name / "containers").mkdir(parents=True, mode=0o700)
        os.utime(top / name, (0, (top / name).stat().st_mtime - age * 86400))
    top.chmod(0o700)
    assert place(environment, make=False) == top / boot_id() / "containers"
    assert not (top / boot_id()).exists()
    assert place(environment) == top / boot_id() / "containers"
    assert (top / boot_id()).stat().st_mode & 0o777 == 0o700
    assert sorted(os.listdir(top)) == sorted([boot_id(), YOUNG, *users])
    assert not (tmp_path / "storage").exists()
    assert not (tmp_path / "sundog").exists()


def test_a_place_of_the_configuration_that_cannot_be(configure: Configure, tmp_path: Path) -> None:
    """It is an error that names the key: nobody would look for containers elsewhere."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o770)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("/tmp")
    for text, message in (
        ("/tmp/state", "every container sees /tmp/state"),
        ("/dev/shm/state", "every container sees /dev/shm/state"),
        (f"{tmp_path}/link/state", f"every container sees {tmp_path}/link/state"),
        (f"{tmp_path}/open", "nobody else can write"),
        (f"{tmp_path}/file", "it must be a directory of yours"),
        (f"{tmp_path}/file/x", f"cannot use the state directory {tmp_path}/file/x"),
        ("/proc/none/x", "can't make /proc/none/x"),
        ("/usr", "it must be a directory of yours"),
    ):
        with pytest.raises(SundogError) as wrong:
            place(configure(text))
        file = tmp_path / "config" / "sundog" / "sundog.toml"
        assert wrong.value.message.startswith(f"{file}: run.state: "), text
        assert message in wrong.value.message
        assert "not below /tmp or /dev" in wrong.value.hint


def test_given(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "a" / "b")
    assert given_place(path, make=False) == path
    assert not (tmp_path / "a").exists()
    assert given_place(path, make=True) == path
    os.chmod(path, 0o777)
    with pytest.raises(SundogError, match="nobody else can write"):
        given_place(path, make=False)
    assert OCI != CONTAINERS
