"""The maps of sparse members of a tar archive: which parts of the file have data.

Maps are read in all formats, and written in pax 1.0.  Specification: GNU tar's manual, "Storing
Sparse Files".  The old GNU format keeps the map in the header and in blocks after it, pax 0.0 and
0.1 in the extended header, pax 1.0 in front of the data.  A map is a list of (offset, size), in
order of offset.
"""

from __future__ import annotations

from sundog.errors import ArchiveError
from sundog.image.layer.header import BLOCK, parse_field
from sundog.image.layer.pax import parse_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.layer.source import Source

Map = list[tuple[int, int]]

_LIMIT = 1 << 20  # bytes of a map; Go's archive/tar stops there too
_FILLED = 1 << 30  # bytes of holes at most that become data to shorten a map
_OLD_ENTRIES = slice(386, 482)
_OLD_EXTENDED = 482
_OLD_REAL_SIZE = slice(483, 495)
_OLD_BLOCK_ENTRIES = slice(0, 504)
_OLD_BLOCK_EXTENDED = 504


def old_map(block: bytes, source: Source) -> tuple[Map, int]:
    """Return the map of an old GNU header and the file's size; read its further blocks."""
    entries = _old_entries(block[_OLD_ENTRIES])
    more = block[_OLD_EXTENDED]
    taken = 0
    while more:
        taken += BLOCK
        if taken > _LIMIT:
            raise ArchiveError("its map of holes is too long")
        extension = source.take(BLOCK)
        entries += _old_entries(extension[_OLD_BLOCK_ENTRIES])
        more = extension[_OLD_BLOCK_EXTENDED]
    return entries, parse_field(block[_OLD_REAL_SIZE])


def pax_map(text: bytes) -> Map:
    """Parse the map of pax 0.0 and 0.1 in the extended header: numbers between commas."""
    numbers = [parse_number(number) for number in text.split(b",") if text]
    if len(numbers) % 2:
        raise ArchiveError("its map of holes is damaged")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def data_map(source: Source) -> tuple[Map, int]:
    """Read the map that pax 1.0 has in front of the data; return it and its length in bytes.

    The map is one number a line, first the count of pairs, padded to whole blocks.
    """
    text = bytearray()
    lines, wanted = 0, 1
    while lines < wanted:
        if len(text) >= _LIMIT:
            raise ArchiveError("its map of holes is too long")
        block = source.take(BLOCK)
        text += block
        lines += block.count(b"\n")
        if wanted == 1 and lines:
            count = parse_number(bytes(text.partition(b"\n")[0]))
            if count < 0:
                raise ArchiveError("its map of holes is damaged")
            wanted += 2 * count
    numbers = bytes(text).split(b"\n")[1:wanted]
    return pax_map(b",".join(numbers)), len(text)


def fitting_map(extents: Map, size: int) -> Map | None:
    """Return a map, short enough for readers, of a file of ``size`` with data in ``extents``.

    If there are too many holes, small ones become data.  None if that is not enough.
    """
    entries = [*extents, (size, 0)]  # this is how GNU tar describes a hole at the end
    data = sum(length for _, length in extents)
    gap = BLOCK
    while len(format_map(entries)) > _LIMIT // 2:
        gap *= 2
        merged = [entries[0]]
        for offset, length in entries[1:]:
            start, before = merged[-1]
            if length and offset - (start + before) < gap:
                merged[-1] = (start, offset + length - start)
            else:
                merged.append((offset, length))
        entries = merged
        if sum(length for _, length in entries) > 2 * data + _FILLED:
            return None
    return entries


def format_map(entries: Map) -> bytes:
    """Return ``entries`` as pax 1.0 writes them, see ``data_map``."""
    numbers = [len(entries), *(number for entry in entries for number in entry)]
    text = b"".join(b"%d\n" % number for number in numbers)
    return text + bytes(-len(text) % BLOCK)


def check_map(entries: Map, size: int, data: int) -> None:
    """Raise ArchiveError unless ``entries`` fit a file of ``size`` and take ``data`` bytes."""
    end = total = 0
    for offset, length in entries:
        if offset < end or length < 0 or offset + length > size:
            raise ArchiveError("its map of holes is damaged")
        end = offset + length
        total += length
    if total != data:
        raise ArchiveError("its map of holes does not fit its data")


def _old_entries(fields: bytes) -> Map:
    entries = []
    for start in range(0, len(fields), 24):
        if not fields[start + 12]:
            break
        entry = fields[start : start + 24]
        entries.append((parse_field(entry[:12]), parse_field(entry[12:])))
    return entries
