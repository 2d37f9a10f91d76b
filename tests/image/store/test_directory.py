"""The storage directory: Sundog makes it private, recognises it, and leaves others alone."""

import os
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from sundog.base.record.own_storage import read_version
from sundog.errors import StoreError
from sundog.image.store.directory import open_directory
from sundog.image.store.store import Store


def snapshot(path: Path) -> list[tuple[str, int, int]]:
    """Return all paths below ``path``, with modes and times of change."""
    return sorted(
        (str(p), p.lstat().st_mode, p.lstat().st_ctime_ns) for p in [path, *path.rglob("*")]
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_new_directory_is_private_whatever_the_umask(path: Path) -> None:
    for umask in (0, 0o077):
        previous = os.umask(umask)
        try:
            open_directory(os.fsencode(path))
        finally:
            os.umask(previous)
        assert path.stat().st_mode & 0o7777 == 0o700
        assert (path / "skeleton/etc").stat().st_mode & 0o7777 == 0o755
        assert (path / "skeleton/etc/passwd").stat().st_mode & 0o7777 == 0o644
        assert (path / "skeleton-build/tmp").stat().st_mode & 0o7777 == 0o1777
        shutil.rmtree(path)


def test_skeleton_of_builds_has_no_accounts(path: Path) -> None:
    open_directory(os.fsencode(path))
    assert sorted(os.listdir(path / "skeleton/etc")) == ["group", "hosts", "passwd", "resolv.conf"]
    assert sorted(os.listdir(path / "skeleton-build/etc")) == ["hosts", "resolv.conf"]


def test_every_image_has_mount_points_for_the_user(path: Path) -> None:
    points = [str(number) for number in range(10)]
    for _ in range(2):
        Store.open(str(path)).close()
        assert sorted(os.listdir(path / "skeleton/mnt")) == points
        assert (path / "skeleton/mnt/7").stat().st_mode & 0o7777 == 0o755
        shutil.rmtree(path / "skeleton/mnt")  # an earlier version did not make them
    (path / "skeleton/mnt").touch()
    Store.open(str(path)).close()  # they can't be made, but the store can be read
    assert (path / "skeleton/mnt").is_file()


def test_opening_again_changes_nothing(path: Path) -> None:
    Store.open(str(path)).close()
    before = snapshot(path)
    Store.open(str(path)).close()
    assert snapshot(path) == before


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o2755])
def test_empty_directory_is_taken_over_and_made_private(path: Path, mode: int) -> None:
    path.mkdir()
    path.chmod(mode)
    open_directory(os.fsencode(path))
    assert path.stat().st_mode & 0o7777 == 0o700


def make_charliecloud(path: Path) -> None:
    for name in ("bucache", "bularge", "dlcache", "img", "ulcache"):
        (path / name).mkdir(parents=True)
    (path / "version").write_text("7\n")
    (path / "lock").touch()


def make_files(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").touch()


def make_lookalike(path: Path) -> None:
    for name in ("images", "layers", "tmp"):
        (path / name).mkdir(parents=True)


@pytest.mark.parametrize("make", [make_charliecloud, make_files, make_lookalike])
def test_foreign_directory_is_refused_and_left_untouched(
    path: Path, make: Callable[[Path], None]
) -> None:
    make(path)
    before = snapshot(path)
    with pytest.raises(StoreError, match="not a Sundog storage directory, and not empty") as error:
        Store.open(str(path))
    assert "--storage" in error.value.hint
    assert snapshot(path) == before


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o740, 0o755])
def test_directory_open_to_others_is_refused_with_the_chmod(path: Path, mode: int) -> None:
    open_directory(os.fsencode(path))
    path.chmod(mode)
    with pytest.raises(StoreError, match=rf"is open to others \(mode 0{mode:o}\)") as error:
        open_directory(os.fsencode(path))
    assert error.value.hint == f"chmod 700 {path}"
    path.chmod(0o700)
    open_directory(os.fsencode(path))


def test_set_group_id_bit_that_came_later_is_refused_with_the_chmod(path: Path) -> None:
    open_directory(os.fsencode(path))
    path.chmod(0o2700)
    with pytest.raises(StoreError, match="set-group-ID bit") as error:
        open_directory(os.fsencode(path))
    assert error.value.hint == f"chmod g-s {path}"


def test_below_a_project_directory_storage_gets_the_primary_group(project: Path) -> None:
    store = project / "store"
    open_directory(os.fsencode(store))
    for path in (store, store / "layers", store / "skeleton/etc/passwd"):
        assert path.stat().st_gid == os.getegid()
        assert not path.stat().st_mode & 0o2000


