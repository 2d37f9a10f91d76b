"""Hostile SquashFS files: one clear error each, which names the file and the place."""

from __future__ import annotations

import lzma
import os
import zlib
from typing import TYPE_CHECKING

import pytest

from sundog.errors import SquashfsError
from sundog.runtime.squashfs import compressors
from sundog.runtime.squashfs.compressors import decompressor_for
from sundog.runtime.squashfs.source import SquashfsSource
from sundog.runtime.squashfs.walk import walk_paths
from tests.runtime.squashfs.made import content, mksquashfs, opened

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a SquashFS file without compression."""
    place = tmp_path_factory.mktemp("plain")
    (place / "tree" / "directory" / "below").mkdir(parents=True)
    (place / "tree" / "directory" / "aa").write_bytes(b"0123456789" * 1000)
    (place / "tree" / "directory" / "bb").write_text("tail")
    (place / "tree" / "link").symlink_to("target")
    path = mksquashfs(place / "tree", place / "x.sqfs", "-no-compression", "-b", "4096")
    return path.read_bytes()


def read_everything(path: Path) -> None:
    """Read all paths, attributes and contents."""
    with opened(path) as image:
        for _, inode in walk_paths(image):
            image.xattrs(inode)
            if inode.kind == "f":
                content(image, inode)


def patch(at: int, value: int, size: int) -> Callable[[bytes], bytes]:
    """Return what writes ``value`` at ``at``."""
    return lambda data: data[:at] + value.to_bytes(size, "little") + data[at + size :]


def rename(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """Return what replaces the one name ``old``."""

    def change(data: bytes) -> bytes:
        assert data.count(old) == 1
        return data.replace(old, new)

    return change


def cycle(data: bytes) -> bytes:
    """Make the root of "below", which is the first name of its run's third entry."""
    at = data.index(b"below") - 8
    run = data.index(b"aa", at - 60) - 20
    root = int.from_bytes(data[32:40], "little")
    assert data[run + 4 : run + 8] == (root >> 16).to_bytes(4, "little")
    return data[:at] + (root & 0xFFFF).to_bytes(2, "little") + data[at + 2 :]


CASES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "another kind of file": (lambda _: b"PK\3\4" * 50, "not a SquashFS file"),
    "short": (lambda data: data[:95], "it has 95 bytes"),
    "cut": (lambda data: data[:-4096], "it ends after"),
    "version": (patch(28, 3, 2), "it is SquashFS 3.0"),
    "block size": (patch(12, 8192, 4), "blocks of 8,192 bytes, or 2^12"),
    "block log": (patch(22, 30, 2), "blocks of 2^30 bytes"),
    "compressor": (patch(20, 99, 2), "unknown compressor 99"),
    "no inodes": (patch(4, 0, 4), "no inodes"),
    "table outside": (patch(48, 1 << 62, 8), "a table begins after the end"),
    "tables in disorder": (patch(64, 1 << 20, 8), "not in their order"),
    "root outside": (patch(32, 1 << 47, 8), "outside of its table"),
    "fragments outside": (patch(16, 1 << 31, 4), "a table of 2,147,483,648 rows"),
    "no fragments": (patch(80, (1 << 64) - 1, 8), "no fragments"),
    "slash": (rename(b"below", b"bel/w"), "a slash or a NUL"),
    "NUL": (rename(b"below", b"bel\0w"), "a slash or a NUL"),
    "parent": (rename(b"aa", b".."), "a name that is . or .."),
    "twice": (rename(b"bb", b"aa"), "names are not in order"),
    "disorder": (rename(b"aa", b"zz"), "names are not in order"),
    "cycle": (cycle, "a second name of a directory, directory/below"),
    "target": (rename(b"target", b"tar\0et"), "a symlink without a possible target"),
}


@pytest.mark.parametrize(("change", "complaint"), CASES.values(), ids=CASES)
def test_one_clear_error(
    plain: bytes, tmp_path: Path, change: Callable[[bytes], bytes], complaint: str
) -> None:
    path = tmp_path / "a\nb.sqfs"
    path.write_bytes(change(plain))
    with pytest.raises(SquashfsError) as caught:
        read_everything(path)
    assert complaint in caught.value.message
    assert "\n" not in caught.value.message
    assert "a\\nb.sqfs" in caught.value.message


def test_the_unchanged_file_is_right(plain: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(plain)
    read_everything(tmp_path / "x")


ZEROS = bytes(64 << 20)
BOMBS: dict[int, Callable[[bytes], bytes]] = {
    1: zlib.compress,
    2: lambda data: lzma.compress(data, lzma.FORMAT_ALONE, preset=0),
    4: lambda data: lzma.compress(data, preset=0),
}


@pytest.mark.parametrize("compression", BOMBS)
def test_bombs(tmp_path: Path, compression: int) -> None:
    """A block that unpacks to more than it may: the decompressor stops behind the limit."""
    (tmp_path / "x").touch()
    fd = os.open(tmp_path / "x", os.O_RDONLY)
    decompress = decompressor_for(compression, SquashfsSource(fd, 0))
    os.close(fd)
    with pytest.raises(ValueError, match="more than 4,096 bytes"):
        decompress(BOMBS[compression](ZEROS), 4096)
    assert decompress(BOMBS[compression](ZEROS[:4096]), 4096) == ZEROS[:4096]
    with pytest.raises(ValueError, match="ends early"):
        decompress(BOMBS[compression](ZEROS[:4096])[:-8], 4096)


def test_a_library_that_is_missing(
    plain: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str, _: int) -> int:
        raise OSError(f"{name}: cannot open shared object file: No such file or directory")

    (tmp_path / "x").write_bytes(patch(20, 3, 2)(plain))
    monkeypatch.setattr(compressors, "dlopen", missing)
    with pytest.raises(SquashfsError, match=r"compressed by lzo: liblzo2\.so\.2") as caught:
        read_everything(tmp_path / "x")
    assert "install that library" in caught.value.hint


def test_a_file_that_becomes_shorter(plain: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(plain)
    with opened(tmp_path / "x") as image:
        os.truncate(tmp_path / "x", 100)
        root = image.inode(image.root)
        with pytest.raises(SquashfsError, match="become shorter"):
            list(image.entries(root))
