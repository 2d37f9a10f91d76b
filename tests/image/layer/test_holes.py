"""A hole stays a hole: in copies, in digests, and in archives that other programs read."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from sundog.errors import ArchiveError
from sundog.image.builder.files.content import ContentDigest, Source
from sundog.image.layer.flatten import copy_tree
from sundog.image.layer.holes import data_extents
from sundog.image.layer.import_directory import import_directory
from sundog.image.layer.sparse import fitting_map
from sundog.image.layer.unpack import unpack
from sundog.image.layer.write_tar import write_tar
from tests.image.layer.archives import archive, file, pax_header, raw_archive, raw_header

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TERABYTE = 1 << 40
DATA = ((0, b"begin"), (1 << 30, b"middle"), (TERABYTE - 3, b"end"))


def make_sparse(path: bytes, size: int, data: Sequence[tuple[int, bytes]] = ()) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
    os.ftruncate(fd, size)
    for offset, piece in data:
        os.pwrite(fd, piece, offset)
    os.utime(fd, (7, 7))
    os.close(fd)


def assert_sparse(path: bytes, size: int, data: Sequence[tuple[int, bytes]] = ()) -> None:
    fd = os.open(path, os.O_RDONLY)
    status = os.fstat(fd)
    assert (status.st_size, status.st_blocks * 512 < 1 << 20) == (size, True)
    for offset, piece in data:
        assert os.pread(fd, len(piece) + 1, offset)[: len(piece)] == piece
    os.close(fd)


def terabyte_tar() -> io.BytesIO:
    """Return an archive of 3 kB that holds a terabyte."""
    entries = [number for offset, piece in DATA for number in (offset, len(piece))]
    content = b"".join(piece for _, piece in DATA)
    pax = pax_header(
        (b"GNU.sparse.size", b"%d" % TERABYTE),
        (b"GNU.sparse.map", b"%d,%d,%d,%d,%d,%d" % (*entries,)),
    )
    stream = raw_archive(pax, raw_header(b"big", size=b"%011o\0" % len(content)), content)
    assert len(stream.getvalue()) < 4096
    return stream


def test_a_terabyte_in_every_copy(tree: bytes, place: bytes) -> None:
    unpack(terabyte_tar(), tree)
    assert_sparse(tree + b"/big", TERABYTE, DATA)
    copy_tree(tree, place + b"/flat")
    assert_sparse(place + b"/flat/big", TERABYTE, DATA)
    os.mkdir(place + b"/imported")
    imported = import_directory(tree, place + b"/imported", {})
    assert_sparse(place + b"/imported/big", TERABYTE, DATA)
    out = io.BytesIO()
    digest = write_tar(out, place + b"/imported", imported.owners)
    assert digest == imported.digest == "sha256:" + hashlib.sha256(out.getvalue()).hexdigest()
    assert len(out.getvalue()) < 10 * 4096 + 8192
    out.seek(0)
    os.mkdir(place + b"/again")
    unpack(out, place + b"/again")
    assert_sparse(place + b"/again/big", TERABYTE, DATA)


def content_digest(path: bytes) -> str:
    fd = os.open(path, os.O_RDONLY)
    try:
        digest = ContentDigest()
        digest.add(fd, Source(b"name", b"name"))
        return digest.value().digest
    finally:
        os.close(fd)


def test_a_terabyte_to_copy(place: bytes) -> None:
    """The key of COPY reads only the data; it depends on data, their places and the size."""
    variants = (
        (TERABYTE, DATA),
        (TERABYTE + 1, DATA),
        (TERABYTE, (*DATA[:2], (TERABYTE - 3, b"END"))),
        (TERABYTE, ((1 << 20, b"begin"), *DATA[1:])),
    )
    digests = set()
    for number, (size, data) in enumerate(variants):
        path = place + b"/%d" % number
        make_sparse(path, size, data)
        digests.add(content_digest(path))
    assert len(digests) == 4


def test_small_holes_are_zeros_to_copy(place: bytes) -> None:
    make_sparse(place + b"/sparse", 1 << 20, ((0, b"x"),))
    with open(place + b"/full", "wb") as full:
        full.write(b"x" + bytes((1 << 20) - 1))
    os.chmod(place + b"/full", 0o640)
    assert content_digest(place + b"/sparse") == content_digest(place + b"/full")


LAYOUTS = {
    "nothing but a hole": (3 << 20, ()),
    "data at the end": (3 << 20, (((3 << 20) - 1, b"z"),)),
    "data at the beginning": (3 << 20, ((0, b"a"),)),
    "many pieces": (4 << 20, tuple((n << 16, b"piece %d" % n) for n in range(64))),
    "over 8 GiB": (9 << 30, ((0, b"a"), ((9 << 30) - 1, b"z"))),
}
NAMES = {
    "short": b"f",
    "long": b"d/" + b"n" * 200,
    "longer": b"p" * 120 + b"/" + b"n" * 200,
    "no text": b"umlaut-\xfc",
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NAMES)
def test_other_programs_read_it(layout: str, name: str, tree: bytes, place: bytes) -> None:
    size, data = LAYOUTS[layout]
    path = NAMES[name]
    os.makedirs(os.path.dirname(tree + b"/" + path), exist_ok=True)
    make_sparse(tree + b"/" + path, size, data)
    with open(tree + b"/zz-after", "wb") as after:
        after.write(b"after")
    tar = place + b"/tar"
    with open(tar, "wb") as out:
        write_tar(out, tree, {}, zeros=0)
    assert os.stat(tar).st_size < 1 << 20
    os.mkdir(place + b"/sundog")
    with open(tar, "rb") as stream:
        unpack(stream, place + b"/sundog")
    commands = {b"sundog": [], b"gnu": ["tar"], b"bsd": ["bsdtar"]}
    for program, command in commands.items():
        target = place + b"/" + program
        if command:
            os.mkdir(target)
            env = os.environ | {"LC_ALL": "C.UTF-8"}
            subprocess.run([*command, "-C", target, "-xpf", tar], check=True, env=env)
        assert_sparse(target + b"/" + path, size, data)
        status = os.stat(target + b"/" + path)
        assert (status.st_mode & 0o7777, status.st_mtime) == (0o640, 7)
        with open(target + b"/zz-after", "rb") as after:
            assert after.read() == b"after"
    if size < 1 << 30:
        with tarfile.open(os.fsdecode(tar)) as python:
            member = python.getmember(os.fsdecode(path))
            extracted = python.extractfile(member)
            assert extracted is not None
            with open(tree + b"/" + path, "rb") as original:
                assert extracted.read() == original.read()


def test_holes_are_written_as_zeros_as_far_as_they_are_few(tree: bytes) -> None:
    for number in range(4):
        make_sparse(tree + b"/%d" % number, 1 << 20, ((0, b"x"),))
    sizes = []
    for zeros in (4 << 20, 2 << 20, 0):
        out = io.BytesIO()
        write_tar(out, tree, {}, zeros=zeros)
        sizes.append(len(out.getvalue()) >> 20)
    assert sizes == [4, 2, 0]


def test_the_same_file_without_holes_is_the_same_layer(tree: bytes, place: bytes) -> None:
    make_sparse(tree + b"/f", 1 << 20, ((4096, b"x"),))
    os.utime(tree, (7, 7))
    os.mkdir(place + b"/full")
    content = bytes(4096) + b"x" + bytes((1 << 20) - 4097)
    unpack(archive(file("f", content, mtime=7, mode=0o640)), place + b"/full")
    os.utime(place + b"/full", (7, 7))
    assert write_tar(io.BytesIO(), tree, {}) == write_tar(io.BytesIO(), place + b"/full", {})


def test_many_holes_make_a_short_map() -> None:
    extents = [(number * 8192, 4096) for number in range(60_000)]
    entries = fitting_map(extents, 60_000 * 8192)
    assert entries is not None
    assert len(entries) < 40_000
    covered = iter(entries)
    start, length = next(covered)
    for offset, size in extents:
        while offset >= start + length:
            start, length = next(covered)
        assert start <= offset
        assert offset + size <= start + length
    assert fitting_map([(number << 30, 1) for number in range(60_000)], 1 << 50) is None


def test_a_file_of_too_many_holes(tree: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sundog.image.layer.tar_writer.fitting_map", lambda *_: None)
    make_sparse(tree + b"/holes", 1 << 20)
    with pytest.raises(ArchiveError, match="holes has more holes than an archive can hold"):
        write_tar(io.BytesIO(), tree, {}, zeros=0)


def test_extents(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "f")
    make_sparse(path, 1 << 20, ((512 << 10, b"x"),))
    with open(path, "rb") as stream:
        ((start, length),) = data_extents(stream.fileno())
        assert start <= 512 << 10 < start + length < 1 << 20
    make_sparse(path + b"2", 0)
    with open(path + b"2", "rb") as stream:
        assert list(data_extents(stream.fileno())) == []


@pytest.mark.parametrize("answer", [0, 4096])
def test_a_file_server_that_turns_back(
    answer: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FUSE's server says where holes are; the kernel believes it."""
    calls = iter([4096, answer] * 10)
    monkeypatch.setattr(os, "lseek", lambda *_: next(calls))
    with (tmp_path / "a").open("wb") as stream:
        stream.truncate(1 << 20)
        with pytest.raises(OSError, match="does not know its holes"):
            list(data_extents(stream.fileno()))
