"""A zTOC of SOCI as an index of a gzip: its table of contents, and its checkpoints.

Specification: the schema ``ztoc.fbs`` and the file ``gzip_zinfo.h`` of soci-snapshotter, versions
0.4 to 0.16; FlatBuffers, "Internals".  Nothing is believed: whatever the bytes are, only
ArchiveError is raised, and no more is read than the table of contents of any layer may have.

A checkpoint has the 32 KiB of output in front of it, as it is.  The digest of a span is that of its
bytes in the blob.  The size is that which Go's reader of tars has read: padding may follow.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib

from sundog.base.record.span_table import PACKED_SPANS_MAGIC, SPAN, SPANS_HEAD
from sundog.errors import ArchiveError
from sundog.image.layer.compressing import ZstdFrames
from sundog.image.layer.gzip_index import SIZE_OF_TABLE
from sundog.image.layer.header import BLOCK
from sundog.image.layer.pax import xattrs_of
from sundog.image.layer.toc import ENTRIES_LIMIT, TOC_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sundog.image.layer.toc import Entry

_CHECKPOINT = struct.Struct("<2qB32768s")  # in the blob, in the tar, bits, window
_CHECKPOINTS_HEAD = struct.Struct("<iq")  # their number, and how far apart they are
_WINDOW_LEVEL = 6
_GZIP = 1  # CompressionAlgorithm
_SHA256 = "sha256:"
# Fields of the tables, in their order in the schema.
_VERSION, _BLOB_SIZE, _TAR_SIZE, _TOC, _COMPRESSION = 0, 2, 3, 4, 5
_MEMBERS = 0
_ALGORITHM, _DIGESTS, _CHECKPOINTS = 0, 2, 3
_NAME, _TYPE, _OFFSET, _SIZE, _LINK, _MODE, _UID, _GID = range(8)
_TIME, _MAJOR, _MINOR, _RECORDS = range(10, 14)
_KEY, _VALUE = 0, 1
_MEMBER = 64  # bytes that a member counts for, however little it says


def index_of_ztoc(data: bytes, blob_size: int) -> list[bytes]:
    """Return the index, as of ``index_gzip``, that the zTOC ``data`` of a blob is.

    Raises ArchiveError.
    """
    try:
        return _index(_Buffer(data).root, blob_size)
    except (struct.error, IndexError, UnicodeDecodeError):
        raise ArchiveError("a damaged zTOC") from None


class _Buffer:
    """FlatBuffers in ``data``.  ``left`` is how many bytes may still be read of texts."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.left = TOC_LIMIT

    @property
    def root(self) -> _Table:
        """The table of all."""
        return _Table(self, self.number("<I", 0))

    def number(self, form: str, at: int) -> int:
        """Return a number.  Raises struct.error."""
        if at < 0:
            raise IndexError
        found: int = struct.unpack_from(form, self.data, at)[0]
        return found

    def referred(self, at: int) -> int:
        """Return the place to which an offset leads."""
        return at + self.number("<I", at)

    def text(self, at: int) -> bytes:
        """Return the string, or the vector of bytes, at a place."""
        size = self.number("<I", at)
        if size > len(self.data) - at - 4:
            raise IndexError
        self.spend(size)
        return self.data[at + 4 : at + 4 + size]

    def spend(self, size: int) -> None:
        """Count bytes that are read, again and again where many members are one and the same."""
        self.left -= size
        if self.left < 0:
            raise ArchiveError("the table of contents of a zTOC is too large")


class _Table:
    """The table at a place of a buffer."""

    def __init__(self, buffer: _Buffer, at: int) -> None:
        self._buffer = buffer
        self._at = at
        self._fields = at - buffer.number("<i", at)  # the vtable
        self._end = buffer.number("<H", self._fields)

    def _place(self, field: int) -> int:
        """Return where a field is, 0 if it has its default."""
        slot = 4 + 2 * field
        if slot + 2 > self._end:
            return 0
        offset = self._buffer.number("<H", self._fields + slot)
        return self._at + offset if offset else 0

    def number(self, field: int, form: str, default: int = 0) -> int:
        """Return a number, ``default`` if it is not there."""
        place = self._place(field)
        return self._buffer.number(form, place) if place else default

    def text(self, field: int) -> bytes:
        """Return a string, or a vector of bytes; b"" by default."""
        place = self._place(field)
        return self._buffer.text(self._buffer.referred(place)) if place else b""

    def table(self, field: int) -> _Table:
        """Return a table.  Raises IndexError if there is none."""
        place = self._place(field)
        if not place:
            raise IndexError
        return _Table(self._buffer, self._buffer.referred(place))

    def places(self, field: int) -> Iterator[int]:
        """Give the places of the members of a vector of tables or strings."""
        place = self._place(field)
        if not place:
            return
        vector = self._buffer.referred(place)
        count = self._buffer.number("<I", vector)
        if count > ENTRIES_LIMIT:
            raise ArchiveError(f"a zTOC of more than {ENTRIES_LIMIT:,} entries")
        for number in range(count):
            self._buffer.spend(_MEMBER)
            yield self._buffer.referred(vector + 4 + 4 * number)

    def tables(self, field: int) -> Iterator[_Table]:
        """Give the members of a vector of tables."""
        for place in self.places(field):
            yield _Table(self._buffer, place)

    def texts(self, field: int) -> Iterator[bytes]:
        """Give the members of a vector of strings."""
        for place in self.places(field):
            yield self._buffer.text(place)


