"""Locks: shared and exclusive, freed by death; a file system without locks gets an error."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from sundog.errors import StoreError
from sundog.image.store.locks import KernelLocks, UseLock, remove_turns
from sundog.image.store.store import Store
from sundog.image.transfer.importer import import_image

if TYPE_CHECKING:
    from pathlib import Path

    from sundog.image.store.locks import Locks


@pytest.fixture
def path(tmp_path: Path) -> bytes:
    (tmp_path / "use").touch()
    return os.fsencode(tmp_path / "use")


def users_share_and_a_remover_is_alone(locks: Locks, path: bytes) -> None:
    first, second, remover = (UseLock(locks, path) for _ in range(3))
    first.share()
    second.share()
    assert not remover.try_exclude()
    first.release()
    assert not remover.try_exclude()
    second.release()
    assert remover.try_exclude()
    assert not first.try_exclude()
    remover.release()
    assert first.try_exclude()
    first.release()


def test_users_share_and_a_remover_is_alone(path: bytes) -> None:
    users_share_and_a_remover_is_alone(KernelLocks(), path)


def test_release_frees_the_lock_although_a_child_has_the_file_open(path: bytes) -> None:
    lock, remover = (UseLock(KernelLocks(), path) for _ in range(2))
    lock.share()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    try:
        lock.release()
        assert remover.try_exclude()
    finally:
        remover.release()
        os.close(write)
        os.waitpid(child, 0)
        os.close(read)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_system_without_locks_is_named(
    storage: Path, root_tar: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with Store.open(str(storage), driver="overlay") as store:
        monkeypatch.setattr(fcntl, "flock", refuse)
        with pytest.raises(StoreError, match=r"^no file locks on .*/locks/use: ") as error:
            import_image(store, str(root_tar), "x")
        assert "--storage" in error.value.hint
        assert list(store.images.list()) == []  # reading needs no lock
        monkeypatch.undo()


def test_a_turn_that_another_command_has_taken_meanwhile_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, path = fcntl.flock, tmp_path / "turn-x"
    path.touch()
    taken: list[int] = []

    def flock(fd: int, operation: int) -> None:
        if not taken:
            path.unlink()  # the holder ends, and the next command starts
            taken.append(os.open(path, os.O_RDWR | os.O_CREAT))
            real(taken[0], fcntl.LOCK_EX)
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    remove_turns(KernelLocks(), os.fsencode(tmp_path))
    assert path.exists()
    os.close(taken[0])
    remove_turns(KernelLocks(), os.fsencode(tmp_path))
    assert not path.exists()
