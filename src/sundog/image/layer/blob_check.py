"""The proof that a blob's table of contents tells the truth about the tar that the blob is.

A start shows what the table says, and its digest is the manifest's.  But others read the tar, and
see what an image is by that: a scanner, say.  So once a blob is complete, the two are compared.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from itertools import groupby
from operator import attrgetter
from typing import cast

from sundog.base.record.chunk_table import ZSTD_FRAMES, Chunk
from sundog.base.record.span_table import SpanTable
from sundog.errors import ContentMismatch, DigestMismatch, StoreError
from sundog.image.layer.blob_layer import planned
from sundog.image.layer.blob_tables import read_table
from sundog.image.layer.compression import open_decompressed
from sundog.image.layer.gzip_index import index_gzip, read_gzip_index
from sundog.image.layer.header import NANOSECONDS
from sundog.image.layer.limits import current_meter
from sundog.image.layer.names import display, normalised
from sundog.image.layer.tar import TarReader
from sundog.image.oci.verified import VerifiedReader
from sundog.runtime.squashfs.compressors import gzip_unpacker, zstd_unpacker
from sundog.runtime.squashfs.inflate import inflate_span, unpacked_window

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from mmap import mmap
    from typing import BinaryIO

    from sundog.base.record.chunk_table import ChunkTable
    from sundog.base.record.owners import OwnersManifest
    from sundog.image.layer.blob_tables import BlobTable
    from sundog.image.layer.header import Member
    from sundog.image.layer.planned_tree import PlannedNode, PlannedTree
    from sundog.image.oci.descriptor import Descriptor

_HINT = "pull the image again, without --lazy: it is then what its tar says"
_READ = 1 << 20
# Bytes of unpacked pieces: so many for each of a file, and so many besides, for heads of a tar.
_UNPACKED_MORE, _UNPACKED_AT_LEAST = 2, 64 << 20


def check_blob_layer(blob: bytes, layer: Descriptor, diff_id: str) -> None:
    """Compare the complete blob of ``layer`` in the file ``blob`` with its digest, and its table.

    ``diff_id`` is the digest of the tar.  Raises ContentMismatch, which names the first path that
    differs, ArchiveError, and OSError.
    """
    with open(blob, "rb", buffering=0) as file:
        table = read_table(layer, lambda offset, size: os.pread(file.fileno(), size, offset))
        verified = VerifiedReader.of_blob(file, layer)
        reader = TarReader(open_decompressed(cast("BinaryIO", verified)))
        by_tar = planned(_members_of_tar(reader, table), ())
        verified.drain()
    if reader.digest != diff_id:
        raise DigestMismatch(f"unpacked, it has digest {reader.digest}, and should have {diff_id}")
    _compare(planned(table.members(), ()), by_tar)


def are_in_place(blob: int, table: ChunkTable) -> bool:
    """Tell whether each chunk in ``table`` is where that says in the open ``blob``, a complete one.

    A piece may be unpacked for several chunks.  Of a stranger's, each may unpack to far more than
    it has of files: such a table takes too long, and is not in place.
    """
    unpack = zstd_unpacker() if table.kind == ZSTD_FRAMES else gzip_unpacker()
    chunks = [each for each in map(table.chunk, range(table.count)) if not each.is_zeros]
    left = _UNPACKED_MORE * sum(each.length for each in chunks) + _UNPACKED_AT_LEAST
    begin = attrgetter("blob_offset")
    for offset, found in groupby(sorted(chunks, key=begin), begin):
        of_piece = [*found]
        size = max(each.skipped + each.length for each in of_piece)
        left -= size
        if left < 0:
            return False
        packed = os.pread(blob, max(each.blob_length for each in of_piece), offset)
        try:
            contents = memoryview(unpack(packed, size))
        except Exception:  # each library has its own types
            return False
        for each in of_piece:
            part = contents[each.skipped : each.skipped + each.length]
            if len(part) != each.length or hashlib.sha256(part).digest() != each.digest:
                return False
    return True


def check_gzip_layer(blob: bytes, layer: Descriptor, diff_id: str, index: bytes | mmap) -> None:
    """Compare the complete blob of ``layer``, an ordinary gzip, with its digest and its ``index``.

    Raises as above.  Whoever made the index could choose the windows, and so what a span unpacks
    to, and its digest; so all is made again.  What somebody else has made may have other spans, or
    windows that are packed otherwise: then each span is compared with the tar.
    """
    with open(blob, "rb", buffering=0) as file:
        made, windows = index_gzip(file, layer, diff_id, current_meter())
        if index[: len(made)] == made and index[len(made) :] == windows:
            return
        try:
            _compare(
                planned(read_gzip_index(index, layer.size).members(), ()),
                planned(read_gzip_index(made, layer.size).members(), ()),
            )
            file.seek(0)
            _check_spans(file, SpanTable(index, layer.size), SpanTable(made, 0).size, index)
        except StoreError as error:
            raise ContentMismatch(f"its index is not true: {error.message}", _HINT) from error


def _check_spans(blob: BinaryIO, spans: SpanTable, size: int, index: bytes | mmap) -> None:
    """Raise ContentMismatch if a span is not that part of the tar in ``blob``, of ``size`` bytes.

    ``spans`` is the table in ``index``.  Raises StoreError.
    """
    tar = open_decompressed(blob)
    if spans.size > size or spans.span(0).offset:
        raise ContentMismatch("its index has other spans than its tar", _HINT)
    for number in range(spans.count):
        span = spans.span(number)
        start = span.blob_offset - bool(span.bits)
        packed = os.pread(blob.fileno(), span.blob_end - start, start)
        window = index[span.window : span.window + span.length]
        wrong = ContentMismatch(f"its index is not true: span {number} differs", _HINT)
        try:
            dictionary = unpacked_window(window, span.length)
            contents = inflate_span(packed, span.bits, dictionary, span.end - span.offset)
        except ValueError:
            raise wrong from None
        if hashlib.sha256(packed if spans.is_packed else contents).digest() != span.digest:
            raise wrong
        at = 0
        while part := tar.read(len(contents) - at):
            if contents[at : at + len(part)] != part:
                raise wrong
            at += len(part)


def _members_of_tar(
    reader: TarReader, table: BlobTable
) -> Iterator[tuple[Member, Sequence[Chunk]]]:
    """Yield the members of the tar, each with the digests of the chunks that the table has."""
    known: dict[bytes, deque[Sequence[Chunk]]] = {}
    for member, said in table.members():
        if said:
            known.setdefault(normalised(member.name), deque()).append(said)
    for member in reader:
        chunks: Sequence[Chunk] = ()
        if member.kind == "f" and member.size and not reader.holes:
            listed = known.get(normalised(member.name))
            chunks = _digests(reader, member.size, listed.popleft() if listed else ())
        yield member, chunks


def _digests(reader: TarReader, size: int, chunks: Sequence[Chunk]) -> list[Chunk]:
    """Return the chunks of the member's data, cut where ``chunks`` are; zeros have no digest."""
    found = []
    data = reader.read_data(_READ)
    left = b""
    position = 0
    for chunk in chunks if chunks and chunks[-1].offset + chunks[-1].length == size else ():
        digest, wanted, zeros = hashlib.sha256(), chunk.length, True
        while wanted:
            left = left or next(data)
            part, left = left[:wanted], left[wanted:]
            digest.update(part)
            zeros = zeros and chunk.is_zeros and part.count(0) == len(part)
            wanted -= len(part)
        is_as_said = zeros if chunk.is_zeros else digest.digest() == chunk.digest
        found.append(chunk if is_as_said else _other(position, chunk.length))
        position += chunk.length
    for _ in data:  # the reader counts what it hands out when it is asked for more
        pass
    return found


