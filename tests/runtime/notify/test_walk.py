"""The walk finds recorded inodes, by the entries of directories and by a look at the files."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from sundog.runtime.emulation.notify.state.files import file_system_type
from sundog.runtime.emulation.notify.state.persist import LISTING_INODES, lists_inodes, walk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.runtime.notify.conftest import Container


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


def test_what_no_path_leads_to_is_left_out(tree: Path, fd: int) -> None:
    there, levels, name = os.open(tree, os.O_RDONLY), 30, "d" * 200
    for _ in range(levels):
        os.mkdir(name, dir_fd=there)
        below = os.open(name, os.O_RDONLY, dir_fd=there)
        os.close(there)
        there = below
    os.close(there)
    (tree / "a" / "b").chmod(0)
    found = set(walk(fd))
    assert {b"a/b", b"a/recorded"} <= found
    assert not [path for path in found if path.startswith(b"a/b/")]
    assert max(map(len, found)) == 20 * 201 - 1


def test_a_directory_that_is_too_deep_costs_no_record(debian: Container, tmp_path: Path) -> None:
    deep = "perl -e '$d = q(d) x 200; for (1..30) { %schdir $d or die $d } %s'"
    make = deep % ("mkdir $d; ", "open F, q(>f); close F; chown(5, 6, q(f)) or die $!")
    look = deep % ("", "print((stat q(f))[4])")
    assert debian.sh(f"set -e; echo x >/g; chown 7 /g; {make}; {look}") == "5"
    assert debian.next_layer(tmp_path / "next").sh("stat -c %u /g") == "7\n"
