"""The index of a blob that is an ordinary gzip of a tar: checkpoints, and the members of the tar.

Whoever makes it reads the whole blob.  With it, a reader needs only the spans that it reads: see
``record.span_table``.  Equal blobs have equal indexes.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

from sundog.base.record.chunk_table import GZIP_SPANS, Chunk
from sundog.base.record.span_table import SPAN, SPAN_LIMIT, SPANS_HEAD, SPANS_MAGIC, SpanTable
from sundog.errors import ArchiveError, DigestMismatch
from sundog.image.layer.blob_tables import unpacked_frame
from sundog.image.layer.compressing import ZstdFrames
from sundog.image.layer.names import display
from sundog.image.layer.tar import TarReader
from sundog.image.layer.toc import TOC_LIMIT, TocFile, parse_toc
from sundog.image.layer.toc_writer import TocWriter
from sundog.image.oci.verified import VerifiedReader
from sundog.runtime.squashfs.inflate import GZIP, Inflating

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from mmap import mmap
    from typing import BinaryIO

    from sundog.image.layer.header import Member
    from sundog.image.layer.limits import Meter
    from sundog.image.oci.descriptor import Descriptor

SPAN_SIZE = 1 << 20
_INPUT = 256 << 10
_OUTPUT = 256 << 10
_WINDOW_LEVEL = 6
SIZE_OF_TABLE = 8  # bytes of the size of the text, in front of the packed table


@dataclass(frozen=True, slots=True)
class GzipTable:
    """The members of a blob by its index; ``digest`` is that of the index without its windows."""

    digest: str
    files: Sequence[TocFile]
    size: int  # of the tar
    kind: int = GZIP_SPANS

    def members(self) -> Iterator[tuple[Member, Sequence[Chunk]]]:
        """Yield each member, and one chunk, whose place is that in the tar."""
        for file in self.files:
            chunks = []
            for place, *_ in file.pieces:
                if not 0 <= place <= self.size - file.member.size:
                    raise ArchiveError(f"{display(file.member.name)}: its place is not in the tar")
                chunks.append(Chunk(place, 1, 0, 0))
            yield file.member, chunks


def index_gzip(blob: BinaryIO, layer: Descriptor, diff_id: str, meter: Meter) -> list[bytes]:
    """Return the index of the blob of ``layer``, in two parts: the windows are the second.

    ``blob`` is its file.  Raises ContentMismatch if it is not what its descriptor and ``diff_id``
    say, and ArchiveError for what is no gzip, or can't be indexed.
    """
    stream = _Checkpoints(cast("BinaryIO", VerifiedReader.of_blob(blob, layer)))
    reader = TarReader(io.BufferedReader(stream, _OUTPUT))
    toc = TocWriter(fraction=True, escapes=True)
    for member in reader:
        meter.entry(len(member.name) + len(member.link))
        entry = toc.add(member, {})
        if reader.holes:
            raise ArchiveError(f"{display(member.name)}: sparse files can't be indexed")
        if member.kind == "f" and member.size:
            entry["offset"] = reader.position
    meter.complete()
    if reader.digest != diff_id:
        raise DigestMismatch(f"unpacked, it has digest {reader.digest}, and should have {diff_id}")
    if not toc.is_true:
        raise ArchiveError("it has a time that no index can hold")
    text = toc.text()
    packed = len(text).to_bytes(SIZE_OF_TABLE, "little") + ZstdFrames().piece(text)
    return stream.index(reader.size, packed)


def index_digest(data: bytes | mmap) -> str:
    """Return the digest of an index without its windows.  Raises StoreError."""
    return f"sha256:{hashlib.sha256(data[: SpanTable(data, 0).table[1]]).hexdigest()}"


def read_gzip_index(data: bytes | mmap, blob_size: int) -> GzipTable:
    """Return the members of a blob by its index, whose windows may be missing.

    Raises ArchiveError, and StoreError.
    """
    spans = SpanTable(data, blob_size)
    start, end = spans.table
    if not start + SIZE_OF_TABLE <= end <= len(data) or end - start > TOC_LIMIT:
        raise ArchiveError("its index was cut")
    size = int.from_bytes(data[start : start + SIZE_OF_TABLE], "little")
    if size > TOC_LIMIT:
        raise ArchiveError(f"an index of {size:,} bytes")
    files = parse_toc(unpacked_frame(data[start + SIZE_OF_TABLE : end], size), escapes=True)
    return GzipTable(index_digest(data), files, spans.size)


class _Checkpoints(io.RawIOBase):
    """The tar in the gzip ``blob``; takes a checkpoint after each ``SPAN_SIZE`` bytes or so."""

    def __init__(self, blob: BinaryIO) -> None:
        self._blob = blob
        self._taken = 0  # bytes of the blob that the stream has got
        self._stream = Inflating(GZIP)
        self._given = 0  # bytes of the tar
        self._spans: list[tuple[int, int, int, bytes]] = []  # offset, blob offset, bits, window
        self._digests: list[bytes] = []
        self._hash = hashlib.sha256()
        self._ended = False

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = b""
        while not data and not self._ended:
            if not self._stream.left and not self._feed():
                break
            data = self._inflate(len(view))
        view[: len(data)] = data
        return len(data)

    def index(self, size: int, table: bytes) -> list[bytes]:
        """Return the index of the tar of ``size`` bytes, whose members are in ``table``."""
        if not self._ended or not self._spans:
            raise ArchiveError("the gzip stream ends early")
        self._digests.append(self._hash.digest())
        place = SPANS_HEAD.size + len(self._spans) * SPAN.size + len(table)
        spans, windows = bytearray(), bytearray()
        for (offset, start, bits, window), digest in zip(self._spans, self._digests, strict=True):
            spans += SPAN.pack(offset, start, place + len(windows), len(window), bits, digest)
            windows += window
        begins = [span[:2] for span in self._spans]
        for here, end in pairwise([*begins, (size, self._taken)]):
            if max(map(int.__sub__, end, here)) > SPAN_LIMIT:
                raise ArchiveError("a block of its gzip stream is too long for an index")
        head = SPANS_HEAD.pack(SPANS_MAGIC, len(self._spans), size, len(table))
        return [head + spans + table, bytes(windows)]

    def _feed(self) -> bool:
        data = self._blob.read(_INPUT)
        if not data:
            if not self._stream.ended:
                raise ArchiveError("the gzip stream ends early")
            self._ended = True
            return False
        self._stream.feed(data)
        self._taken += len(data)
        return True

    def _inflate(self, size: int) -> bytes:
        """Return the next bytes of the tar, at most ``size``."""
        stream = self._stream
        begun = self._given - self._spans[-1][0] if self._spans else SPAN_SIZE
        is_due = begun >= SPAN_SIZE
        try:
            if stream.ended:
                stream.skip_zeros()  # padding
                if not stream.left:
                    return b""
                stream.begin_member()
            data = stream.inflate(size if is_due else min(size, SPAN_SIZE - begun), stops=is_due)
        except ValueError as error:
            raise ArchiveError(f"the gzip stream is damaged: {error}") from None
        self._hash.update(data)
        self._given += len(data)
        if is_due and stream.at_block:
            self._mark()
        return data

    def _mark(self) -> None:
        """Begin a span."""
        if self._spans:
            self._digests.append(self._hash.digest())
            self._hash = hashlib.sha256()
        window = self._stream.window()
        packed = zlib.compress(window, _WINDOW_LEVEL) if window else b""
        start = self._taken - self._stream.left
        self._spans.append((self._given, start, self._stream.bits, packed))
