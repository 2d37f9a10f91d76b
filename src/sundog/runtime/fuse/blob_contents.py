"""The contents of a layer whose file is a blob, by its table of chunks: ``record.chunk_table``.

The blob is a stranger's.  A chunk's bytes leave this module only if they have the digest in the
table: it is looked at for each piece, or once when the blob was complete.  Memory is bounded
whatever a piece unpacks to.
"""

from __future__ import annotations

from sundog.base.record.chunk_table import ZSTD_FRAMES, ChunkTable
from sundog.errors import StoreError
from sundog.runtime.fuse.blob import FileBlob, WholeBlob
from sundog.runtime.fuse.nearby import with_nearby
from sundog.runtime.fuse.piece_cache import PIECES
from sundog.runtime.squashfs.compressors import gzip_unpacker, zstd_unpacker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from mmap import mmap

    from sundog.runtime.fuse.blob import Blob


class BlobContents:
    """The contents of the files in ``blob``, as the ``table`` of its chunks says."""

    __slots__ = ("_blob", "_chunks", "_is_checked", "_is_here", "_sha256", "_unpack")

    def __init__(self, table: bytes | mmap, blob: Blob) -> None:
        """Load what unpacks it.  Raises StoreError, and ImportError."""
        self._chunks = ChunkTable(table)
        self._is_here = isinstance(blob, WholeBlob)
        self._is_checked = self._chunks.is_checked and isinstance(blob, FileBlob)
        if not self._is_checked:  # it takes 3 ms to load
            from hashlib import sha256  # noqa: PLC0415

            self._sha256 = sha256
        self._blob = blob
        is_zstd = self._chunks.kind == ZSTD_FRAMES
        self._unpack: Callable[[bytes, int], bytes] = (
            zstd_unpacker() if is_zstd else gzip_unpacker()
        )

    def read(self, place: int, length: int, offset: int, size: int) -> Sequence[bytes | memoryview]:
        """See ``LayerContents``."""
        end = min(offset + size, length)
        number = self._chunks.find(place, offset)
        last = self._chunks.last(place)
        parts: list[bytes | memoryview] = []
        if not self._is_here:
            self._expect(place, number, last, end)
        while offset < end:
            chunk = self._chunks.chunk(number) if number <= last else None
            if chunk is None or not chunk.offset <= offset < chunk.offset + chunk.length:
                raise StoreError(f"damaged layer: chunks of the file at {place} are missing")
            start, stop = offset - chunk.offset, min(end - chunk.offset, chunk.length)
            if chunk.is_zeros:
                parts.append(bytes(stop - start))
            else:
                size = max(chunk.blob_length, chunk.skipped + chunk.length)
                parts.append(memoryview(PIECES.get(self._checked, number, size))[start:stop])
            offset += stop - start
            number += 1
        return parts

    def _expect(self, place: int, number: int, last: int, end: int) -> None:
        """Let the pieces come of the file at ``place``, from a chunk to its byte ``end``."""
        wanted = range(0)
        start = stop = 0
        for each in range(number, last + 1):
            chunk = self._chunks.chunk(each)
            if not chunk.is_zeros:
                if not wanted:
                    number, start, stop = each, chunk.blob_offset, chunk.blob_offset
                if chunk.blob_offset != stop:
                    break
                stop += chunk.blob_length
                wanted = range(number, each + 1)
            if chunk.offset + chunk.length >= end:
                break
        if wanted and self._blob.lacks(start, stop - start):
            file = range(place, last + 1)
            start, stop = with_nearby(self._extent, self._chunks.count, wanted, file, self._blob)
            self._blob.expect(start, stop - start)

    def _extent(self, number: int) -> tuple[int, int]:
        """Return where the bytes of a chunk begin and end in the blob."""
        chunk = self._chunks.chunk(number)
        return chunk.blob_offset, chunk.blob_offset + chunk.blob_length

    def _checked(self, number: int) -> bytes:
        """Fetch and unpack a chunk; if it is wrong, do so again from wherever it may come."""
        chunk = self._chunks.chunk(number)
        while True:
            packed = self._blob.read(chunk.blob_offset, chunk.blob_length)
            try:
                contents = self._unpack(packed, chunk.skipped + chunk.length)[chunk.skipped :]
            except Exception:  # each library has its own types
                contents = b""
            if len(contents) == chunk.length and (
                self._is_checked or self._sha256(contents).digest() == chunk.digest
            ):
                return contents
            if not self._blob.discard(chunk.blob_offset, packed):
                break
        raise StoreError(
            f"damaged layer: chunk {number} of its blob has another digest", "pull the image again"
        )
