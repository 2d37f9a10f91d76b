"""Metadata: chains of blocks of 8 KiB, read when they are asked for, and tables in such blocks.

A metadata block is a word of 16 bits and then the data: bit 15 says that they are not compressed,
the other bits are the size.  All blocks of a chain but the last unpack to 8 KiB.

Specification: Documentation/filesystems/squashfs.rst, "Inodes", "Fragment lookup table".
"""

from __future__ import annotations

from sundog.base.cpython import Struct
from sundog.runtime.squashfs.cache import BoundedCache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.squashfs.compressors import Decompress
    from sundog.runtime.squashfs.source import SquashfsSource

METADATA_SIZE = 8192
_METADATA_STORED = 0x8000  # not compressed
_METADATA_HEADER = 2
_KEPT_METADATA = 512  # blocks, 4 MiB
_KEPT_LOCATIONS = 4096
_LOCATION = Struct("<Q")


class Metadata:
    """The metadata blocks of a file.  Positions are those of blocks in the file."""

    __slots__ = ("_blocks", "_decompress", "source")

    def __init__(self, source: SquashfsSource, decompress: Decompress) -> None:
        self.source = source
        self._decompress = decompress
        self._blocks = BoundedCache(_KEPT_METADATA)

    def block(self, position: int, end: int) -> tuple[bytes, int]:
        """Return the block at ``position``, unpacked, and where the next one begins.

        Raises SquashfsError if the block reaches beyond ``end``.
        """
        found: tuple[bytes, int] | None = self._blocks.get(position)
        if found is None:
            found = self._read_block(position, end)
            self._blocks.put(position, found)
        if found[1] > end:
            raise self.source.damaged("a metadata block reaches into the next table", position)
        return found

    def _read_block(self, position: int, end: int) -> tuple[bytes, int]:
        source = self.source
        available = min(_METADATA_HEADER + METADATA_SIZE, end - position)
        if available <= _METADATA_HEADER:
            raise source.damaged("a metadata block lies outside of its table", position)
        data = source.read(position, available)
        header = data[0] | data[1] << 8
        size = header & ~_METADATA_STORED
        if not 0 < size <= available - _METADATA_HEADER:
            raise source.damaged(f"a metadata block of {size:,} bytes", position)
        data = data[_METADATA_HEADER : _METADATA_HEADER + size]
        if not header & _METADATA_STORED:
            try:
                data = self._decompress(data, METADATA_SIZE)
            except Exception as error:  # each library has its own type
                raise source.damaged(f"a metadata block: {error}", position) from None
            if not data:
                raise source.damaged("an empty metadata block", position)
        return data, position + _METADATA_HEADER + size

    def read(self, position: int, offset: int, size: int, end: int) -> tuple[bytes, int, int]:
        """Return ``size`` bytes of a chain, and the place of the byte that follows them.

        They begin ``offset`` bytes after the start of the block at ``position``.  The chain ends at
        ``end``; raises SquashfsError if it is too short.
        """
        parts: list[bytes] = []
        while True:
            data, following = self.block(position, end)
            part = data[offset : offset + size]
            size -= len(part)
            offset += len(part)
            if not size:
                if not parts:
                    return part, position, offset
                parts.append(part)
                return b"".join(parts), position, offset
            if part:
                parts.append(part)
            if len(data) != METADATA_SIZE:  # else a chain could take long, and yield nothing
                raise self.source.damaged("metadata end early", position)
            offset -= METADATA_SIZE
            position = following

    def table(self, start: int, count: int, width: int, end: int) -> MetadataTable:
        """Return the table of ``count`` rows of ``width`` bytes, listed at ``start``.

        Raises SquashfsError if the list reaches beyond ``end``.
        """
        return MetadataTable(self, start, count, width, end)


class MetadataTable:
    """Rows of ``width`` bytes in metadata blocks, and a list of the positions of these blocks."""

    __slots__ = ("_count", "_end", "_locations", "_metadata", "_start", "_width")

    def __init__(self, metadata: Metadata, start: int, count: int, width: int, end: int) -> None:
        blocks = -(-count * width // METADATA_SIZE)
        if start + blocks * _LOCATION.size > end:
            raise metadata.source.damaged(
                f"a table of {count:,} rows reaches beyond the end", start
            )
        self._metadata = metadata
        self._start = start
        self._count = count
        self._width = width
        self._end = end
        self._locations = BoundedCache(_KEPT_LOCATIONS)

    def row(self, index: int) -> tuple[bytes, int]:
        """Return a block, and the offset of row ``index`` in it."""
        if index >= self._count:
            raise self._metadata.source.damaged(
                f"row {index:,} of a table of {self._count:,}", self._start
            )
        number, at = divmod(index * self._width, METADATA_SIZE)
        location: int | None = self._locations.get(number)
        if location is None:
            place = self._start + number * _LOCATION.size
            (location,) = _LOCATION.unpack(self._metadata.source.read(place, _LOCATION.size))
            self._locations.put(number, location)
        data, _ = self._metadata.block(location, self._end)
        if at + self._width > len(data):
            raise self._metadata.source.damaged(f"a table without its row {index:,}", location)
        return data, at
