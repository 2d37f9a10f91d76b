"""Renames and syncs on real files."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel.files import RENAME_EXCHANGE, RENAME_NOREPLACE, renameat2, syncfs
from sundog.base.kernel.mounts import AT_FDCWD
from sundog.errors import KernelError

if TYPE_CHECKING:
    from pathlib import Path


def test_exchange_swaps_a_file_and_a_directory(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("file")
    (tmp_path / "b").mkdir()
    fd = os.open(tmp_path, os.O_PATH)
    renameat2(fd, b"a", fd, b"b", RENAME_EXCHANGE)
    os.close(fd)
    assert (tmp_path / "a").is_dir()
    assert (tmp_path / "b").read_text() == "file"


def test_noreplace_replaces_nothing(tmp_path: Path) -> None:
    old, new = os.fsencode(tmp_path / "old"), os.fsencode(tmp_path / "n\udcffew")
    for name in (old, new):
        with open(name, "wb") as file:
            file.write(name)
    with pytest.raises(KernelError) as caught:
        renameat2(AT_FDCWD, old, AT_FDCWD, new, RENAME_NOREPLACE)
    assert caught.value.errno == errno.EEXIST
    assert caught.value.message == (
        f"can't rename {tmp_path}/old to {tmp_path}/n\\xffew: File exists"
    )
    with open(new, "rb") as file:
        assert file.read() == new
    os.unlink(new)
    renameat2(AT_FDCWD, old, AT_FDCWD, new, RENAME_NOREPLACE)
    assert os.listdir(os.fsencode(tmp_path)) == [b"n\xffew"]


def test_syncfs(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    syncfs(fd)
    os.close(fd)


def test_syncfs_names_what_it_cannot_sync(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    with pytest.raises(KernelError, match=f"can't syncfs {tmp_path}: Bad file descriptor"):
        syncfs(fd)
    os.close(fd)
