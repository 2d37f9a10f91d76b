"""Compress a tar so that each file of it can be unpacked alone: zstd:chunked and eStargz.

Equal archives give equal bytes.  A file's data begin a new piece, and a large file has several, so
that a reader need not unpack what it does not read.

Specification: stargz-snapshotter, "eStargz"; containers/storage, pkg/chunked.
"""

from __future__ import annotations

import hashlib
import struct
from typing import BinaryIO, Protocol

from sundog.base.record.chunk_table import STARGZ_NAME
from sundog.errors import ArchiveError
from sundog.image.layer.blob_tables import (
    CHUNKED_DIGEST,
    CHUNKED_PLACE,
    CHUNKED_SPLIT,
    STARGZ_DIGEST,
    STARGZ_SIZE,
)
from sundog.image.layer.compressing import (
    ESTARGZ,
    ZSTD_CHUNKED,
    GzipMembers,
    ZstdFrames,
    table_frame,
)
from sundog.image.layer.header import BLOCK, Member, format_header
from sundog.image.layer.tar_cutter import TarCutter
from sundog.image.layer.tar_split import TarSplit
from sundog.image.layer.toc_writer import TocEntry, TocWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

CHUNK_SIZE = 512 << 10
_RAW_LIMIT = 1 << 20  # bytes of headers in one piece
_SKIPPED = struct.Struct("<2I")  # the head of a frame that is skipped: RFC 8878, section 3.1.2
_SKIPPED_MAGIC = 0x184D2A50
_CHUNKED_FOOTER = struct.Struct("<7Q8s")
_CHUNKED_MAGIC = b"GNUlInUx"
_CHUNKED_TYPE = 1
# An empty member of gzip with an extra field, RFC 1952: the place of the table, in hexadecimal.
_STARGZ_FOOTER = bytes.fromhex("1f8b08040000000000ff1a00") + b"SG\x16\0%016xSTARGZ"
_END = bytes(2 * BLOCK)  # of an archive
_EMPTY_BLOCK = bytes.fromhex("010000ffff") + bytes(8)


class Pieces(Protocol):
    """Compresses pieces that can be unpacked alone."""

    def piece(self, data: bytes | bytearray) -> bytes:
        """Return the piece that unpacks to ``data``."""


class PiecewiseWriter:
    """A file that compresses an archive into ``out``, and lists its members.

    Call ``finish`` at the end; ``out`` stays open.  Then ``digest`` and ``size`` are those of the
    blob, ``annotations`` are for its descriptor, and ``diff_id`` is the digest of the archive in
    it.  An archive that no table can tell the truth about has no annotations.
    """

    def __init__(self, out: BinaryIO, pieces: Pieces, *, fraction: bool) -> None:
        self.size = 0
        self.annotations: dict[str, str] = {}
        self._out = out
        self._pieces = pieces
        self._hash = hashlib.sha256()
        self._archive = hashlib.sha256()
        self._cutter = TarCutter(self)
        self._toc = TocWriter(fraction=fraction)
        self._raw = bytearray()
        self._chunk = bytearray()
        self._entry: TocEntry = {}
        self._chunk_entry: TocEntry = {}
        self._position = 0  # in the member's data
        self._file = hashlib.sha256()

    @property
    def digest(self) -> str:
        """The digest of the blob, ``sha256:HEX``."""
        return f"sha256:{self._hash.hexdigest()}"

    @property
    def diff_id(self) -> str:
        """The digest of the archive that the blob unpacks to, ``sha256:HEX``."""
        return f"sha256:{self._archive.hexdigest()}"

    def write(self, data: bytes) -> int:
        """Take all of ``data``; return its length.  Raises OSError, and ArchiveError."""
        self._archive.update(data)
        self._cutter.write(data)
        return len(data)

    def finish(self) -> None:
        """Write the end of the archive, the table, and where it is."""
        self._cutter.finish()

    def raw(self, data: bytes) -> None:
        """See ``CutTar``."""
        self._raw += data
        if len(self._raw) >= _RAW_LIMIT:
            self.flush_raw()

    def member(self, member: Member, records: Mapping[bytes, bytes]) -> None:
        """See ``CutTar``."""
        self._entry = self._chunk_entry = self._toc.add(member, records)
        self._position = 0
        self._file = hashlib.sha256()

    def data(self, data: bytes | memoryview) -> None:
        """See ``CutTar``."""
        self._file.update(data)
        view = memoryview(data)
        while view:
            if len(self._chunk) == CHUNK_SIZE:
                self._put_chunk()
            part = view[: CHUNK_SIZE - len(self._chunk)]
            self._chunk += part
            view = view[len(part) :]

    def end_of_data(self) -> None:
        """See ``CutTar``."""
        is_only = not self._position
        self._put_chunk()
        self._entry["digest"] = f"sha256:{self._file.hexdigest()}"
        self.end_file(self._entry, is_only=is_only)

    def flush_raw(self) -> None:
        """Write the headers that wait."""
        if self._raw:
            self.put(self._pieces.piece(self._raw))
            self._raw.clear()

    def end_file(self, entry: TocEntry, *, is_only: bool) -> None:
        """Take note of the end of a file, whose ``entry`` has one chunk if it ``is_only``."""
        if is_only:
            del entry["chunkSize"]

    def _put_chunk(self) -> None:
        """Write a chunk of the file."""
        if self._position:
            self._chunk_entry = {"type": "chunk", "name": self._entry["name"]}
            self._toc.add_chunk(self._chunk_entry)
            self._chunk_entry["chunkOffset"] = self._position
        self.flush_raw()
        self._chunk_entry |= {
            "offset": self.size,
            "chunkSize": len(self._chunk),
            "chunkDigest": f"sha256:{hashlib.sha256(self._chunk).hexdigest()}",
        }
        self.put(self._pieces.piece(self._chunk))
        self._position += len(self._chunk)
        self._chunk.clear()

    def put(self, data: bytes) -> None:
        """Write bytes of the blob."""
        self._hash.update(data)
        self.size += len(data)
        view = memoryview(data)
        while view:
            view = view[self._out.write(view) :]  # a raw file may take less than all


