"""The blocks of a layer that are here, and how they are written."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from sundog.base.record.lazy_layer import LAZY_BLOCK, HereMap
from sundog.front.cli.report import Report
from sundog.image.registry.lazy_layer import LazyLayer
from sundog.image.registry.session import Session
from tests.image.registry.test_lazy import BLOCKS, CONTENT, SIZE, Layer, layer, processes, registry

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["layer", "processes", "registry"]


@pytest.fixture
def here(tmp_path: Path) -> Generator[HereMap]:
    """Return the map of a file of nine blocks and a byte, of which nothing is here."""
    fd = os.open(tmp_path / "here", os.O_RDWR | os.O_CREAT)
    yield HereMap(fd, 9 * LAZY_BLOCK + 1)
    os.close(fd)


@pytest.fixture
def opened(layer: Layer) -> Generator[LazyLayer]:
    """Return a layer of nine blocks and a part of one, of which nothing is here."""
    opened = LazyLayer(os.fsencode(layer.place), Session(os.environ, Report()))
    yield opened
    opened.close()


def is_whole(here: HereMap) -> bool:
    """Tell whether all is here now."""
    return here.is_whole


def test_what_is_not_here(here: HereMap) -> None:
    assert here.count == 10
    assert [*here.incomplete(4)] == [range(4), range(4, 8), range(8, 10)]
    assert [*here.incomplete(100)] == [range(10)]
    assert here.bytes_here() == 0
    here.note(range(3, 8), here=True)
    assert [*here.incomplete(4)] == [range(4), range(8, 10)]
    assert here.missing() == [0, 1, 2, 8, 9]
    assert here.missing(2, 9) == [2, 8]
    assert here.bytes_here() == 5 * LAZY_BLOCK
    assert not is_whole(here)
    here.note(range(9, 10), here=True)
    assert here.bytes_here() == 5 * LAZY_BLOCK + 1
    for run in (range(3), range(8, 9)):
        assert not is_whole(here)
        here.note(run, here=True)
    assert is_whole(here)
    assert [*here.incomplete(4)] == []
    assert here.missing() == []
    assert here.bytes_here() == here.size
    mark = here.mark()
    here.note(range(4, 6), here=False)
    assert here.mark() != mark
    assert [*here.incomplete(4)] == [range(4, 8)]
    assert here.missing() == [4, 5]
    assert not is_whole(here)


def test_where_blocks_are(here: HereMap) -> None:
    assert here.extent(range(2, 5)) == (2 * LAZY_BLOCK, 5 * LAZY_BLOCK)
    assert here.extent(range(8, 10)) == (8 * LAZY_BLOCK, 9 * LAZY_BLOCK + 1)


def test_a_file_of_whole_blocks_and_one_of_none(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "here", os.O_RDWR | os.O_CREAT)
    whole = HereMap(fd, 2 * LAZY_BLOCK)
    assert [*whole.incomplete(4)] == [range(2)]
    whole.note(range(1, 2), here=True)
    assert whole.bytes_here() == LAZY_BLOCK
    assert whole.extent(range(1, 2)) == (LAZY_BLOCK, 2 * LAZY_BLOCK)
    assert HereMap(fd, 0).is_whole
    os.close(fd)


def test_other_bytes_of_the_map(here: HereMap, tmp_path: Path) -> None:
    """A block is here only if its byte says 1; what is behind the map says nothing of a block."""
    (tmp_path / "here").write_bytes(b"\1\2\xff" + bytes(7) + b"\1" * 20)
    assert here.missing() == [*range(1, 10)]
    assert [*here.incomplete(1)] == [range(at, at + 1) for at in range(1, 10)]
    (tmp_path / "here").write_bytes(b"\1" * 9)
    assert here.missing() == [9]
    assert not here.is_whole


def written(layer: Layer, block: int) -> bytes:
    with open(layer.place / "file", "rb") as file:
        file.seek(block * LAZY_BLOCK)
        return file.read(LAZY_BLOCK)


def right(block: int) -> bytes:
    return CONTENT[block * LAZY_BLOCK :][:LAZY_BLOCK]


def test_blocks_are_written_together(layer: Layer, opened: LazyLayer) -> None:
    assert SIZE % LAZY_BLOCK
    assert opened.here.count == BLOCKS
    opened.write(range(7, BLOCKS), CONTENT[7 * LAZY_BLOCK :])
    assert opened.here.missing() == [*range(7)]
    opened.write(range(7), CONTENT[: 7 * LAZY_BLOCK])
    assert opened.here.is_whole
    assert (layer.place / "file").read_bytes() == CONTENT


def test_what_is_here_is_not_overwritten(layer: Layer, opened: LazyLayer) -> None:
    """It was perhaps checked; a block that was discarded is written again."""
    opened.write(range(2, 4), CONTENT[2 * LAZY_BLOCK : 4 * LAZY_BLOCK])
    opened.write(range(6, 7), right(6))
    opened.write(range(9, 10), right(9))
    opened.discard(3)
    opened.write(range(BLOCKS), bytes(SIZE).replace(b"\0", b"x"))
    assert opened.here.is_whole
    for block in range(BLOCKS):
        assert (written(layer, block) == right(block)) == (block in {2, 6, 9})
    assert (layer.place / "file").stat().st_size == SIZE
    before = (layer.place / "file").read_bytes()
    opened.write(range(4, BLOCKS), bytes(SIZE - 4 * LAZY_BLOCK))
    assert (layer.place / "file").read_bytes() == before


def test_short_writes(layer: Layer, opened: LazyLayer, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:10_001], at))
    opened.write(range(4, 5), right(4))
    opened.write(range(BLOCKS), CONTENT)
    assert opened.here.is_whole
    assert (layer.place / "file").read_bytes() == CONTENT


def test_one_locks_a_block(layer: Layer, opened: LazyLayer) -> None:
    other = LazyLayer(os.fsencode(layer.place), Session(os.environ, Report()))
    assert opened.lock(2, 3)
    assert opened.lock(3, 1)  # its own
    assert not other.lock(4, 2)
    assert other.lock(5, 1)
    opened.unlock(2, 3)
    assert other.lock(2, 3)
    assert not opened.lock(0, BLOCKS)
    other.close()  # as the end of its process does
    assert opened.lock(0, BLOCKS)


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks(
    layer: Layer, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """Two may fetch a block, and write the same; nobody waits for a lock."""

    def refuse(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    opened = [LazyLayer(os.fsencode(layer.place), Session(os.environ, Report())) for _ in "ab"]
    for one in opened:
        assert one.lock(0, BLOCKS)
        one.write(range(BLOCKS), CONTENT)
        one.unlock(0, BLOCKS)
        one.close()
    assert (layer.place / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_write_that_fails(
    layer: Layer, opened: LazyLayer, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """Nothing is noted that was not written."""
    opened.write(range(2, 3), right(2))
    pwrite = os.pwrite

    def full(fd: int, data: bytes, at: int) -> int:
        """Write blocks as long as there is room: for four of them and a part of one."""
        room = 4 * LAZY_BLOCK + 5 - at
        if len(data) < LAZY_BLOCK or room >= len(data):
            return pwrite(fd, data, at)
        if room <= 0:
            raise OSError(error, os.strerror(error))
        return pwrite(fd, data[:room], at)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match=os.strerror(error)):
        opened.write(range(BLOCKS), CONTENT)
    assert opened.here.missing() == [*range(3, BLOCKS)]
    for block in range(3):
        assert written(layer, block) == right(block)
    monkeypatch.undo()
    opened.write(range(BLOCKS), CONTENT)
    assert (layer.place / "file").read_bytes() == CONTENT
