"""Records of containers: what another program has put there is neither read nor overwritten."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sundog.errors import UsageError
from sundog.runtime.state.records import Record, records

if TYPE_CHECKING:
    from pathlib import Path

STATE = {"pid": 5, "text": "\udcff é", "list": [1, None, True]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "records"
    path.mkdir(mode=0o700)
    return path


def record(root: Path, name: str = "web") -> Record:
    return Record(str(root), name)


def test_a_life(root: Path) -> None:
    web = record(root)
    with pytest.raises(FileNotFoundError):
        web.read()
    web.claim(STATE)
    assert web.read() == STATE
    assert (root / "web").stat().st_mode & 0o777 == 0o700
    assert (root / "web" / "state.json").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        web.claim({})
    web.write({"pid": 6})
    assert web.read() == {"pid": 6}
    os.close(web.make_file("log"))
    assert sorted(os.listdir(root / "web")) == ["log", "state.json"]
    record(root, "a+b").claim({})
    assert [each.name for each in records(str(root))] == ["a+b", "web"]
    web.remove()
    assert os.listdir(root) == ["a+b"]
    assert list(records(str(root / "none"))) == []


def test_reserved(root: Path) -> None:
    web = record(root)
    lock = web.reserve()
    assert web.is_locked()
    assert list(records(str(root))) == []
    with pytest.raises(FileExistsError):
        web.reserve()
    os.close(lock)
    assert not web.is_locked()


def test_no_link_is_followed(root: Path, tmp_path: Path) -> None:
    """A file of the user's at the other end of a link stays as it is, and says nothing."""
    victim = tmp_path / "victim"
    victim.write_text('{"pid": 1}')
    victim.chmod(0o600)
    web = record(root)
    web.claim(STATE)
    for name in ("state.json", "log", "lock", f"state.json~{os.getpid()}"):
        (root / "web" / name).unlink(missing_ok=True)
        (root / "web" / name).symlink_to(victim)
    with pytest.raises(OSError, match="Too many levels"):
        web.read()
    with pytest.raises(FileExistsError):
        web.make_file("log")
    for call in (web.lock, web.is_locked, lambda: web.open_file("log")):
        with pytest.raises(OSError, match="Too many levels"):
            call()
    web.write(STATE)
    assert web.read() == STATE
    assert victim.read_text() == '{"pid": 1}'
    os.rename(root / "web", tmp_path / "moved")
    (root / "web").symlink_to(tmp_path / "moved")
    for method in (web.read, web.open, lambda: web.write({}), lambda: web.make_file("new")):
        with pytest.raises(FileNotFoundError):
            method()
    assert not (tmp_path / "moved" / "new").exists()


def test_not_the_users_alone(root: Path, tmp_path: Path) -> None:
    web = record(root)
    web.claim(STATE)
    file = root / "web" / "state.json"
    file.chmod(0o602)
    with pytest.raises(ValueError, match="not a file of yours alone"):
        web.read()
    file.chmod(0o600)
    (tmp_path / "name").hardlink_to(file)
    with pytest.raises(ValueError, match="not a file of yours alone"):
        web.read()
    file.unlink()
    os.mkfifo(file, 0o600)
    with pytest.raises(ValueError, match="not a file of yours alone"):
        web.read()
    (root / "web").chmod(0o777)
    with pytest.raises(PermissionError):
        web.read()


@pytest.mark.parametrize("text", [b"", b"[]", b"1", b"\xff", b"[" * 100_000, b" " * (16 << 20 | 1)])
def test_damaged(text: bytes, root: Path) -> None:
    web = record(root)
    web.claim(STATE)
    (root / "web" / "state.json").write_bytes(text)
    with pytest.raises(ValueError):  # noqa: PT011 - each text has a reason of its own
        web.read()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a~b", "x" * 241, "é", "a\n"])
def test_names(name: str, root: Path) -> None:
    with pytest.raises(UsageError, match="invalid container ID"):
        record(root, name)
