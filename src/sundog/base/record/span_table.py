"""``layers/ID/spans``: where a reader can begin in a blob that is a gzip of a tar.

    HEAD      the magic, the number of spans, the sizes of the tar and of the table of contents
    SPAN...   64 bytes each, in order: together they are the tar
    table     the members of the tar, for ``image.layer.gzip_index``
    windows   of the spans, each compressed: what the blob holds in front of the span

A reader maps the file, and reads a window when it needs the span.  All numbers are little-endian.
The place of a file, in ``index``, is that of its contents in the tar.

A span's fields:

    offset        in the tar, in bytes
    blob offset   of the first whole byte of the span
    window        where its window is in this file
    length        of the window
    bits          of the byte in front of the first whole one that belong to the span
    digest        SHA-256 of the span; with the magic of version 2, of its bytes in the blob, from
                  the byte with its bits on
"""

from __future__ import annotations

from sundog.base.cpython import Struct
from sundog.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mmap import mmap

SPANS_MAGIC, PACKED_SPANS_MAGIC = b"sundog-spans 1\n\0", b"sundog-spans 2\n\0"
SPANS_HEAD = Struct("<16s3Q")
SPAN = Struct("<3Q2I32s")
SPAN_LIMIT = 64 << 20  # bytes of the tar in a span, and of the blob
_PACKED_WINDOW_LIMIT = 64 << 10


class _Span:
    """A span of a tar; ``end`` and ``blob_end`` are where the next one begins."""

    __slots__ = ("bits", "blob_end", "blob_offset", "digest", "end", "length", "offset", "window")

    def __init__(
        self, fields: tuple[int, int, int, int, int, bytes], *, end: int, blob_end: int
    ) -> None:
        """Take the fields in the order of the table."""
        self.offset, self.blob_offset, self.window, self.length, self.bits, self.digest = fields
        self.end = end
        self.blob_end = blob_end


class SpanTable:
    """A table in ``data``, which is the file, or its beginning, of a blob of ``blob_size`` bytes.

    Threads may share it.  Nothing is believed: what is wrong raises StoreError.
    """

    __slots__ = ("_blob_size", "_data", "count", "is_packed", "size", "table")

    def __init__(self, data: bytes | mmap, blob_size: int) -> None:
        """Look at the head.  ``size`` is the tar's; ``table`` is where the table is.

        ``is_packed``: whether the digests are of bytes of the blob.
        """
        if len(data) < SPANS_HEAD.size:
            raise _damaged("it is too short")
        magic, self.count, self.size, table = SPANS_HEAD.unpack_from(data)
        if magic not in (SPANS_MAGIC, PACKED_SPANS_MAGIC):
            raise _damaged("no table of version 1 or 2")
        self.is_packed = magic == PACKED_SPANS_MAGIC
        begin = SPANS_HEAD.size + self.count * SPAN.size
        self.table = (begin, begin + table)
        if not self.count or begin > len(data):
            raise _damaged("it was cut")
        self._data = data
        self._blob_size = blob_size

    def span(self, number: int) -> _Span:
        """Return a span by its number.  Raises StoreError."""
        fields = self._fields(number)
        end, blob_end = self.size, self._blob_size
        if number + 1 < self.count:
            end, blob_end = self._fields(number + 1)[:2]
        span = _Span(fields, end=end, blob_end=blob_end)
        if (
            not 0 < span.end - span.offset <= SPAN_LIMIT
            or not 0 < span.blob_end - span.blob_offset <= SPAN_LIMIT
            or span.length > _PACKED_WINDOW_LIMIT
            or span.bits > 7
        ):
            raise _damaged(f"span {number} is wrong")
        return span

    def find(self, offset: int) -> int:
        """Return the number of the span that has the byte ``offset`` of the tar."""
        low, high = 0, self.count - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self._fields(middle)[0] <= offset:
                low = middle
            else:
                high = middle - 1
        return low

    def _fields(self, number: int) -> tuple[int, int, int, int, int, bytes]:
        if not 0 <= number < self.count:
            raise _damaged(f"no span {number}")
        found: tuple[int, int, int, int, int, bytes] = SPAN.unpack_from(
            self._data, SPANS_HEAD.size + number * SPAN.size
        )
        return found


def _damaged(why: str) -> StoreError:
    return StoreError(f"damaged table of a layer's spans: {why}", "make it again")
