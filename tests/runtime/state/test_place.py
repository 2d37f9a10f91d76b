"""The place of run-time state: private, of this boot, and nowhere that every container sees."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from sundog.base.kernel.living_process import boot_id
from sundog.base.record.own_storage import claim_storage
from sundog.errors import StoreError, SundogError
from sundog.image.store.storage import Storage
from sundog.runtime.state.place import CONTAINERS, OCI, forgotten_boots, given_place, state_place


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
    for name, age in (("old", 31), ("young", 29), (own.name, 99)):
        made = own.parent / name / "containers" / "web"
        made.mkdir(parents=True)
        os.utime(own.parent / name, (0, made.stat().st_mtime - age * 86400))
    path = os.fsencode(tmp_path / "storage")
    assert forgotten_boots(path) == [path + b"/run/old"]
    for name in ("tmp", "tmp/trash"):
        (tmp_path / "storage" / name).mkdir()
    Storage(path).collect_leftovers()
    assert sorted(os.listdir(own.parent)) == sorted([own.name, "young"])
    place(environment)
    assert own.stat().st_mtime > own.parent.parent.stat().st_mtime - 86400


def test_given(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "a" / "b")
    assert given_place(path, make=False) == path
    assert not (tmp_path / "a").exists()
    assert given_place(path, make=True) == path
    os.chmod(path, 0o777)
    with pytest.raises(SundogError, match="nobody else can write"):
        given_place(path, make=False)
    assert OCI != CONTAINERS
