"""``layers/ID/chunks``: where the contents of a layer's files are in its blob.

Such a layer's ``file`` is the blob as a registry has it.  The blob consists of pieces that can be
unpacked alone; a chunk is a part of a file, and is in one piece.

    HEAD      the magic, the kind of the pieces with CHECKED or without, the number of chunks
    CHUNK...  64 bytes each: the chunks of a file are adjacent and in order

A reader maps the file.  All numbers are little-endian.  The place of a file, in ``index``, is the
number of its first chunk.  CHECKED says that each chunk of the complete blob has its digest; it
means nothing of a blob that is not all here, or stays elsewhere.

A chunk's fields:

    blob offset   of the piece, in bytes
    offset        of the chunk in its file
    blob length   of the piece; 0 for a chunk of zeros, which has no piece
    length        of the chunk
    skipped       bytes of the unpacked piece in front of the chunk
    left          the number of chunks of the same file behind this one
    digest        SHA-256 of the chunk
"""

from __future__ import annotations

import os

from sundog.base.cpython import Struct
from sundog.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from mmap import mmap

_CHUNKS_MAGIC = b"sundog-chunks 1\n"
_CHUNKS_HEAD = Struct("<16s2Q")
_CHUNK = Struct("<2Q4I32s")
_KIND, _KIND_AT = Struct("<Q"), 16  # in the head
_CHECKED = 1 << 8
ZSTD_FRAMES, GZIP_MEMBERS, GZIP_SPANS = range(3)
_KINDS = (ZSTD_FRAMES, GZIP_MEMBERS)  # ``span_table`` has the third
# Files of an eStargz: its table, the end of what comes first, the mark that nothing does.
STARGZ_NAME = b"stargz.index.json"
LANDMARK, NO_LANDMARK = b".prefetch.landmark", b".no.prefetch.landmark"
CHUNK_LIMIT = 64 << 20  # bytes of a chunk, or of a piece: they are unpacked in memory
HOLE_LIMIT = (1 << 32) - 1  # bytes of a chunk of zeros


class Chunk:
    """A chunk; the fields are those of the table, without ``left``.  Nobody changes it."""

    __slots__ = ("blob_length", "blob_offset", "digest", "length", "offset", "skipped")

    def __init__(
        self, blob_offset: int, blob_length: int, offset: int, length: int, *,
        digest: bytes = bytes(32), skipped: int = 0,
    ) -> None:  # fmt: skip
        self.blob_offset = blob_offset
        self.blob_length = blob_length
        self.offset = offset
        self.length = length
        self.digest = digest
        self.skipped = skipped

    @property
    def is_zeros(self) -> bool:
        """Tell whether it is zeros, of which the blob has nothing."""
        return not self.blob_length


class ChunkTable:
    """A table in ``data``, which is the whole file.  Threads may share it.

    Nothing is believed: what leads out of the data raises StoreError.  ``is_checked`` is CHECKED.
    """

    __slots__ = ("_data", "count", "is_checked", "kind")

    def __init__(self, data: bytes | mmap) -> None:
        """Look at the head.  Raises StoreError."""
        self._data = data
        if len(data) < _CHUNKS_HEAD.size:
            raise _damaged("it is too short")
        magic, kind, self.count = _CHUNKS_HEAD.unpack_from(data)
        self.kind = kind & ~_CHECKED
        self.is_checked = kind != self.kind
        if magic != _CHUNKS_MAGIC or self.kind not in _KINDS:
            raise _damaged("no table of version 1")
        if _CHUNKS_HEAD.size + self.count * _CHUNK.size != len(data):
            raise _damaged("it was cut")

    def chunk(self, number: int) -> Chunk:
        """Return a chunk by its number.  Raises StoreError."""
        blob_offset, offset, blob_length, length, skipped, _, digest = self._fields(number)
        if blob_length and max(length, blob_length, skipped) > CHUNK_LIMIT:
            raise _damaged(f"chunk {number} is too large")
        return Chunk(blob_offset, blob_length, offset, length, digest=digest, skipped=skipped)

    def find(self, place: int, offset: int) -> int:
        """Return the number of the chunk that has the byte ``offset`` of the file at ``place``.

        Without such a byte, it is the last chunk of the file.  Raises StoreError.
        """
        low, high = place, place + self._fields(place)[5]
        while low < high:
            middle = (low + high + 1) // 2
            if self._fields(middle)[1] <= offset:
                low = middle
            else:
                high = middle - 1
        return low

    def last(self, place: int) -> int:
        """Return the number of the last chunk of the file at ``place``.  Raises StoreError."""
        return place + int(self._fields(place)[5])

    def _fields(self, number: int) -> tuple[int, int, int, int, int, int, bytes]:
        if not 0 <= number < self.count:
            raise _damaged(f"no chunk {number}")
        found: tuple[int, int, int, int, int, int, bytes] = _CHUNK.unpack_from(
            self._data, _CHUNKS_HEAD.size + number * _CHUNK.size
        )
        return found


class ChunkTableWriter:
    """Puts a table of a ``kind`` together in memory."""

    __slots__ = ("_chunks", "_kind", "count")

    def __init__(self, kind: int) -> None:
        self._kind = kind
        self._chunks = bytearray()
        self.count = 0

    def add(self, chunks: Sequence[Chunk]) -> int:
        """Add the chunks of a file, in order; return the place of the file."""
        place = self.count
        left = len(chunks)
        for chunk in chunks:
            left -= 1
            self._chunks += _CHUNK.pack(
                *(chunk.blob_offset, chunk.offset, chunk.blob_length, chunk.length),
                *(chunk.skipped, left, chunk.digest),
            )
        self.count += len(chunks)
        return place

    def parts(self) -> Iterable[bytes | bytearray]:
        """Return the bytes of the file, in parts."""
        return _CHUNKS_HEAD.pack(_CHUNKS_MAGIC, self._kind, self.count), self._chunks


def note_checked(fd: int, kind: int) -> None:
    """Write CHECKED to the open table ``fd``, which is of a ``kind``.  Raises OSError."""
    os.pwrite(fd, _KIND.pack(kind | _CHECKED), _KIND_AT)


def _damaged(why: str) -> StoreError:
    return StoreError(f"damaged table of a layer's chunks: {why}", "pull the image again")
