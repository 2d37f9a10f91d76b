"""The proof that a blob's table of contents tells the truth about the tar that the blob is.

A start shows what the table says, and its digest is the manifest's.  But others read the tar, and
see what an image is by that: a scanner, say.  So the two are compared before a layer is complete.
A blob may be read while it comes: what the file has of it, from its beginning on.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from typing import cast

from sundog.base.record.chunk_table import Chunk
from sundog.base.record.span_table import SpanTable
from sundog.errors import ContentMismatch, DigestMismatch, StoreError
from sundog.image.layer.blob_layer import planned
from sundog.image.layer.blob_tables import read_table
from sundog.image.layer.chunks import ChunksAhead
from sundog.image.layer.compression import open_decompressed
from sundog.image.layer.gzip_index import index_gzip, read_gzip_index
from sundog.image.layer.header import NANOSECONDS
from sundog.image.layer.limits import current_meter
from sundog.image.layer.names import display, normalised
from sundog.image.layer.tar import TarReader
from sundog.image.oci.verified import VerifiedReader
from sundog.runtime.squashfs.inflate import inflate_span, unpacked_window

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from mmap import mmap
    from typing import BinaryIO

    from sundog.base.record.chunk_table import ChunkTable
    from sundog.base.record.owners import OwnersManifest
    from sundog.image.layer.blob_tables import BlobTable
    from sundog.image.layer.header import Member
    from sundog.image.layer.planned_tree import PlannedNode, PlannedTree
    from sundog.image.oci.descriptor import Descriptor

    # Returns when a file has all bytes of the blob from the 1st to before the 2nd.
    Wait = Callable[[int, int], None]
    # A chunk: its piece, the piece's length, the bytes in front, its length and its digest.
    ChunkKey = tuple[int, int, int, int, bytes]

_HINT = "pull the image again, without --lazy: it is then what its tar says"
_READ = 1 << 20


def all_is_here(_start: int, _end: int) -> None:
    """Be the ``Wait`` for a file that has all of the blob."""


def check_blob_layer(
    blob: bytes, layer: Descriptor, diff_id: str, wait: Wait = all_is_here
) -> Collection[ChunkKey]:
    """Compare the blob of ``layer`` in the file ``blob`` with its digest, and its table.

    ``diff_id`` is the digest of the tar.  Return the chunks that are where the table says.  Raises
    ContentMismatch, which names the first path that differs, ArchiveError, OSError, and what
    ``wait`` raises.
    """
    with open(blob, "rb", buffering=0) as file:
        coming = _Coming(file.fileno(), wait)
        table = read_table(layer, coming.part)
        listed = list(table.members())
        by_table = planned(listed, ())  # while the rest comes
        pieces = _Pieces(table)
        verified = VerifiedReader.of_blob(coming, layer)
        tar = open_decompressed(cast("BinaryIO", verified), began=pieces.begin)
        with ChunksAhead(tar) as chunks:  # two threads: the stream is half of the work
            reader = TarReader(chunks)
            by_tar = planned(_members_of_tar(reader, listed, pieces), ())
        verified.drain()
    if reader.digest != diff_id:
        raise DigestMismatch(f"unpacked, it has digest {reader.digest}, and should have {diff_id}")
    _compare(by_table, by_tar)
    pieces.begin(layer.size, reader.size)
    return pieces.chunks_in_place()


def are_in_place(table: ChunkTable, proven: Collection[ChunkKey]) -> bool:
    """Tell whether each chunk in ``table`` is one of those that ``check_blob_layer`` returned."""
    chunks = map(table.chunk, range(table.count))
    return all(each.is_zeros or _key(each) in proven for each in chunks)


class _Coming:
    """The blob in the open file ``fd``, which has of it what ``wait`` has waited for."""

    def __init__(self, fd: int, wait: Wait) -> None:
        self._fd = fd
        self._wait = wait
        self._position = 0

    def part(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset`` on."""
        self._wait(offset, offset + size)
        return os.pread(self._fd, size, offset)

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, up to ``size``; b"" at the end."""
        data = self.part(self._position, size)
        self._position += len(data)
        return data


class _Pieces:
    """The pieces of a blob: where each begins in its tar, while that is unpacked.

    So it is known where the chunks are which the tar has, and nothing is unpacked twice.  Only a
    piece counts that the table names.
    """

    def __init__(self, table: BlobTable) -> None:
        self._named = {piece[0] for file in table.files for piece in file.pieces}
        self._found: dict[int, tuple[int, int, int]] = {}  # place in the tar; the end; that there
        self._last = (-1, 0)
        self._chunks: list[tuple[Chunk, int]] = []

    def begin(self, start: int, place: int) -> None:
        """Take note that a piece begins at ``start``, or the blob ends: ``place`` is in the tar."""
        begun, its_place = self._last
        if begun >= 0 and begun in self._named:
            self._found[begun] = its_place, start, place
        self._last = start, place

    def add(self, chunk: Chunk, place: int) -> None:
        """Take note that the tar has the contents of ``chunk`` at ``place``."""
        self._chunks.append((chunk, place))

    def chunks_in_place(self) -> Collection[ChunkKey]:
        """Return the chunks whose piece, unpacked alone, has their contents."""
        return {_key(chunk) for chunk, place in self._chunks if self._has(chunk, place)}

    def _has(self, chunk: Chunk, place: int) -> bool:
        """Tell whether the piece of ``chunk`` has the part of the tar that begins at ``place``."""
        its_place, end, its_end = self._found.get(chunk.blob_offset, (0, 0, -1))
        return (
            its_place + chunk.skipped == place
            and place + chunk.length <= its_end
            and end <= chunk.blob_offset + chunk.blob_length
        )


def _key(chunk: Chunk) -> ChunkKey:
    piece = chunk.blob_offset, chunk.blob_length
    return *piece, chunk.skipped, chunk.length, chunk.digest


def check_gzip_layer(
    blob: bytes, layer: Descriptor, diff_id: str, index: bytes | mmap, wait: Wait = all_is_here
) -> None:
    """Compare the blob of ``layer``, an ordinary gzip, with its digest and its ``index``.

    Raises as above.  Whoever made the index could choose the windows, and so what a span unpacks
    to, and its digest; so all is made again.  What somebody else has made may have other spans, or
    windows that are packed otherwise: then each span is compared with the tar.
    """
    with open(blob, "rb", buffering=0) as file:
        coming = cast("BinaryIO", _Coming(file.fileno(), wait))
        made, windows = index_gzip(coming, layer, diff_id, current_meter())
        if index[: len(made)] == made and index[len(made) :] == windows:
            return
        try:
            _compare(
                planned(read_gzip_index(index, layer.size).members(), ()),
                planned(read_gzip_index(made, layer.size).members(), ()),
            )
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
    reader: TarReader, listed: Iterable[tuple[Member, Sequence[Chunk]]], pieces: _Pieces
) -> Iterator[tuple[Member, Sequence[Chunk]]]:
    """Yield the members of the tar, each with the digests of the chunks that are ``listed``."""
    known: dict[bytes, deque[Sequence[Chunk]]] = {}
    for member, chunks in listed:
        if chunks:
            known.setdefault(normalised(member.name), deque()).append(chunks)
    for member in reader:
        chunks = ()
        if member.kind == "f" and member.size and not reader.holes:
            said = known.get(normalised(member.name))
            chunks = _digests(reader, member.size, said.popleft() if said else (), pieces)
        yield member, chunks


def _digests(reader: TarReader, size: int, chunks: Sequence[Chunk], pieces: _Pieces) -> list[Chunk]:
    """Return the chunks of the member's data, cut where ``chunks`` are; zeros have no digest."""
    found = []
    begin = reader.position
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
        if is_as_said and not chunk.is_zeros:
            pieces.add(chunk, begin + position)
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