def _index(root: _Table, blob_size: int) -> list[bytes]:
    size, said = root.number(_TAR_SIZE, "<q"), root.number(_BLOB_SIZE, "<q")
    if not root.text(_VERSION).startswith(b"0.9"):
        raise ArchiveError("a zTOC of an unknown version")
    if said != blob_size:
        raise ArchiveError(f"a zTOC of a blob of {said:,} bytes")
    compression = root.table(_COMPRESSION)
    if compression.number(_ALGORITHM, "<b", _GZIP) != _GZIP:
        raise ArchiveError("a zTOC of another compression")
    text = json.dumps({"version": 1, "entries": _entries(root.table(_TOC), size)}).encode()
    table = len(text).to_bytes(SIZE_OF_TABLE, "little") + ZstdFrames().piece(text)
    points = _points(compression.text(_CHECKPOINTS))
    digests = [_digest(each) for each in compression.texts(_DIGESTS)]
    if len(points) != len(digests):
        raise ArchiveError("a zTOC with another number of digests than of spans")
    place = SPANS_HEAD.size + len(points) * SPAN.size + len(table)
    spans, windows = bytearray(), bytearray()
    for (blob_offset, offset, bits, window), digest in zip(points, digests, strict=True):
        if min(blob_offset, offset) < 0:
            raise ArchiveError("a zTOC with a checkpoint nowhere")
        packed = zlib.compress(window, _WINDOW_LEVEL) if offset else b""
        spans += SPAN.pack(offset, blob_offset, place + len(windows), len(packed), bits, digest)
        windows += packed
    head = SPANS_HEAD.pack(PACKED_SPANS_MAGIC, len(points), size, len(table))
    return [head + spans + table, bytes(windows)]


def _points(data: bytes) -> Sequence[tuple[int, int, int, bytes]]:
    """Return the checkpoints: where in the blob, where in the tar, the bits, and the window."""
    count, _ = _CHECKPOINTS_HEAD.unpack_from(data)
    found = [*_CHECKPOINT.iter_unpack(data[_CHECKPOINTS_HEAD.size :])]
    if not found or len(found) != count:
        raise ArchiveError("a zTOC with a wrong number of checkpoints")
    return found


def _digest(text: bytes) -> bytes:
    try:
        found = bytes.fromhex(text.decode().removeprefix(_SHA256))
    except ValueError:
        found = b""
    if len(found) != 32 or not text.startswith(_SHA256.encode()):
        raise ArchiveError("a zTOC with a span without a SHA-256 digest")
    return found


def _entries(toc: _Table, size: int) -> list[Entry]:
    """Return the entries of the table of contents, in the form of ``toc.parse_toc``."""
    found: list[Entry] = []
    end = 0  # of the data in front
    for member in toc.tables(_MEMBERS):
        kind = member.text(_TYPE).decode()
        entry: Entry = {
            "type": kind,
            "name": _name(member.text(_NAME)),
            "linkName": _name(member.text(_LINK)),
            "mode": member.number(_MODE, "<q") & 0o7777,
            "uid": member.number(_UID, "<I"),
            "gid": member.number(_GID, "<I"),
            "modtime": member.text(_TIME).decode(),
        }
        if kind in ("char", "block"):
            entry |= {
                "devMajor": member.number(_MAJOR, "<q"),
                "devMinor": member.number(_MINOR, "<q"),
            }
        records = {each.text(_KEY): each.text(_VALUE) for each in member.tables(_RECORDS)}
        if any(key.startswith(b"GNU.sparse.") for key in records):
            raise ArchiveError("a zTOC with a sparse file")
        if xattrs := xattrs_of(records):
            entry["xattrs"] = {
                _name(name): base64.b64encode(value).decode() for name, value in xattrs.items()
            }
        if kind == "reg" and (length := member.number(_SIZE, "<q")):
            start = member.number(_OFFSET, "<q")
            # A header is in front of the data.  Of a sparse file, the size is not that of the data.
            if not end + BLOCK <= start <= start + length <= size:
                raise ArchiveError("a zTOC in which files overlap")
            end = start + length
            entry |= {"size": length, "offset": start}
        found.append(entry)
    return found


def _name(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
