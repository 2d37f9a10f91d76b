"""Directories: lists of entries in metadata blocks, and the indexes of long lists.

A list consists of runs: a header, and the entries of up to 256 inodes that share a metadata block.
The names are in strict order of their bytes, so no name is there twice.

A list is read in pieces of a few kilobytes.  The index in the inode of a long directory says where
pieces begin, and with which names.  For a list without an index, one pass makes an index.

Specification: Documentation/filesystems/squashfs.rst, "Directories"; struct squashfs_dir_header,
squashfs_dir_entry and squashfs_dir_index of Linux's squashfs_fs.h.
"""

from __future__ import annotations

from sundog.base.cpython import Struct
from sundog.runtime.squashfs.cache import BoundedCache
from sundog.runtime.squashfs.metadata import METADATA_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sundog.runtime.squashfs.inode import Inode
    from sundog.runtime.squashfs.metadata import Metadata

    # Name, reference, kind, and the position of the next entry.
    Entry = tuple[bytes, int, str, int]

_RUN_HEADER = Struct("<3I")  # count - 1, start of the inodes' block, first number
_RUN_LIMIT = 256
_ENTRY_HEAD = Struct("<HhHH")  # offset in the block, difference of numbers, type, length - 1
_INDEX_HEAD = Struct("<3I")  # position in the list, start of its block, length - 1
_NAME_LENGTH_LIMIT = 256
_KIND_OF_ENTRY = " dflbcps"
_LIST_SIZE_EXTRA = 3  # the size of a directory counts "." and "..", which its list does not have
_WHOLE_LIST = 1 << 15  # bytes of a list that is one piece
_PIECE_LIMIT = 1 << 18  # bytes that an index may leave between two names
_SMALLEST_PIECE = 1 << 14
_PIECES_LIMIT = 4096  # of an index that one pass makes
_UNINDEXED_LIMIT = 1 << 26  # bytes; a pass takes seconds
_KEPT_ENTRIES = 1 << 15
_KEPT_PIECES = 1 << 16


class _Piece:
    """Neighbouring entries of a directory.

    entries     in order of name
    references  name → reference
    """

    __slots__ = ("entries", "references")

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.references = {entry[0]: entry[1] for entry in entries}


class _PieceIndex:
    """The beginnings of the pieces of one list; three lists of one length.

    names       a name that no earlier piece has, nor any greater one; b"" for the first piece
    begins      the position in the list
    places      block and offset
    """

    __slots__ = ("begins", "names", "places")

    def __init__(self, first: tuple[int, int]) -> None:
        self.names = [b""]
        self.begins = [0]
        self.places = [first]

    def add(self, name: bytes, begin: int, place: tuple[int, int]) -> bool:
        """Add a piece; return False if it is not behind the last one."""
        if name <= self.names[-1] or begin <= self.begins[-1]:
            return False
        self.names.append(name)
        self.begins.append(begin)
        self.places.append(place)
        return True


