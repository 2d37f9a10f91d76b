"""``layers/ID/index``: all about the files of a layer that is one file, but for their contents.

    HEAD      the magic, the number of entries, the size of the heap, and that of the file with the
              contents if it is SquashFS, else 0
    ENTRY...  48 bytes each: the root is the first; the entries of a directory are adjacent, in
              order of name, and come after it
    heap      names, targets of symbolic links, extended attributes

A reader maps the file, and looks up what it is asked for.  So opening takes the same time for ten
files and for a million.  All numbers are little-endian.

An entry's fields:

    name      place and length in the heap
    flags     OPAQUE: overlayfs shows nothing below this directory; of the root, PLAIN: no file has
              an extended attribute, and no directory is opaque
    mode      as in stat(2).  A character device is a whiteout; a device of the image is a record
              in ``owners``, and an empty file here
    mtime     seconds since 1970, nanoseconds
    size      of a file in bytes; of a directory its number of entries; of a symbolic link the
              length of its target
    place     of a file: where its contents are, as its kind of layer file says it; of a directory:
              its first entry; of a symbolic link: its target in the heap
    number    the entry that stands for the inode: names of one file have one number
    nlink     the number of names
    xattrs    a block in the heap, or 0: a number of pairs, then for each the lengths of name and
              value, the name, the value
"""

from __future__ import annotations

from sundog.base.cpython import Struct
from sundog.base.kernel.modes import S_IFDIR, S_IFMT
from sundog.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from mmap import mmap

_INDEX_MAGIC = b"sundog-index 1\n\0"
_INDEX_HEAD = Struct("<16s3Q")
_INDEX_ENTRY = Struct("<I2BHqI2Q3I")
_XATTR_COUNT = Struct("<I")
_XATTR_LENGTHS = Struct("<HI")
INDEX_OPAQUE, _INDEX_PLAIN = 1, 2
_FLAGS_AT = 5  # in an entry
_NUMBER_LIMIT = 1 << 32
XATTRS_LIMIT = 1 << 16  # of one file: a directory of the kernel's lists at most 64 KiB of names


class IndexEntry:
    """An entry of an index; ``at`` is its position.  Nobody changes it."""

    __slots__ = (
        *("at", "flags", "mode", "mtime", "name", "nanoseconds", "nlink", "number", "place"),
        *("size", "xattrs"),
    )

    def __init__(
        self,
        name: bytes,
        mode: int,
        *,
        flags: int = 0,
        mtime: int = 0,
        nanoseconds: int = 0,
        size: int = 0,
        place: int = 0,
        number: int = 0,
        nlink: int = 1,
        xattrs: int = 0,
        at: int = 0,
    ) -> None:
        self.name = name
        self.mode = mode
        self.flags = flags
        self.mtime = mtime
        self.nanoseconds = nanoseconds
        self.size = size
        self.place = place
        self.number = number
        self.nlink = nlink
        self.xattrs = xattrs
        self.at = at

    @property
    def is_directory(self) -> bool:
        """Tell whether it is a directory."""
        return self.mode & S_IFMT == S_IFDIR


