"""The walk finds recorded inodes, by the entries of directories and by a look at the files."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from sundog.emulation.notify.state.files import file_system_type
from sundog.emulation.notify.state.persist import LISTING_INODES, lists_inodes, walk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("plain", "a/recorded", "a/b/plain"):
        (tmp_path / name).touch()
    (tmp_path / "a" / "b" / "soft").symlink_to("nowhere")
    os.link(tmp_path / "a" / "recorded", tmp_path / "a" / "b" / "hard")
    return tmp_path


@pytest.fixture
def fd(tree: Path) -> Iterator[int]:
    fd = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_all(fd: int) -> None:
    assert sorted(walk(fd)) == [
        *(b"", b"a", b"a/b", b"a/b/hard", b"a/b/plain", b"a/b/soft", b"a/recorded", b"plain")
    ]


def test_some(tree: Path, fd: int) -> None:
    """The walk finds the directories, and all names of the wanted inodes."""
    inodes = {(tree / name).lstat().st_ino for name in ("a/recorded", "a/b/soft")}
    wanted = [b"", b"a", b"a/b", b"a/b/hard", b"a/b/soft", b"a/recorded"]
    assert sorted(walk(fd, inodes)) == wanted
    assert sorted(walk(fd, set())) == [b"", b"a", b"a/b"]


def test_the_root_alone_lists_what_is_seen(fd: int) -> None:
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert lists_inodes(root) == (file_system_type(root) in LISTING_INODES)
    finally:
        os.close(root)
    assert not lists_inodes(fd)


@pytest.mark.parametrize("path", ["/", "/proc", "/dev/shm"])
def test_the_type_of_a_file_system(path: str) -> None:
    told = subprocess.check_output(["stat", "-f", "-c", "%t", path])
    fd = os.open(path, os.O_PATH)
    try:
        assert file_system_type(fd) == int(told, 16)
    finally:
        os.close(fd)