def _other(offset: int, length: int) -> Chunk:
    """Return a chunk that equals none of a table."""
    return Chunk(0, 0, offset, length, digest=b"")


def _compare(
    by_table: tuple[PlannedTree, OwnersManifest], by_tar: tuple[PlannedTree, OwnersManifest]
) -> None:
    """Raise ContentMismatch if the trees or their manifests differ; name the first path."""
    (table, owners), (tar, real_owners) = by_table, by_tar
    shown, real = dict(table.walk()), dict(tar.walk())
    shown_first: dict[int, bytes] = {}
    real_first: dict[int, bytes] = {}
    for path in sorted(shown.keys() | real.keys()):
        one, other = shown.get(path), real.get(path)
        if one is None or other is None:
            raise _differs(path, "it is only in the " + ("tar" if one is None else "table"))
        for what, look in _FACTS.items():
            if look(one) != look(other):
                raise _differs(path, f"{what} {look(one)} in the table, {look(other)} in the tar")
        if not _is_same_time(one.mtime_ns, other.mtime_ns):
            raise _differs(path, "its time")
        if list(map(_cut, one.chunks)) != list(map(_cut, other.chunks)):
            raise _differs(path, "its contents")
        if shown_first.setdefault(id(one), path) != real_first.setdefault(id(other), path):
            raise _differs(path, "which file it is a hard link to")
    for path in sorted(owners.keys() | real_owners.keys()):
        if owners.get(path) != real_owners.get(path):
            raise _differs(path, "its owner, device number, attributes or whiteout")


def _cut(chunk: Chunk) -> tuple[int, ...]:
    place = 0 if chunk.length else chunk.blob_offset  # in the tar, by the index of a gzip
    return chunk.offset, chunk.length, int.from_bytes(chunk.digest), place


def _is_same_time(table: int, tar: int) -> bool:
    """Tell whether the times are the same; a table of eStargz has whole seconds, rounded."""
    return table == tar or (not table % NANOSECONDS and abs(table - tar) < NANOSECONDS)


_FACTS: dict[str, Callable[[PlannedNode], object]] = {
    "mode": lambda node: oct(node.mode),
    "size": lambda node: node.size,
    "target": lambda node: node.link,
    "attributes": lambda node: sorted(node.xattrs.items()),
}


def _differs(path: bytes, why: str) -> ContentMismatch:
    return ContentMismatch(
        f"its table of contents is not true: {display(path)}: {why} differs", _HINT
    )
