"""Tables of strangers that lie about a part of a blob: the other parts can be read."""

from __future__ import annotations

import hashlib
import os
import random
from typing import TYPE_CHECKING, Any

import pytest

from sundog.base.record.chunk_table import (
    CHUNK_LIMIT,
    ZSTD_FRAMES,
    Chunk,
    ChunkTable,
    ChunkTableWriter,
)
from sundog.base.record.lazy_layer import LAZY_BLOCK
from sundog.base.record.span_table import SPAN, SPANS_HEAD, SpanTable
from sundog.errors import StoreError
from sundog.runtime.fuse.blob_contents import BlobContents
from sundog.runtime.fuse.layer_fetcher import LayerFetcher
from sundog.runtime.fuse.lazy_blob import LazyBlob
from sundog.runtime.fuse.span_contents import SpanContents
from tests.image.layer.test_blob_tables import DATA, FRAME, RIGHT, Pieces
from tests.image.layer.test_gzip_index import MAKERS, TAR, indexed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

try:
    from compression import zstd
except ImportError:
    from backports import zstd

BEFORE = 3 * LAZY_BLOCK + 7  # bytes of the blob in front of the frame, which is its end
END = BEFORE + len(FRAME)


class Sending(LayerFetcher):
    """What fetches a layer: all that is asked for is in the file."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[int] = set()

    def add(self, _directory: int, _first: Sequence[range] = ()) -> int:
        return 0

    def expect(self, _layer: int, blocks: Sequence[int]) -> None:
        self.asked.update(blocks)

    def wait(self, _layer: int, blocks: Sequence[int]) -> dict[int, bytes]:
        self.asked.update(blocks)
        return {}

    def discard(self, _layer: int, _blocks: Sequence[int]) -> None: ...


Opened = tuple[LazyBlob, Sending]


@pytest.fixture
def opened(tmp_path: Path) -> Generator[Callable[..., Opened]]:
    """Give what opens a layer of which nothing is here, by the bytes of its blob, and its size."""
    kept: list[int] = []

    def opened(data: bytes, size: int = 0) -> Opened:
        (tmp_path / "file").write_bytes(data)
        os.truncate(tmp_path / "file", size or len(data))
        (tmp_path / "here").touch()
        fetcher = Sending()
        directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
        blob: Any = LazyBlob(directory, fetcher)
        kept.extend((directory, blob._file, blob._here._fd))
        return blob, fetcher

    yield opened
    for fd in kept:
        os.close(fd)


def table_of(*files: Sequence[Chunk]) -> bytes:
    writer = ChunkTableWriter(ZSTD_FRAMES)
    for chunks in files:
        writer.add(chunks)
    return b"".join(writer.parts())


WRONG = {
    "behind the end": (END, 1000),
    "across the end": (END - 5, 1000),
    "far away": (1 << 62, 9),
    "to the last number": ((1 << 64) - 1, 9),
    "too large": (END, CHUNK_LIMIT + 1),
    "too large, in front": (0, CHUNK_LIMIT + 1),
    "all of it": (0, END),
    "the same": (BEFORE, len(FRAME)),
    "no bytes": (END, 0),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_lies_beside(wrong: str, opened: Callable[..., Opened]) -> None:
    """A piece of another file, or of the same one, is wrong."""
    blob, fetcher = opened(bytes(BEFORE) + FRAME)
    good = Chunk(BEFORE, len(FRAME), 0, len(DATA), **RIGHT)
    place, size = WRONG[wrong]
    bad, after = Chunk(place, size, 0, 9), Chunk(place, size, len(DATA), 9)
    contents = BlobContents(table_of([bad], [good], [bad]), blob)
    assert b"".join(contents.read(1, len(DATA), 0, len(DATA))) == DATA
    contents = BlobContents(table_of([good, after], [bad]), blob)
    assert b"".join(contents.read(0, len(DATA) + 9, 0, len(DATA))) == DATA
    assert fetcher.asked <= {*range(4)}
    if size:
        with pytest.raises((StoreError, OSError)):
            contents.read(0, len(DATA) + 9, 0, len(DATA) + 9)
        with pytest.raises((StoreError, OSError)):
            contents.read(2, 9, 0, 9)


def test_nothing_is_outside(opened: Callable[..., Opened]) -> None:
    blob, fetcher = opened(bytes(END))
    for offset, size in ((END, 5), (END + 5, 1 << 62), (-5, 5), (1 << 62, 1)):
        assert not blob.lacks(offset, size)
        assert not blob.has_some(offset, size)
        blob.expect(offset, size)
    assert fetcher.asked == set()
    assert blob.lacks(-5, 6)
    blob.expect(END - 1, 5)
    assert fetcher.asked == {3}


def test_zeros_in_a_file(opened: Callable[..., Opened]) -> None:
    """All of the file comes by one request, whichever part is wanted."""
    noise = random.Random(4)
    data, whole, chunks = bytearray(7), bytes(100), [Chunk(0, 0, 0, 100)]
    for _ in range(40):
        part = noise.randbytes(3000)
        frame = zstd.compress(part)
        digest = hashlib.sha256(part).digest()
        chunks.append(Chunk(len(data), len(frame), len(whole), len(part), digest=digest))
        chunks.append(Chunk(0, 0, len(whole) + len(part), 50))
        data += frame
        whole += part + bytes(50)
    blob, fetcher = opened(bytes(data))
    contents = BlobContents(table_of(chunks), blob)
    assert b"".join(contents.read(0, len(whole), 0, 100)) == bytes(100)
    assert fetcher.asked == set()
    half = len(whole) // 2 + 10  # zeros, and a part of the piece behind them
    assert b"".join(contents.read(0, len(whole), half, 100)) == whole[half : half + 100]
    assert fetcher.asked == {*range(-(-len(data) // LAZY_BLOCK))}
    assert b"".join(contents.read(0, len(whole), 0, len(whole))) == whole


def test_many_tiny_pieces(opened: Callable[..., Opened], monkeypatch: pytest.MonkeyPatch) -> None:
    blob, fetcher = opened(bytes(300_000))
    tables = [
        table_of([Chunk(n, 1, n, 1) for n in range(300_000)]),
        table_of(*([Chunk(n, 1, 0, 1)] for n in range(300_000))),
    ]
    looks = []
    chunk = ChunkTable.chunk

    def counted(table: ChunkTable, number: int) -> Chunk:
        looks.append(number)
        return chunk(table, number)

    monkeypatch.setattr(ChunkTable, "chunk", counted)
    for table, at in ((tables[0], 0), (tables[1], 200_000)):
        contents = BlobContents(table, blob)
        with pytest.raises(StoreError, match="another digest"):
            contents.read(at, 1, 0, 1)
        assert 1000 < len(looks) < 10_000
        looks.clear()
    assert len(fetcher.asked) < 5


def test_a_table_that_wants_all_of_a_large_blob(opened: Callable[..., Opened]) -> None:
    blob, fetcher = opened(b"", 1 << 40)
    chunks = [Chunk(n * CHUNK_LIMIT, CHUNK_LIMIT, n, 1) for n in range(10_000)]
    contents = BlobContents(table_of(chunks), blob)

    def wait(_layer: int, _blocks: Sequence[int]) -> dict[int, bytes]:
        raise OSError("it does not come")

    vars(fetcher)["wait"] = wait
    with pytest.raises(OSError, match="does not come"):
        contents.read(0, 10_000, 0, 10_000)
    assert len(fetcher.asked) * LAZY_BLOCK == 128 << 20


def test_wrong_spans_beside(opened: Callable[..., Opened]) -> None:
    blob = MAKERS["best"]()
    head, windows = indexed(blob)
    table = SpanTable(head, len(blob))
    for good in range(table.count):
        span = table.span(good)
        length = span.end - span.offset
        for wrong in {*range(table.count)} - {good, good + 1}:
            for place in (0, len(blob), 1 << 62):
                damaged = bytearray(head)
                at = SPANS_HEAD.size + wrong * SPAN.size + 8
                damaged[at : at + 8] = place.to_bytes(8, "little")
                lazy, fetcher = opened(blob)
                contents = SpanContents(bytes(damaged), lazy, len(blob), Pieces(head + windows))
                found = b"".join(contents.read(span.offset, length, 5, 100))
                assert found == TAR[span.offset + 5 :][:100]
                assert max(fetcher.asked) <= len(blob) // LAZY_BLOCK


def test_a_span_in_front_of_the_blob(opened: Callable[..., Opened]) -> None:
    """Bits of the byte in front of the first one."""
    blob = MAKERS["best"]()
    head, windows = indexed(blob)
    damaged = bytearray(head)
    SPAN.pack_into(damaged, SPANS_HEAD.size, 0, 0, 0, 0, 3, bytes(32))
    lazy, fetcher = opened(blob)
    contents = SpanContents(bytes(damaged), lazy, len(blob), Pieces(head + windows))
    with pytest.raises(OSError, match="no such bytes"):
        contents.read(0, 100, 0, 100)
    span = SpanTable(head, len(blob)).span(1)
    found = b"".join(contents.read(span.offset, 100, 0, 100))
    assert found == TAR[span.offset :][:100]
    assert 0 in fetcher.asked
