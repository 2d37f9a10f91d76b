"""Extended attributes: a table of IDs, which inodes share, and names and values in metadata.

Specification: Documentation/filesystems/squashfs.rst, "Xattr table"; struct squashfs_xattr_* of
Linux's squashfs_fs.h.
"""

from __future__ import annotations

from sundog.base.cpython import Struct
from sundog.runtime.squashfs.cache import BoundedCache
from sundog.runtime.squashfs.inode import NO_ROW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.squashfs.inode import Inode
    from sundog.runtime.squashfs.metadata import Metadata, MetadataTable

    Xattrs = tuple[tuple[bytes, bytes], ...]

XATTR_TABLE = Struct("<QI4x")  # start of names and values, count of rows; then positions of blocks
XATTR_ROW = Struct("<Q2I")  # reference, count, size
XATTR_NAME = Struct("<2H")  # prefix and flag, length
XATTR_VALUE = Struct("<I")  # length
XATTR_ELSEWHERE = 0x100  # the value is the reference of the value
XATTR_REFERENCE = Struct("<Q")
XATTR_PREFIXES = {0: b"user.", 1: b"trusted.", 2: b"security."}
# The bounds of listxattr(2) and of a value; and one for all values of an inode together.
NAMES_SIZE_LIMIT = 1 << 16
VALUE_SIZE_LIMIT = 1 << 16
VALUES_SIZE_LIMIT = 1 << 22
KEPT_XATTRS = 1 << 22  # bytes


class XattrTable:
    """The extended attributes of a file, whose table begins at ``start``, if it has one."""

    __slots__ = ("_end", "_found", "_metadata", "_rows", "_values_start")

    def __init__(self, metadata: Metadata, start: int | None, end: int) -> None:
        self._metadata = metadata
        self._end = end
        self._found = BoundedCache(KEPT_XATTRS)
        self._rows: MetadataTable | None = None
        self._values_start = 0
        if start is not None:
            if start + XATTR_TABLE.size > end:
                raise metadata.source.damaged("the table of extended attributes", start)
            head = metadata.source.read(start, XATTR_TABLE.size)
            self._values_start, count = XATTR_TABLE.unpack(head)
            self._rows = metadata.table(start + XATTR_TABLE.size, count, XATTR_ROW.size, end)

    def xattrs(self, inode: Inode) -> Xattrs:
        """Return the names and values of ``inode`` in the order of the file.  Raises SquashfsError.

        No name is there twice.
        """
        if inode.xattr == NO_ROW:
            return ()
        found: Xattrs | None = self._found.get(inode.xattr)
        if found is None:
            found = self._read(inode)
            self._found.put(inode.xattr, found, sum([len(n) + len(v) + 100 for n, v in found]))
        return found

    def _read(self, inode: Inode) -> Xattrs:
        metadata, end = self._metadata, self._end
        if self._rows is None:
            raise metadata.source.damaged(
                f"inode {inode.reference:#x} has extended attributes, but the file has none", 56
            )
        row, at = self._rows.row(inode.xattr)
        reference, count, _ = XATTR_ROW.unpack_from(row, at)
        position, offset = self._values_start + (reference >> 16), reference & 0xFFFF
        found: dict[bytes, bytes] = {}
        names = values = 0
        for _ in range(count):
            data, position, offset = metadata.read(position, offset, XATTR_NAME.size, end)
            kind, length = XATTR_NAME.unpack(data)
            prefix = XATTR_PREFIXES.get(kind & ~XATTR_ELSEWHERE)
            name, position, offset = metadata.read(position, offset, length, end)
            data, position, offset = metadata.read(position, offset, XATTR_VALUE.size, end)
            (size,) = XATTR_VALUE.unpack(data)
            if kind & XATTR_ELSEWHERE:
                if size != XATTR_REFERENCE.size:
                    raise metadata.source.damaged("a value that is no reference", position)
                data, position, offset = metadata.read(position, offset, size, end)
                (reference,) = XATTR_REFERENCE.unpack(data)
                place = self._values_start + (reference >> 16), reference & 0xFFFF
                data, *place_of_value = metadata.read(*place, XATTR_VALUE.size, end)
                (size,) = XATTR_VALUE.unpack(data)
                self._check(size, values, position)
                value, _, _ = metadata.read(place_of_value[0], place_of_value[1], size, end)
            else:
                self._check(size, values, position)
                value, position, offset = metadata.read(position, offset, size, end)
            values += size
            names += length + 16
            if prefix is None:  # a later version's, which Linux leaves out, too
                continue
            name = prefix + name
            if not length or b"\0" in name or name in found or names > NAMES_SIZE_LIMIT:
                raise metadata.source.damaged("the name of an extended attribute", position)
            found[name] = value
        return tuple(found.items())

    def _check(self, size: int, values: int, position: int) -> None:
        """Raise SquashfsError if ``size`` bytes are too many, alone or with ``values`` before."""
        if size > VALUE_SIZE_LIMIT or values + size > VALUES_SIZE_LIMIT:
            raise self._metadata.source.damaged(
                f"an extended attribute of {size:,} bytes", position
            )
