"""Contents of a blob: its table is a stranger's."""

import threading
from contextlib import suppress

from sundog.base.record.chunk_table import ZSTD_FRAMES, Chunk, ChunkTableWriter
from sundog.errors import StoreError
from sundog.runtime.fuse.blob_contents import BlobContents


class Meeting:
    """A blob that notes whether two threads read it at the same time."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)
        self.have_met = False

    def read(self, _offset: int, size: int) -> bytes:
        with suppress(threading.BrokenBarrierError):
            self._barrier.wait(0.3)
            self.have_met = True
        return bytes(size)

    def expect(self, _offset: int, _size: int) -> None:
        pass

    def discard(self, _offset: int, _wrong: bytes) -> bool:
        return False


def have_met(skipped: int) -> bool:
    """Read two files of one byte, each of which is behind ``skipped`` bytes of its piece."""
    writer = ChunkTableWriter(ZSTD_FRAMES)
    places = [writer.add([Chunk(0, 1, 0, 1, skipped=skipped)]) for _ in range(2)]
    blob = Meeting()
    contents = BlobContents(b"".join(writer.parts()), blob)

    def read(place: int) -> None:
        with suppress(StoreError):
            contents.read(place, 1, 0, 1)

    threads = [threading.Thread(target=read, args=(place,)) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return blob.have_met


def test_large_pieces_are_unpacked_one_at_a_time() -> None:
    assert have_met(0)
    assert not have_met(32 << 20)