class ZstdChunkedWriter(PiecewiseWriter):
    """Writes zstd:chunked, with tar-split: see above."""

    def __init__(self, out: BinaryIO) -> None:
        super().__init__(out, ZstdFrames(), fraction=True)
        self._split_stream = ZstdFrames()
        self._lines = bytearray()
        self._split = TarSplit(self._take_line)
        self._split_packed = bytearray()
        self._split_size = 0

    def raw(self, data: bytes) -> None:
        """See ``CutTar``."""
        super().raw(data)
        self._split.raw(data)

    def member(self, member: Member, records: Mapping[bytes, bytes]) -> None:
        """See ``CutTar``."""
        super().member(member, records)
        self._split.begin(member.name, member.size if member.kind == "f" else 0)

    def data(self, data: bytes | memoryview) -> None:
        """See ``CutTar``."""
        super().data(data)
        self._split.data(data)

    def end_of_data(self) -> None:
        """See ``CutTar``."""
        super().end_of_data()
        self._split.end()

    def end_file(self, entry: TocEntry, *, is_only: bool) -> None:
        """See there."""
        super().end_file(entry, is_only=is_only)
        if is_only:
            del entry["chunkDigest"]  # it is the file's
        entry["endOffset"] = self.size

    def finish(self) -> None:
        """See there."""
        super().finish()
        self.flush_raw()
        if not self._toc.is_true:
            return
        self._split.finish()
        split = bytes(self._split_packed) + self._split_stream.end(self._lines)
        self._split_size += len(self._lines)
        text = self._toc.text(tarSplitDigest=f"sha256:{hashlib.sha256(split).hexdigest()}")
        table = table_frame(text)
        place = self._put_skipped(table)
        split_place = self._put_skipped(split)
        self._put_skipped(
            _CHUNKED_FOOTER.pack(
                *(place, len(table), len(text), _CHUNKED_TYPE),
                *(split_place, len(split), self._split_size, _CHUNKED_MAGIC),
            )
        )
        self.annotations = {
            CHUNKED_DIGEST: f"sha256:{hashlib.sha256(table).hexdigest()}",
            CHUNKED_PLACE: f"{place}:{len(table)}:{len(text)}:{_CHUNKED_TYPE}",
            CHUNKED_SPLIT: f"{split_place}:{len(split)}:{self._split_size}",
        }

    def _take_line(self, line: bytes) -> None:
        """Take a line of tar-split; all of them are one frame."""
        self._lines += line
        if len(self._lines) >= _RAW_LIMIT:
            self._split_packed += self._split_stream.part(self._lines)
            self._split_size += len(self._lines)
            self._lines.clear()

    def _put_skipped(self, data: bytes) -> int:
        """Write a frame that decompressors skip; return where its contents are."""
        self.put(_SKIPPED.pack(_SKIPPED_MAGIC, len(data)))
        place = self.size
        self.put(data)
        return place


class StargzWriter(PiecewiseWriter):
    """Writes eStargz, in whose archive the table is the last file: see above.

    A piece has the padding and the headers behind a file's data, too.
    """

    def __init__(self, out: BinaryIO) -> None:
        super().__init__(out, GzipMembers(), fraction=False)
        self._archive_size = 0
        self._end = b""

    def write(self, data: bytes) -> int:
        """Take all of ``data``; return its length.  Raises OSError, and ArchiveError."""
        # The end of the archive goes behind the table.
        kept = self._end + data
        kept, self._end = kept[: -len(_END)], kept[-len(_END) :]
        self._archive_size += len(kept)
        super().write(kept)
        return len(data)

    def finish(self) -> None:
        """See there."""
        if self._end != _END:
            raise ArchiveError("an archive without an end")
        super().finish()
        self.flush_raw()
        text = self._toc.text() if self._toc.is_true else b""
        place = self.size
        archive = _END
        if text:
            head = format_header(STARGZ_NAME, typeflag=b"0", mode=0o444, size=len(text))
            archive = head + text + bytes(-len(text) % BLOCK) + archive
        self._archive.update(archive)
        self._archive_size += len(archive)
        self.put(self._pieces.piece(archive))
        if text:
            self.put(_STARGZ_FOOTER % place + _EMPTY_BLOCK)
            self.annotations = {
                STARGZ_DIGEST: f"sha256:{hashlib.sha256(text).hexdigest()}",
                STARGZ_SIZE: str(self._archive_size),
            }


def piecewise_writer(out: BinaryIO, compression: str) -> PiecewiseWriter | None:
    """Return the writer for a compression; None if it makes no pieces."""
    make = {ZSTD_CHUNKED: ZstdChunkedWriter, ESTARGZ: StargzWriter}.get(compression)
    return make(out) if make else None
