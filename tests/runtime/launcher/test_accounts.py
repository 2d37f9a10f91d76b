"""The accounts that the launcher leaves for the compiled ``ch-run``."""

import errno
import os
from pathlib import Path

import pytest

from sundog.runtime.launcher import accounts
from sundog.runtime.launcher.accounts import (
    Accounts,
    find_accounts,
    remember_accounts,
    with_account,
)
from sundog.runtime.launcher.messages import Messages

TEXTS = Accounts(b"passwd\n", b"group\n", is_lasting=True)


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    (tmp_path / "version").touch()
    return tmp_path


def remember(storage: Path, texts: Accounts = TEXTS) -> dict[str, bytes]:
    fd = os.open(storage, os.O_PATH | os.O_DIRECTORY)
    before = os.listdir("/proc/self/fd")
    remember_accounts(fd, 1, 2, texts)
    assert os.listdir("/proc/self/fd") == before
    os.close(fd)
    return {path.name: path.read_bytes() for path in storage.glob("accounts/*")}


def test_a_file_is_written_once_and_renewed(storage: Path) -> None:
    assert remember(storage) == {"1.2": b"passwd\n\0group\n\0"}
    path = storage / "accounts" / "1.2"
    assert path.stat().st_mode & 0o777 == 0o600
    first = path.stat().st_ino
    remember(storage)
    assert path.stat().st_ino == first
    os.utime(path, (0, path.stat().st_mtime - accounts.ACCOUNTS_RENEWED - 1))
    remember(storage)
    assert path.stat().st_ino != first
    other = Accounts(b"other\n", b"group\n", is_lasting=True)
    assert remember(storage, other) == {"1.2": b"other\n\0group\n\0"}


def test_nothing_is_written_where_no_storage_is(tmp_path: Path) -> None:
    assert remember(tmp_path) == {}
    assert not (tmp_path / "accounts").exists()


@pytest.mark.parametrize("call", ["write", "rename"])
def test_a_full_storage_keeps_no_draft(
    storage: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, call, fail)
    assert remember(storage) == {}


def test_a_part_that_was_written_is_no_file(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda *_: 3)
    assert remember(storage) == {}


def test_a_name_service_that_is_down_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher remembers the result only for an ID that is not the user's own."""
    monkeypatch.setattr(accounts, "name_service", lambda *_: 0)
    found = find_accounts(os.geteuid(), os.getegid(), Messages())
    assert (found.is_lasting, b"charlie:x:" in found.passwd) == (False, True)
    assert find_accounts(os.geteuid() + 1, os.getegid(), Messages()).is_lasting


@pytest.mark.parametrize(
    ("data", "result"),
    [
        (b"", b"me:x:5:6::/:/bin/sh\n"),
        (b"a:x:1:1::/:", b"a:x:1:1::/:\nme:x:5:6::/:/bin/sh\n"),
        (b"a:x:5:1::/:\nb\nc:x:55:1\n\n", b"b\nc:x:55:1\nme:x:5:6::/:/bin/sh\n"),
    ],
)
def test_an_account_in_the_images_file(data: bytes, result: bytes) -> None:
    assert with_account(data, b"me:x:5:6::/:/bin/sh\n") == result
