"""zTOCs for tests, after their schema."""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime

from sundog.base.record.span_table import SpanTable

KINDS = {
    tarfile.REGTYPE: b"reg",
    tarfile.DIRTYPE: b"dir",
    tarfile.SYMTYPE: b"symlink",
    tarfile.LNKTYPE: b"hardlink",
}
WINDOW = 32768


@dataclass(frozen=True)
class Number:
    """A number, with its form for ``struct``."""

    form: str
    value: int


@dataclass(frozen=True)
class Table:
    """A table, with its fields in their order.

    None is a field that is not there; a list is a vector of strings or tables.
    """

    fields: tuple[object, ...]


class Writer:
    """Writes FlatBuffers: what is referred to comes behind."""

    def __init__(self) -> None:
        self.data = bytearray(4)

    def table(self, table: Table) -> int:
        """Write a table; return its place."""
        vtable, offset = len(self.data), 4
        slots, inline = [], bytearray()
        later: list[tuple[int, object]] = []
        for value in table.fields:
            slots.append(offset if value is not None else 0)
            if isinstance(value, Number):
                packed = struct.pack(value.form, value.value)
            else:
                packed = b"" if value is None else bytes(4)
                later += [(offset, value)] if packed else []
            inline += packed
            offset += len(packed)
        self.data += struct.pack(f"<{2 + len(slots)}H", 4 + 2 * len(slots), offset, *slots)
        place = len(self.data)
        self.data += struct.pack("<i", place - vtable) + inline
        for at, value in later:
            self.refer(place + at, self.value(value))
        return place

    def value(self, value: object) -> int:
        """Write what is no number; return its place."""
        if isinstance(value, Table):
            return self.table(value)
        place = len(self.data)
        if isinstance(value, bytes):
            self.data += struct.pack("<I", len(value)) + value + b"\0"
        elif isinstance(value, list):
            self.data += struct.pack("<I", len(value)) + bytes(4 * len(value))
            for number, each in enumerate(value):
                self.refer(place + 4 + 4 * number, self.value(each))
        return place

    def refer(self, at: int, place: int) -> None:
        struct.pack_into("<I", self.data, at, place - at)


def flat(table: Table) -> bytes:
    """Return the bytes of FlatBuffers whose root is ``table``."""
    writer = Writer()
    writer.refer(0, writer.table(table))
    return bytes(writer.data)


def member(info: tarfile.TarInfo) -> Table:
    """Return the metadata of a file."""
    time = datetime.fromtimestamp(info.mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    return Table(
        (
            info.name.encode() + b"/" * info.isdir(),
            KINDS[info.type],
            Number("<q", info.offset_data),
            Number("<q", info.size),
            info.linkname.encode(),
            Number("<q", info.mode),
            Number("<I", info.uid),
            Number("<I", info.gid),
            None,
            None,
            time,
            Number("<q", 0),
            Number("<q", 0),
            [
                Table((key.encode(), value.encode("utf-8", "surrogateescape")))
                for key, value in info.pax_headers.items()
            ],
        )
    )


def ztoc(tar: bytes, blob: bytes, index: bytes) -> Table:
    """Return the zTOC of the gzip ``blob`` of ``tar``, with the spans of our own ``index``."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        members = [member(info) for info in opened]
    spans = SpanTable(index, len(blob))
    points, digests = bytearray(), []
    for number in range(spans.count):
        span = spans.span(number)
        packed = index[span.window : span.window + span.length]
        window = zlib.decompress(packed) if packed else b""
        points += struct.pack("<2qB", span.blob_offset, span.offset, span.bits)
        points += window.rjust(WINDOW, b"\0")
        part = blob[span.blob_offset - bool(span.bits) : span.blob_end]
        digests.append(b"sha256:" + hashlib.sha256(part).hexdigest().encode())
    checkpoints = struct.pack("<iq", spans.count, 1 << 20) + points
    return Table(
        (
            b"0.9",
            b"tests",
            Number("<q", len(blob)),
            Number("<q", len(tar)),
            Table((members,)),
            Table((Number("<b", 1), Number("<i", spans.count - 1), digests, bytes(checkpoints))),
        )
    )
