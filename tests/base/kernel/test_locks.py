"""flock(2) on a file that another process removes or replaces between open(2) and flock(2)."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel.locks import is_at, open_locked, unlock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def before_the_first_lock(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> list[int]:
    """Call ``act`` between the first open and its flock; return a list of the locks."""
    real, calls = fcntl.flock, []

    def flock(fd: int, operation: int) -> None:
        calls.append(operation)
        if len(calls) == 1:
            act()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    return calls


def test_a_file_that_was_replaced_meanwhile_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, new = tmp_path / "lock", tmp_path / "new"
    path.write_text("old")
    new.write_text("new")
    calls = before_the_first_lock(monkeypatch, lambda: os.rename(new, path))
    fd = open_locked(os.fsencode(path), os.O_RDWR, fcntl.LOCK_EX)
    assert os.read(fd, 9) == b"new"
    assert is_at(b"lock", fd, os.open(tmp_path, os.O_PATH))
    assert len(calls) == 2
    unlock(fd)


@pytest.mark.parametrize("create", [False, True])
def test_a_file_that_was_removed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, create: bool
) -> None:
    path = tmp_path / "lock"
    path.touch()
    before_the_first_lock(monkeypatch, path.unlink)
    before = len(os.listdir("/proc/self/fd"))
    if not create:
        with pytest.raises(FileNotFoundError):
            open_locked(os.fsencode(path), os.O_RDWR, fcntl.LOCK_EX)
        assert len(os.listdir("/proc/self/fd")) == before
        return
    fd = open_locked(os.fsencode(path), os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX)
    assert path.samefile(f"/proc/self/fd/{fd}")
    assert path.stat().st_mode & 0o7777 == 0o600
    unlock(fd)


def test_a_lock_that_another_holds_leaves_no_descriptor(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "lock")
    held = open_locked(path, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BlockingIOError):
        open_locked(path, os.O_RDWR, fcntl.LOCK_SH | fcntl.LOCK_NB)
    assert len(os.listdir("/proc/self/fd")) == before
    unlock(held)


def test_a_file_that_another_node_has_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On NFS the open file is stale then, also if the path leads to a new one."""
    path = os.fsencode(tmp_path / "file")
    fstat = os.fstat
    fds: list[int] = []

    def stale_at_first(fd: int) -> os.stat_result:
        fds.append(fd)
        if len(fds) == 1:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return fstat(fd)

    with monkeypatch.context() as context:
        context.setattr(os, "fstat", stale_at_first)
        unlock(open_locked(path, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX))
    assert len(fds) == 2


def test_a_file_that_another_node_has_removed_while_this_one_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS 3 says so when it should lock the file; then a new file takes its place."""
    path = os.fsencode(tmp_path / "file")
    flock = fcntl.flock
    stale: list[int] = []

    def stale_at_first(fd: int, operation: int) -> None:
        if not stale:
            stale.append(fd)
            os.unlink(path)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        flock(fd, operation)

    with monkeypatch.context() as context:
        context.setattr(fcntl, "flock", stale_at_first)
        fd = open_locked(path, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX)
    assert os.fstat(fd).st_nlink == 1
    unlock(fd)
