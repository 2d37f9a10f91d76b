"""Contents of a blob: its table is a stranger's."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from types import MethodType

import pytest

from sundog.base.record.chunk_table import ZSTD_FRAMES, Chunk, ChunkTableWriter
from sundog.base.record.span_table import SPAN, SPANS_HEAD, SPANS_MAGIC
from sundog.errors import StoreError
from sundog.runtime.fuse import piece_cache
from sundog.runtime.fuse.blob_contents import BlobContents
from sundog.runtime.fuse.piece_cache import PIECES
from sundog.runtime.fuse.span_contents import SpanContents
from tests.image.layer.test_blob_tables import Pieces


class Meeting:
    """A blob that notes whether two threads read it at the same time.

    The first one waits for the second: for long if the two ``may_meet``.
    """

    def __init__(self, *, may_meet: bool) -> None:
        self._barrier = threading.Barrier(2, timeout=60 if may_meet else 0.3)
        self.have_met = False

    def read(self, _offset: int, size: int) -> bytes:
        with suppress(threading.BrokenBarrierError):
            self._barrier.wait()
            self.have_met = True
        return bytes(size)

    def lacks(self, _offset: int, _size: int) -> bool:
        return True

    def has_some(self, _offset: int, _size: int) -> bool:
        return False

    def expect(self, _offset: int, _size: int) -> None:
        pass

    def discard(self, _offset: int, _wrong: bytes) -> bool:
        return False


def have_met(skipped: int, *, may_meet: bool) -> bool:
    """Read a byte of each of two layers, which is behind ``skipped`` bytes of its piece."""
    writer = ChunkTableWriter(ZSTD_FRAMES)
    writer.add([Chunk(0, 1, 0, 1, skipped=skipped)])
    blob = Meeting(may_meet=may_meet)
    return meet(blob, [BlobContents(b"".join(writer.parts()), blob) for _ in range(2)])


def meet(blob: Meeting, layers: Sequence[BlobContents | SpanContents]) -> bool:
    """Read a byte of each of two layers."""

    def read(layer: BlobContents | SpanContents) -> None:
        with suppress(StoreError):
            layer.read(0, 1, 0, 1)

    threads = [threading.Thread(target=read, args=(layer,)) for layer in layers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return blob.have_met


def test_large_pieces_are_unpacked_one_at_a_time() -> None:
    assert have_met(0, may_meet=True)
    assert not have_met(32 << 20, may_meet=False)


def test_large_parts_of_a_gzip_are_unpacked_one_at_a_time() -> None:
    spans = SPANS_HEAD.pack(SPANS_MAGIC, 1, 1, 0) + SPAN.pack(0, 0, 0, 0, 0, bytes(32))
    for size, is_small in ((1 << 20, True), (32 << 20, False)):
        blob = Meeting(may_meet=is_small)
        layers = [SpanContents(spans, blob, size, Pieces(b"")) for _ in range(2)]
        assert meet(blob, layers) == is_small


def test_layers_share_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piece_cache, "_KEPT", 100)
    made: list[int] = []

    def layer(_self: object, number: int) -> bytes:
        made.append(number)
        return bytes(60)

    one, other = MethodType(layer, object()), MethodType(layer, object())
    for make in (one, one, other, one):
        assert len(PIECES.get(make, 7, 60)) == 60
    assert len(made) == 3