class DirectoryTable:
    """The directories whose lists are between ``start`` and ``end``.

    ``inode_end`` is the end of the table of inodes, which has the indexes.
    """

    __slots__ = ("_end", "_indexes", "_inode_end", "_metadata", "_pieces", "_start")

    def __init__(self, metadata: Metadata, start: int, end: int, inode_end: int) -> None:
        self._metadata = metadata
        self._start = start
        self._end = end
        self._inode_end = inode_end
        self._pieces = BoundedCache(_KEPT_ENTRIES)
        self._indexes = BoundedCache(_KEPT_PIECES)

    def lookup(self, directory: Inode, name: bytes) -> int | None:
        """Return the reference of ``name``, or None if ``directory`` has no such name."""
        size = self._list_size(directory)
        if not size:
            return None
        if size <= _WHOLE_LIST:
            return self._piece(directory, 0).references.get(name)
        number = _last_not_after(self._index(directory).names, name)
        return self._piece(directory, number).references.get(name)

    def entries(self, directory: Inode, start: int) -> Iterator[Entry]:
        """Yield the entries from position ``start`` on, in order of name."""
        size = self._list_size(directory)
        while 0 <= start < size:
            number = 0
            if size > _WHOLE_LIST:
                number = _last_not_after(self._index(directory).begins, start)
            entries = self._piece(directory, number).entries
            # The first entry that ends behind ``start``.
            low, high = 0, len(entries)
            while low < high:
                middle = (low + high) // 2
                if entries[middle][3] <= start:
                    low = middle + 1
                else:
                    high = middle
            yield from entries[low:] if low else entries
            start = entries[-1][3]

    def _list_size(self, directory: Inode) -> int:
        if directory.kind != "d":
            raise self._metadata.source.damaged(
                f"inode {directory.reference:#x} is no directory", self._start
            )
        return max(directory.size - _LIST_SIZE_EXTRA, 0)

    def _piece(self, directory: Inode, number: int) -> _Piece:
        key = directory.reference, number
        found: _Piece | None = self._pieces.get(key)
        if found is None:
            found = self._read_piece(directory, number)
            self._pieces.put(key, found, len(found.entries))
        return found

    def _read_piece(self, directory: Inode, number: int) -> _Piece:
        begin, end = 0, self._list_size(directory)
        least, greater = b"", None
        position, offset = self._start + directory.start, directory.offset
        if end > _WHOLE_LIST:
            index = self._index(directory)
            begin = index.begins[number]
            position, offset = index.places[number]
            least = index.names[number]
            if number + 1 < len(index.begins):
                end, greater = index.begins[number + 1], index.names[number + 1]
        data, _, _ = self._metadata.read(position, offset, end - begin, self._end)
        try:
            entries = _parse_entries(data, begin)
            if entries[0][0] < least or (greater is not None and entries[-1][0] >= greater):
                raise ValueError("names are not in the order of the index")
            return _Piece(entries)
        except ValueError as error:
            raise self._metadata.source.damaged(
                f"directory {directory.reference:#x}: {error}", position
            ) from None

    def _index(self, directory: Inode) -> _PieceIndex:
        found: _PieceIndex | None = self._indexes.get(directory.reference)
        if found is None:
            found = self._read_index(directory) if directory.indexes else None
            if found is None:
                found = self._make_index(directory)
            self._indexes.put(directory.reference, found, len(found.names))
        return found

    def _read_index(self, directory: Inode) -> _PieceIndex | None:
        """Return the index in the inode; None if its pieces are too large."""
        metadata, size = self._metadata, self._list_size(directory)
        index = _PieceIndex((self._start + directory.start, directory.offset))
        position, offset = directory.place
        for _ in range(directory.indexes):
            data, position, offset = metadata.read(
                position, offset, _INDEX_HEAD.size, self._inode_end
            )
            begin, start, length = _INDEX_HEAD.unpack(data)
            if length >= _NAME_LENGTH_LIMIT or begin >= size:
                raise metadata.source.damaged("the index of a directory", position)
            name, position, offset = metadata.read(position, offset, length + 1, self._inode_end)
            if begin - index.begins[-1] > _PIECE_LIMIT:
                return None
            place = self._start + start, (directory.offset + begin) % METADATA_SIZE
            if begin and not index.add(name, begin, place):
                raise metadata.source.damaged("the index of a directory is not in order", position)
        return index if size - index.begins[-1] <= _PIECE_LIMIT else None

    def _make_index(self, directory: Inode) -> _PieceIndex:
        """Read the whole list once; return an index of it."""
        metadata, size = self._metadata, self._list_size(directory)
        position, offset = self._start + directory.start, directory.offset
        if size > _UNINDEXED_LIMIT:
            raise metadata.source.damaged(
                f"directory {directory.reference:#x} has {size:,} bytes and no index", position
            )
        index = _PieceIndex((position, offset))
        step = max(_SMALLEST_PIECE, size // _PIECES_LIMIT)
        at, wanted = 0, step
        while at < size:
            run, begin = (position, offset), at
            data, position, offset = metadata.read(position, offset, _RUN_HEADER.size, self._end)
            count = _RUN_HEADER.unpack(data)[0] + 1
            if count > _RUN_LIMIT:
                raise metadata.source.damaged(f"a run of {count:,} entries", position)
            at += len(data)
            for entry in range(count):
                data, position, offset = metadata.read(
                    position, offset, _ENTRY_HEAD.size, self._end
                )
                length = _ENTRY_HEAD.unpack(data)[3] + 1
                if length > _NAME_LENGTH_LIMIT:
                    raise metadata.source.damaged(f"a name of {length:,} bytes", position)
                name, position, offset = metadata.read(position, offset, length, self._end)
                at += len(data) + length
                if not entry and begin >= wanted:
                    wanted = begin + step
                    if not index.add(name, begin, run):
                        raise metadata.source.damaged("names are not in order", position)
        return index


def _last_not_after(ordered: list[Any], wanted: Any) -> int:
    """Return the index of the last item that is not greater than ``wanted``; the first item is not.

    ``bisect`` does the same, but it is not loaded at a start.
    """
    low, high = 0, len(ordered)
    while high - low > 1:
        middle = (low + high) // 2
        if ordered[middle] <= wanted:
            low = middle
        else:
            high = middle
    return low


def _parse_entries(data: bytes, begin: int) -> list[Entry]:
    """Return the entries of the runs in ``data``, which is at position ``begin`` of a list.

    Raises ValueError if they are damaged: a name that is no name, or not behind the one before.
    """
    entries: list[Entry] = []
    at, size, last = 0, len(data), b""
    head, header = _ENTRY_HEAD.size, _RUN_HEADER.size
    unpack = _ENTRY_HEAD.unpack_from
    while at < size:
        if at + header > size:
            raise ValueError("a run ends early")
        count, start, _ = _RUN_HEADER.unpack_from(data, at)
        at += header
        if count >= _RUN_LIMIT:
            raise ValueError(f"a run of {count + 1:,} entries")
        start <<= 16
        for _ in range(count + 1):
            if at + head > size:
                raise ValueError("a run ends early")
            offset, _, kind, length = unpack(data, at)
            at += head
            name = data[at : at + length + 1]
            at += length + 1
            if name <= last:
                raise ValueError("names are not in order")
            if length >= _NAME_LENGTH_LIMIT or at > size:
                raise ValueError("a name is too long")
            if not 0 < kind < len(_KIND_OF_ENTRY):
                raise ValueError(f"an entry of unknown type {kind}")
            last = name
            entries.append((name, start | offset, _KIND_OF_ENTRY[kind], begin + at))
    together = b"".join([entry[0] for entry in entries])
    if b"/" in together or b"\0" in together:
        raise ValueError("a name with a slash or a NUL")
    if any(entry[0] in (b".", b"..") for entry in entries if len(entry[0]) < 3):
        raise ValueError("a name that is . or ..")
    return entries
