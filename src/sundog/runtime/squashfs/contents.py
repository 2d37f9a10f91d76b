"""The contents of files: blocks of data, holes, and fragments that many small files share.

Specification: Documentation/filesystems/squashfs.rst, "Filesystem design"; struct
squashfs_fragment_entry of Linux's squashfs_fs.h.
"""

from __future__ import annotations

from sundog.base.cpython import Struct, unpack
from sundog.runtime.squashfs.cache import BoundedCache
from sundog.runtime.squashfs.inode import NO_ROW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sundog.runtime.squashfs.compressors import Decompress
    from sundog.runtime.squashfs.inode import Inode
    from sundog.runtime.squashfs.metadata import Metadata, MetadataTable

# A word for each block: bit 24 says that it is not compressed; 0 is a hole.
_WORD_SIZE = 4
_BLOCK_STORED = 1 << 24
_BLOCK_SIZE_MASK = _BLOCK_STORED - 1
FRAGMENT = Struct("<QI4x")  # position, word
# Words are kept, with the positions of the blocks, in groups.
_GROUP_LOG = 11
_WORD_GROUP = 1 << _GROUP_LOG
_GROUP_MASK = _WORD_GROUP - 1
_KEPT_WORDS = 1 << 17
# The beginning of a group: the position of its first block, and block and offset of its words.
_GROUP_PLACE = Struct("<3Q")
_KEPT_LONG_FILES = 16
# A file of so many blocks takes a second to read at its end; of 128 KiB, it has 8 TiB.
_BLOCKS_LIMIT = 1 << 26
_KEPT_BLOCKS = 4 << 20  # bytes
_KEPT_FRAGMENTS = 8 << 20  # bytes


