"""Blobs that have a table of contents: zstd:chunked and eStargz.

The manifest's annotation has the digest of the table.  Without it, a blob counts as having none:
a table that only the blob's end vouches for could be anybody's.

Specification: stargz-snapshotter, "eStargz"; containers/storage, pkg/chunked.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from bisect import bisect_right
from dataclasses import dataclass

from sundog.base.record.chunk_table import GZIP_MEMBERS, STARGZ_NAME, ZSTD_FRAMES
from sundog.errors import ArchiveError
from sundog.image.layer.compression import zstd_decompressor
from sundog.image.layer.header import BLOCK
from sundog.image.layer.tar import TarReader
from sundog.image.layer.toc import TOC_LIMIT, TocFile, chunks_of, parse_toc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sundog.base.record.chunk_table import Chunk
    from sundog.image.layer.header import Member
    from sundog.image.oci.descriptor import Descriptor

    Read = Callable[[int, int], bytes]  # returns so many bytes (2nd) of the blob from the 1st on

CHUNKED = "io.github.containers.zstd-chunked."
_CHUNKED_NAMES = (CHUNKED, "io.containers.zstd-chunked.")  # of containers/storage, of stargz
_DIGEST, _PLACE = "manifest-checksum", "manifest-position"
CHUNKED_DIGEST, CHUNKED_PLACE = CHUNKED + _DIGEST, CHUNKED + _PLACE
CHUNKED_SPLIT = f"{CHUNKED}tarsplit-position"
STARGZ_DIGEST = "containerd.io/snapshot/stargz/toc.digest"
STARGZ_SIZE = "io.containers.estargz.uncompressed-size"
_STARGZ_FOOTER, _STARGZ_MAGIC = 51, b"STARGZ"
_FOOTER_FIELD = slice(16, 32)  # the place of the table, in hexadecimal
_CHUNKED_TYPE = 1
_GZIP = 31  # zlib.h, inflateInit2


@dataclass(frozen=True, slots=True)
class BlobTable:
    """The checked table of contents of a blob: its ``digest``, and its files.

    ``kind`` is that of the chunks: see ``record.chunk_table``.
    """

    kind: int
    digest: str
    files: Sequence[TocFile]
    size: int  # of the blob
    end: int  # where the table begins

    def members(self) -> Iterator[tuple[Member, Sequence[Chunk]]]:
        """Yield each member, and where its contents are.  Raises ArchiveError."""
        begins = sorted({piece[0] for file in self.files for piece in file.pieces if piece[0] >= 0})
        begins.append(self.end)
        for file in self.files:
            if file.pieces:
                yield file.member, chunks_of(file, self._ends(file, begins))
            else:
                yield file.member, ()

    def _ends(self, file: TocFile, begins: Sequence[int]) -> list[int]:
        """Return where each piece of ``file`` ends, by the next one's beginning."""
        # Of zstd, the last one may say itself where it ends: a header's frame follows.
        says_end = self.kind == ZSTD_FRAMES and file.end >= 0
        ends = []
        for begin, *_ in file.pieces[:-1] if says_end else file.pieces:
            at = bisect_right(begins, begin)
            ends.append(begins[at] if at < len(begins) else self.size)
        return [*ends, min(file.end, self.size)] if says_end else ends


def table_digest(blob: Descriptor) -> str:
    """Return the digest of the blob's table of contents; "" if the manifest names none."""
    digest, _ = _chunked(blob)
    return digest or blob.annotations.get(STARGZ_DIGEST, "")


def _chunked(blob: Descriptor) -> tuple[str, str]:
    """Return what the annotations of zstd:chunked say: digest and place of the table, or ""."""
    for name in _CHUNKED_NAMES:
        digest, place = (blob.annotations.get(name + each, "") for each in (_DIGEST, _PLACE))
        if digest and place:
            return digest, place
    return "", ""


