"""The contents of a layer whose file is a gzip of a tar, by its spans: ``record.span_table``.

A span's bytes leave this module only if they have the digest in the table, or come from bytes that
have it.
"""

from __future__ import annotations

from sundog.base.record.span_table import SpanTable
from sundog.errors import StoreError
from sundog.runtime.fuse.nearby import with_nearby
from sundog.runtime.fuse.piece_cache import PIECES
from sundog.runtime.squashfs.inflate import inflate_span, unpacked_window

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from mmap import mmap

    from sundog.runtime.fuse.blob import Blob


class SpanContents:
    """The contents of the files in ``blob``, as ``spans`` says; ``windows`` is that file, too."""

    __slots__ = ("_blob", "_sha256", "_spans", "_windows")

    def __init__(self, spans: bytes | mmap, blob: Blob, blob_size: int, windows: Blob) -> None:
        """Look at the table.  Raises StoreError, and OSError without zlib."""
        from hashlib import sha256  # noqa: PLC0415 - only a server of such a layer needs it

        self._sha256 = sha256
        self._spans = SpanTable(spans, blob_size)
        self._blob = blob
        self._windows = windows

    def read(self, place: int, length: int, offset: int, size: int) -> Sequence[bytes | memoryview]:
        """See ``LayerContents``."""
        at, end = place + offset, place + min(offset + size, length)
        number = self._spans.find(at)
        parts: list[bytes | memoryview] = []
        self._expect(number, place, length, end)
        while at < end:
            span = self._spans.span(number)
            if not span.offset <= at < span.end:
                raise StoreError(f"damaged layer: nothing is at {at} of its tar")
            stop = min(end, span.end)
            size = max(span.end - span.offset, span.blob_end - span.blob_offset)
            contents = memoryview(PIECES.get(self._checked, number, size))
            parts.append(contents[at - span.offset : stop - span.offset])
            at = stop
            number += 1
        return parts

    def _expect(self, number: int, place: int, length: int, end: int) -> None:
        """Let the spans come, from one to the byte ``end`` of the tar, that a file begins in."""
        wanted = range(number, self._spans.find(end - 1) + 1)
        start, stop = self._extent(wanted[0])[0], self._extent(wanted[-1])[1]
        if self._blob.lacks(start, stop - start):
            file = range(self._spans.find(place), self._spans.find(place + length - 1) + 1)
            start, stop = with_nearby(self._extent, self._spans.count, wanted, file, self._blob)
            self._blob.expect(start, stop - start)

    def _extent(self, number: int) -> tuple[int, int]:
        """Return where the bytes of a span begin and end in the blob."""
        span = self._spans.span(number)
        return span.blob_offset - bool(span.bits), span.blob_end

    def _checked(self, number: int) -> bytes:
        """Fetch and unpack a span; if it is wrong, do so once more from wherever it may come."""
        span = self._spans.span(number)
        start = span.blob_offset - bool(span.bits)
        while True:
            packed = self._blob.read(start, span.blob_end - start)
            window = self._windows.read(span.window, span.length)
            try:
                dictionary = unpacked_window(window, span.length)
                contents = inflate_span(packed, span.bits, dictionary, span.end - span.offset)
            except ValueError:
                contents = b""
            known = packed if self._spans.is_packed else contents
            if contents and self._sha256(known).digest() == span.digest:
                return contents
            again = self._blob.discard(start, packed)
            if not self._windows.discard(span.window, window) and not again:
                break
        raise StoreError(
            f"damaged layer: span {number} of its blob has another digest", "pull the image again"
        )