def test_storage_of_another_group_is_refused(project: Path) -> None:
    store = project / "store"
    store.mkdir()
    store.chmod(0o700)
    (store / "version").write_text("sundog 1\n")
    with pytest.raises(StoreError, match="only one group can be mapped") as error:
        open_directory(os.fsencode(store))
    assert error.value.hint.startswith("newgrp users")


def test_other_format_is_refused_with_the_way_out(path: Path) -> None:
    open_directory(os.fsencode(path))
    (path / "version").write_text("sundog 99\n")
    with pytest.raises(StoreError, match="has format 'sundog 99', this version of Sundog knows"):
        open_directory(os.fsencode(path))


def test_storage_of_another_user_is_refused() -> None:
    with pytest.raises(StoreError, match="storage directory /usr belongs to root"):
        open_directory(b"/usr")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text("x"), "is not a directory"),
        (lambda path: path.symlink_to("nowhere"), "is a symlink to nowhere"),
    ],
)
def test_what_cannot_be_a_directory_is_refused(
    path: Path, make: Callable[[Path], object], message: str
) -> None:
    make(path)
    with pytest.raises(StoreError, match=message):
        open_directory(os.fsencode(path))


def test_missing_parent_and_forbidden_parent_say_why(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"can't make storage .*/a/b: No such file"):
        open_directory(os.fsencode(tmp_path / "a/b"))
    (tmp_path / "closed").mkdir(0)
    with pytest.raises(StoreError, match=r"can't reach storage .*Permission denied"):
        open_directory(os.fsencode(tmp_path / "closed/b"))


def test_symlink_to_storage_is_followed(path: Path, tmp_path: Path) -> None:
    open_directory(os.fsencode(path))
    (tmp_path / "link").symlink_to(path)
    open_directory(os.fsencode(tmp_path / "link"))


def test_symlink_to_an_empty_directory_is_followed(path: Path, tmp_path: Path) -> None:
    path.mkdir(0o700)
    (tmp_path / "link").symlink_to(path)
    open_directory(os.fsencode(tmp_path / "link"))
    assert (path / "version").exists()


def test_making_goes_on_where_a_killed_command_left_it(path: Path) -> None:
    complete = os.fsencode(path)
    open_directory(complete)
    reference = {p.relative_to(path) for p in path.rglob("*")}
    entries = [path / "version", *(p for p in path.iterdir() if p.name != "version")]
    shutil.rmtree(path)

    # The directory holds only the draft of the version file, whole or cut.
    path.mkdir(0o700)
    (path / ".sundog-version.0a1b").write_text("sun")
    open_directory(complete)
    (path / ".sundog-version.0a1b").unlink()
    assert {p.relative_to(path) for p in path.rglob("*")} == reference

    # The directory holds some of its parts; the part that is made last is missing.
    for entry in entries:
        if entry.name not in ("version", "images"):
            shutil.rmtree(entry)
    open_directory(complete)
    assert {p.relative_to(path) for p in path.rglob("*")} == reference
    assert read_version(complete) == b"sundog 2\n"


def test_another_process_claims_it_while_the_version_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(source: bytes, target: bytes) -> None:
        monkeypatch.undo()
        open_directory(os.fsencode(path))
        os.rename(source, target)

    monkeypatch.setattr("sundog.image.store.directory.os.rename", overtaken)
    open_directory(os.fsencode(path))
    assert read_version(os.fsencode(path)) == b"sundog 2\n"
    assert [name for name in os.listdir(path) if name.startswith(".")] == []


def test_another_process_makes_it_private_after_the_first_look(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(path: bytes) -> bytes | None:
        monkeypatch.undo()
        open_directory(path)
        return read_version(path)

    path.mkdir()
    path.chmod(0o755)
    monkeypatch.setattr("sundog.base.record.own_storage.read_version", overtaken)
    open_directory(os.fsencode(path))


def test_many_processes_open_a_new_directory_at_once(tmp_path: Path) -> None:
    for turn in range(40):
        path = tmp_path / str(turn)
        if turn % 2:
            path.mkdir()
            path.chmod(0o755)
        reading, writing = os.pipe()
        children = [_open_when_told(path, reading, writing) for _ in range(6)]
        os.close(reading)
        os.close(writing)  # all children start now
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 6
        assert [name for name in os.listdir(path) if name.startswith(".")] == []
        assert path.stat().st_mode & 0o7777 == 0o700


def _open_when_told(path: Path, reading: int, writing: int) -> int:
    child = os.fork()
    if child:
        return child
    try:
        os.close(writing)
        os.read(reading, 1)
        open_directory(os.fsencode(path))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