def read_table(blob: Descriptor, read: Read) -> BlobTable:
    """Return the table of ``blob``, which has a ``table_digest``; ``read`` returns parts of it.

    Raises ArchiveError for a table that is not what the manifest says, or means nothing, and what
    ``read`` raises.
    """
    digest, said = _chunked(blob)
    if digest:
        place, packed, unpacked = _chunked_place(said, blob.size)
        data = read(place, packed)
        _check(data, digest)
        files = parse_toc(unpacked_frame(data, unpacked))
        return BlobTable(ZSTD_FRAMES, digest, files, blob.size, place)
    digest = table_digest(blob)
    place = _stargz_place(read, blob.size)
    member, text = _stargz_member(read(place, blob.size - _STARGZ_FOOTER - place))
    _check(text, digest)
    # The archive has the table, too, as its last file.
    own = TocFile(member)
    own.pieces = [(place, 0, BLOCK, hashlib.sha256(text).digest())]
    files = [*parse_toc(text), own]
    return BlobTable(GZIP_MEMBERS, digest, files, blob.size, blob.size - _STARGZ_FOOTER)


def _check(data: bytes, digest: str) -> None:
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
        raise ArchiveError("its table of contents is not the one that its manifest names")


def _chunked_place(text: str, size: int) -> tuple[int, int, int]:
    """Return the place of the table of zstd:chunked, its length, and that of its text."""
    numbers = text.split(":")
    if len(numbers) != 4 or not all(n.isascii() and n.isdigit() and len(n) < 20 for n in numbers):
        raise ArchiveError(f"a wrong annotation of zstd:chunked: {text[:80]}")
    place, packed, unpacked, kind = map(int, numbers)
    if kind != _CHUNKED_TYPE:
        raise ArchiveError(f"its table of contents is of an unknown type: {kind}")
    if max(packed, unpacked) > TOC_LIMIT:
        raise ArchiveError(f"a table of contents of {max(packed, unpacked):,} bytes")
    if place + packed > size:
        raise ArchiveError("its table of contents would be behind its end")
    return place, packed, unpacked


def unpacked_frame(data: bytes, size: int) -> bytes:
    """Return what one frame of zstd unpacks to, which must be ``size`` bytes."""
    decompressor = zstd_decompressor()
    try:
        text = decompressor.decompress(data, size + 1)
    except Exception as error:  # the library has its own types
        raise ArchiveError(f"its table of contents is damaged: {error}") from None
    if len(text) != size or not decompressor.eof:
        raise ArchiveError(f"its table of contents does not unpack to {size:,} bytes")
    return text


def _stargz_place(read: Read, size: int) -> int:
    """Return where the member with the table begins, as the blob's end says."""
    footer = read(size - _STARGZ_FOOTER, _STARGZ_FOOTER) if size >= _STARGZ_FOOTER else b""
    digits = footer[_FOOTER_FIELD]
    if footer[_FOOTER_FIELD.stop :][: len(_STARGZ_MAGIC)] != _STARGZ_MAGIC:
        raise ArchiveError("it does not end as eStargz does")
    try:
        place = int(digits, 16)
    except ValueError:
        raise ArchiveError("it does not say where its table of contents is") from None
    if not 0 <= place < size - _STARGZ_FOOTER or size - place > TOC_LIMIT:
        raise ArchiveError("its table of contents would not be in it, or is too large")
    return place


def _stargz_member(data: bytes) -> tuple[Member, bytes]:
    """Return the member of the archive that has the table, and the table."""
    try:
        archive = zlib.decompressobj(wbits=_GZIP).decompress(data, TOC_LIMIT)
    except zlib.error as error:
        raise ArchiveError(f"its table of contents is damaged: {error}") from None
    reader = TarReader(io.BytesIO(archive))
    for member in reader:
        if member.name == STARGZ_NAME and member.kind == "f" and not reader.holes:
            return member, b"".join(reader.read_data(1 << 20))
        break
    raise ArchiveError("it has no table of contents where it says so")
