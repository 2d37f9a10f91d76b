"""SIFs of strangers: damaged, cut and random ones give one of our errors, and nothing else."""

from __future__ import annotations

import os
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.errors import SundogError
from sundog.image.sif.editing import delete_object
from sundog.image.sif.inspection import attributes
from sundog.image.sif.listing import header_lines, info_lines, list_lines
from sundog.image.sif.reader import read_sif
from sundog.runtime.container.squashfs_files import SquashfsFiles
from sundog.runtime.squashfs.image import SquashfsImage
from sundog.runtime.squashfs.sif import squashfs_place
from tests.image.convert.formats import make_sif
from tests.runtime.fuse.conftest import make_squashfs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TABLE, SIZE = 4096, 585
COUNT_PLACE, TABLE_PLACE = 88, 96  # in the header
OFFSET_PLACE, LENGTH_PLACE = 17, 25  # in a descriptor


@pytest.fixture(scope="module")
def sif(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a small SIF."""
    path = tmp_path_factory.mktemp("hostile")
    tree = path / "tree"
    (tree / ".singularity.d/env").mkdir(parents=True)
    (tree / ".singularity.d/labels.json").write_text('{"a": "b"}')
    (tree / ".singularity.d/env/90-environment.sh").write_text("export A=1\n")
    return make_sif(make_squashfs(tree, path / "squash").read_bytes(), signed=True)


@contextmanager
def opened(data: bytes) -> Iterator[int]:
    """Give the descriptor of a file with ``data``."""
    fd = os.memfd_create("sif")
    try:
        os.write(fd, data)
        yield fd
    finally:
        os.close(fd)


def look(data: bytes) -> bool:
    """Do all that reads a SIF; tell whether there was no error.  Only SundogError may come."""
    with opened(data) as fd:
        is_whole = True
        try:
            found = read_sif(fd, b"x.sif")
            for lines in (list_lines(found), header_lines(found)):
                assert all(isinstance(line, str) for line in lines)
            for each in found.descriptors:
                assert list(info_lines(each))
                assert 0 <= each.offset <= each.end <= len(data)
        except SundogError:
            is_whole = False
        try:
            image = SquashfsImage(fd, squashfs_place(fd, b"x.sif"))
            attributes(SquashfsFiles(image))
        except SundogError:
            is_whole = False
        return is_whole


def test_a_cut_sif(sif: bytes) -> None:
    """Cut at every 64th byte, no part of it is taken for the whole."""
    assert look(sif)
    for length in range(0, len(sif), 64):
        assert not look(sif[:length]), length


def changed(sif: bytes, place: int, kind: str, value: int) -> bytes:
    data = bytearray(sif)
    struct.pack_into(kind, data, place, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("place", "kind", "value", "part"),
    [
        (COUNT_PLACE, "<q", 1 << 31, "its table of descriptors"),
        (COUNT_PLACE, "<q", 4096, "its table of descriptors"),
        (COUNT_PLACE, "<q", 0, "its table of descriptors"),
        (COUNT_PLACE, "<q", -1, "its table of descriptors"),
        (TABLE_PLACE, "<q", -585, "its table of descriptors"),
        (TABLE_PLACE, "<q", 1 << 62, "its table of descriptors"),
        (TABLE_PLACE, "<q", 0, ""),
        (COUNT_PLACE - 8, "<q", 49, "its count of free descriptors"),
        (TABLE + OFFSET_PLACE, "<q", -1, "object 1 is not in the file"),
        (TABLE + OFFSET_PLACE, "<q", (1 << 63) - 1, "object 1 is not in the file"),
        (TABLE + LENGTH_PLACE, "<q", 1 << 40, "object 1 is not in the file"),
        (TABLE + LENGTH_PLACE, "<q", -1, "object 1 is not in the file"),
        (TABLE + LENGTH_PLACE, "<q", 5000, "two objects in one place"),
        (TABLE + OFFSET_PLACE, "<q", TABLE, "two objects in one place"),
        (TABLE + OFFSET_PLACE, "<q", 0, "two objects in one place"),
        (TABLE + 5, "<I", 2, "two objects of one number"),
    ],
)
def test_a_hostile_table(sif: bytes, place: int, kind: str, value: int, part: str) -> None:
    data = changed(sif, place, kind, value)
    look(data)
    with opened(data) as fd, pytest.raises(SundogError) as caught:
        read_sif(fd, b"x.sif")
    assert caught.value.message.startswith("damaged SIF: x.sif: " if part else "damaged SIF")
    assert part in caught.value.message
    assert caught.value.hint


def test_nothing_is_deleted_of_a_damaged_sif(sif: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.sif"
    data = changed(sif, TABLE + LENGTH_PLACE, "<q", 5000)
    path.write_bytes(data)
    with pytest.raises(SundogError):
        delete_object(str(path), 1)
    assert path.read_bytes() == data
    assert os.listdir(tmp_path) == ["x.sif"]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_random_bytes_in_the_head(sif: bytes, data: st.DataObject) -> None:
    """Whatever is in the header, the table and the superblock, the reader ends by SundogError."""
    changed = bytearray(sif)
    places = st.one_of(
        st.integers(0, 127),
        st.integers(TABLE, TABLE + 3 * SIZE),
        st.integers(len(sif) - 5000, len(sif) - 1),
    )
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(places)
        value = data.draw(st.binary(min_size=1, max_size=8))
        changed[place : place + len(value)] = value
    look(bytes(changed))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=8192))
def test_random_files(data: bytes) -> None:
    assert not look(data)
    assert not look(b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\0" + data)