class LayerIndex:
    """An index in ``data``, which is the whole file.  Threads may share it.

    Nothing is believed: what leads out of the data raises StoreError.  ``is_plain`` says that there
    are no extended attributes, and no opaque directory; ``squashfs_size`` is in the head.
    """

    __slots__ = ("_data", "_heap", "count", "is_plain", "size", "squashfs_size")

    def __init__(self, data: bytes | mmap) -> None:
        """Look at the head.  Raises StoreError."""
        self._data = data
        self.size = len(data)
        if self.size < _INDEX_HEAD.size + _INDEX_ENTRY.size:
            raise _damaged("it is too short")
        magic, self.count, heap, self.squashfs_size = _INDEX_HEAD.unpack_from(data)
        if magic != _INDEX_MAGIC:
            raise _damaged("no index of version 1")
        self._heap = _INDEX_HEAD.size + self.count * _INDEX_ENTRY.size
        if not self.count or self._heap + heap != self.size:
            raise _damaged("it was cut")
        root = self.entry(0)
        if not root.is_directory:
            raise _damaged("the root is no directory")
        self.is_plain = bool(root.flags & _INDEX_PLAIN)

    def entry(self, at: int) -> IndexEntry:
        """Return the entry at the position ``at``.  Raises StoreError."""
        if not 0 <= at < self.count:
            raise _damaged(f"no entry {at}")
        name, length, flags, mode, mtime, nanoseconds, size, place, number, nlink, xattrs = (
            _INDEX_ENTRY.unpack_from(self._data, _INDEX_HEAD.size + at * _INDEX_ENTRY.size)
        )
        return IndexEntry(
            self._in_heap(name, length),
            mode,
            flags=flags,
            mtime=mtime,
            nanoseconds=nanoseconds,
            size=size,
            place=place,
            number=number,
            nlink=nlink,
            xattrs=xattrs,
            at=at,
        )

    def lookup(self, directory: IndexEntry, name: bytes) -> IndexEntry | None:
        """Return the entry ``name`` of ``directory``, or None.  Raises StoreError."""
        low, high = self._range(directory)
        end = high
        while low < high:
            middle = (low + high) // 2
            if self._name(middle) < name:
                low = middle + 1
            else:
                high = middle
        if low == end or self._name(low) != name:
            return None
        return self.entry(low)

    def find(self, path: bytes) -> IndexEntry | None:
        """Return the entry at ``path``, relative to the root, without following links."""
        found: IndexEntry | None = self.entry(0)
        for name in path.split(b"/") if path else ():
            found = self.lookup(found, name) if found and found.is_directory else None
        return found

    def entries(self, directory: IndexEntry, start: int = 0) -> Iterator[IndexEntry]:
        """Yield the entries of ``directory`` from the position ``start`` in it on."""
        low, high = self._range(directory)
        for at in range(low + start, high):
            yield self.entry(at)

    def target(self, link: IndexEntry) -> bytes:
        """Return the target of a symbolic link.  Raises StoreError."""
        return self._in_heap(link.place, link.size)

    def xattrs(self, entry: IndexEntry) -> dict[bytes, bytes]:
        """Return the extended attributes of ``entry``.  Raises StoreError."""
        if not entry.xattrs:
            return {}
        found = {}
        at = entry.xattrs
        (count,) = _XATTR_COUNT.unpack(self._in_heap(at, _XATTR_COUNT.size))
        if count > XATTRS_LIMIT:
            raise _damaged(f"{count} extended attributes")
        at += _XATTR_COUNT.size
        for _ in range(count):
            lengths = _XATTR_LENGTHS.unpack(self._in_heap(at, _XATTR_LENGTHS.size))
            at += _XATTR_LENGTHS.size
            name = self._in_heap(at, lengths[0])
            found[name] = self._in_heap(at + lengths[0], lengths[1])
            at += sum(lengths)
        return found

    def _range(self, directory: IndexEntry) -> tuple[int, int]:
        """Return the positions of the first entry of a directory, and behind the last."""
        low, high = directory.place, directory.place + directory.size
        if low < high and not directory.at < low < high <= self.count:  # else it could be a loop
            raise _damaged(f"the entries of directory {directory.at}")
        return low, max(low, high)

    def _name(self, at: int) -> bytes:
        name, length = _INDEX_ENTRY.unpack_from(
            self._data, _INDEX_HEAD.size + at * _INDEX_ENTRY.size
        )[:2]
        return self._in_heap(name, length)

    def _in_heap(self, at: int, length: int) -> bytes:
        start = self._heap + at
        if start + length > self.size:
            raise _damaged(f"{length} bytes at {at} of its heap")
        return bytes(self._data[start : start + length])


def _damaged(why: str) -> StoreError:
    return StoreError(
        f"damaged index of a layer: {why}", "import or build the image again, or pull it"
    )


class IndexWriter:
    """Puts an index together in memory: 48 bytes for an entry, and its texts."""

    __slots__ = ("_entries", "_heap", "_is_plain", "_known", "count")

    def __init__(self) -> None:
        self._entries = bytearray()
        self._heap = bytearray(1)  # no text is at 0
        self._known: dict[bytes, int] = {}
        self._is_plain = True
        self.count = 0

    def add(
        self,
        entry: IndexEntry,
        xattrs: Sequence[tuple[bytes, bytes]] = (),
        *,
        target: bytes = b"",
        is_first: bool = True,
    ) -> int:
        """Add an entry behind all others; return its position.

        ``is_first`` says that no earlier entry is a name of the same file: its number is then its
        position, else that in ``entry``.  Raises StoreError if the index is full.
        """
        at = self.count
        self._is_plain &= not (xattrs or entry.flags & INDEX_OPAQUE)
        place, size = entry.place, entry.size
        if target:
            place, size = self._put(target), len(target)
        self._entries += _INDEX_ENTRY.pack(
            *(self._put(entry.name), len(entry.name), entry.flags, entry.mode),
            *(entry.mtime, entry.nanoseconds, size, place),
            *(at if is_first else entry.number, entry.nlink, self._put_xattrs(xattrs)),
        )
        self.count += 1
        if max(self.count, len(self._heap)) >= _NUMBER_LIMIT:
            raise StoreError("a layer with too many files for an index")
        return at

    def set_entries(self, directory: int, first: int) -> None:
        """Tell that all entries from ``first`` to the last are those of ``directory``."""
        at = directory * _INDEX_ENTRY.size
        fields = [*_INDEX_ENTRY.unpack_from(self._entries, at)]
        fields[6:8] = self.count - first, first
        _INDEX_ENTRY.pack_into(self._entries, at, *fields)

    def parts(self, squashfs_size: int = 0) -> Iterable[bytes | bytearray]:
        """Return the bytes of the file, in parts."""
        if self._is_plain:
            self._entries[_FLAGS_AT] |= _INDEX_PLAIN
        head = _INDEX_HEAD.pack(_INDEX_MAGIC, self.count, len(self._heap), squashfs_size)
        return head, self._entries, self._heap

    def _put(self, text: bytes) -> int:
        """Return the place of ``text`` in the heap; names that occur often are there once."""
        at = self._known.get(text)
        if at is None:
            at = len(self._heap)
            self._heap += text
            if len(self._known) < _NUMBER_LIMIT >> 16:
                self._known[text] = at
        return at

    def _put_xattrs(self, xattrs: Sequence[tuple[bytes, bytes]]) -> int:
        if not xattrs:
            return 0
        parts = [_XATTR_COUNT.pack(len(xattrs))]
        for name, value in xattrs:
            parts += _XATTR_LENGTHS.pack(len(name), len(value)), name, value
        return self._put(b"".join(parts))