class Contents:
    """The contents of an image's files."""

    __slots__ = (
        "_block_log",
        "_blocks",
        "_decompress",
        "_fragment_table",
        "_fragments",
        "_groups",
        "_inode_end",
        "_long_files",
        "_metadata",
        "_source",
        "_zeros",
    )

    def __init__(
        self,
        metadata: Metadata,
        decompress: Decompress,
        block_log: int,
        fragment_table: MetadataTable | None,
        inode_end: int,
    ) -> None:
        self._metadata = metadata
        self._source = metadata.source
        self._decompress = decompress
        self._block_log = block_log
        self._fragment_table = fragment_table
        self._inode_end = inode_end
        self._zeros = memoryview(bytes(1 << block_log))  # takes no memory until it is read
        self._blocks = BoundedCache(_KEPT_BLOCKS)
        self._fragments = BoundedCache(_KEPT_FRAGMENTS)
        self._groups = BoundedCache(_KEPT_WORDS)
        self._long_files = BoundedCache(_KEPT_LONG_FILES)

    def read(self, file: Inode, offset: int, size: int) -> list[bytes | memoryview]:
        """Return up to ``size`` bytes from ``offset`` on, fewer only at the end of the file."""
        log = self._block_log
        length = file.size
        end = min(offset + size, length)
        if file.kind != "f" or offset < 0:
            raise self._source.damaged(f"inode {file.reference:#x} is no such file", file.start)
        parts: list[bytes | memoryview] = []
        count = self._count(file)
        group = -1
        words: tuple[int, ...] = ()
        starts: list[int] = []
        while offset < end:
            number = offset >> log
            within = offset - (number << log)
            expected = min(length - (number << log), 1 << log)
            wanted = min(end - offset, expected - within)
            if number < count:
                if number >> _GROUP_LOG != group:
                    group = number >> _GROUP_LOG
                    words, starts = self._group(file, group, count)
                word = words[number & _GROUP_MASK]
                if not word:
                    parts.append(self._zeros[:wanted])
                else:
                    data = self._block(starts[number & _GROUP_MASK], word, expected, wanted)
                    if wanted == expected:
                        parts.append(data)
                    else:
                        parts.append(memoryview(data)[within : within + wanted])
            else:
                data = self._fragment(file.fragment)
                if file.offset + expected > len(data):
                    raise self._source.damaged(
                        f"inode {file.reference:#x} is not in its fragment", file.start
                    )
                within += file.offset
                parts.append(memoryview(data)[within : within + wanted])
            offset += wanted
        return parts

    def holes(self, file: Inode) -> Iterator[tuple[int, int]]:
        """Yield start and end of each hole of whole blocks, in order."""
        log, count = self._block_log, self._count(file)
        begin = None
        words: tuple[int, ...] = ()
        for number in range(count):
            if not number & _GROUP_MASK:
                words, _ = self._group(file, number >> _GROUP_LOG, count)
            if words[number & _GROUP_MASK]:
                if begin is not None:
                    yield begin << log, number << log
                begin = None
            elif begin is None:
                begin = number
        if begin is not None:
            yield begin << log, min(count << log, file.size)

    def _count(self, file: Inode) -> int:
        """Return the number of blocks of ``file``, without a fragment."""
        log = self._block_log
        count = file.size >> log
        if file.fragment == NO_ROW and count << log != file.size:
            count += 1
        if count > _BLOCKS_LIMIT:
            raise self._source.damaged(
                f"inode {file.reference:#x} has {count:,} blocks", file.place[0]
            )
        return count

    def _block(self, start: int, word: int, expected: int, wanted: int) -> bytes:
        """Return a block; keep it if only a part is ``wanted`` now."""
        data: bytes | None = self._blocks.get(start)
        if data is None:
            data = self._unpack(start, word)
            if wanted < expected:
                self._blocks.put(start, data, expected)
        if len(data) != expected:
            raise self._source.damaged(
                f"a block of {len(data):,} bytes in the place of {expected:,}", start
            )
        return data

    def _unpack(self, start: int, word: int) -> bytes:
        """Read the block or fragment at ``start``, and decompress it."""
        size = word & _BLOCK_SIZE_MASK
        limit = 1 << self._block_log
        if size > limit or word >> 25:
            raise self._source.damaged(f"a block of {word & ~_BLOCK_STORED:,} bytes", start)
        data = self._source.read(start, size)
        if word & _BLOCK_STORED:
            return data
        try:
            return self._decompress(data, limit)
        except Exception as error:  # each library has its own type
            raise self._source.damaged(f"a block: {error}", start) from None

    def _fragment(self, number: int) -> bytes:
        found: bytes | None = self._fragments.get(number)
        if found is None:
            if self._fragment_table is None:
                raise self._source.damaged("a file in a fragment, but no fragments", 0)
            row, at = self._fragment_table.row(number)
            start, word = FRAGMENT.unpack_from(row, at)
            found = self._unpack(start, word)
            self._fragments.put(number, found, len(found) + 1)
        return found

    def _group(self, file: Inode, group: int, count: int) -> tuple[tuple[int, ...], list[int]]:
        """Return the words and the positions of the blocks of ``group``."""
        key = file.reference | group << 64
        found: tuple[tuple[int, ...], list[int]] | None = self._groups.get(key)
        if found is None:
            found = self._read_group(file, group, count)
            self._groups.put(key, found, len(found[0]) + 1)
        return found

    def _read_group(self, file: Inode, group: int, count: int) -> tuple[tuple[int, ...], list[int]]:
        start, (block, offset) = file.start, file.place
        if group:
            start, block, offset = self._find_group(file, group)
        words, _, _ = self._words(block, offset, min(_WORD_GROUP, count - (group << _GROUP_LOG)))
        starts = []
        for word in words:
            starts.append(start)
            start += word & _BLOCK_SIZE_MASK
        return words, starts

    def _find_group(self, file: Inode, group: int) -> tuple[int, int, int]:
        """Return where ``group`` begins, which only the words of all earlier groups tell."""
        size = _GROUP_PLACE.size
        known: bytes = self._long_files.get(file.reference) or _GROUP_PLACE.pack(
            file.start, *file.place
        )
        if group >= len(known) // size:
            grown = bytearray(known)
            while group >= len(grown) // size:
                start, block, offset = _GROUP_PLACE.unpack_from(grown, len(grown) - size)
                words, block, offset = self._words(block, offset, _WORD_GROUP)
                start += sum([word & _BLOCK_SIZE_MASK for word in words])
                grown += _GROUP_PLACE.pack(start, block, offset)
            known = bytes(grown)
            self._long_files.put(file.reference, known)
        start, block, offset = _GROUP_PLACE.unpack_from(known, group * size)
        return start, block, offset

    def _words(self, block: int, offset: int, count: int) -> tuple[tuple[int, ...], int, int]:
        data, block, offset = self._metadata.read(
            block, offset, count * _WORD_SIZE, self._inode_end
        )
        return unpack(f"<{count}I", data), block, offset
