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

_XATTR_TABLE = Struct("<QI4x")  # start of names and values, count of rows; then positions of blocks
_XATTR_ROW = Struct("<Q2I")  # reference, count, size
_XATTR_NAME = Struct("<2H")  # prefix and flag, length
_XATTR_VALUE = Struct("<I")  # length
_XATTR_ELSEWHERE = 0x100  # the value is the reference of the value
_XATTR_REFERENCE = Struct("<Q")
_XATTR_PREFIXES = {0: b"user.", 1: b"trusted.", 2: b"security."}
# The bounds of listxattr(2) and of a value; and one for all values of an inode together.
_NAMES_SIZE_LIMIT = 1 << 16
_VALUE_SIZE_LIMIT = 1 << 16
_VALUES_SIZE_LIMIT = 1 << 22
_KEPT_XATTRS = 1 << 22  # bytes


class XattrTable:
    """The extended attributes of a file, whose table begins at ``start``, if it has one."""

    __slots__ = ("_end", "_found", "_metadata", "_rows", "_values_start")

    def __init__(self, metadata: Metadata, start: int | None, end: int) -> None:
        self._metadata = metadata
        self._end = end
        self._found = BoundedCache(_KEPT_XATTRS)
        self._rows: MetadataTable | None = None
        self._values_start = 0
        if start is not None:
            if start + _XATTR_TABLE.size > end:
                raise metadata.source.damaged("the table of extended attributes", start)
            head = metadata.source.read(start, _XATTR_TABLE.size)
            self._values_start, count = _XATTR_TABLE.unpack(head)
            self._rows = metadata.table(start + _XATTR_TABLE.size, count, _XATTR_ROW.size, end)

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
        reference, count, _ = _XATTR_ROW.unpack_from(row, at)
        position, offset = self._values_start + (reference >> 16), reference & 0xFFFF
        found: dict[bytes, bytes] = {}
        names = values = 0
        for _ in range(count):
            data, position, offset = metadata.read(position, offset, _XATTR_NAME.size, end)
            kind, length = _XATTR_NAME.unpack(data)
            prefix = _XATTR_PREFIXES.get(kind & ~_XATTR_ELSEWHERE)
            name, position, offset = metadata.read(position, offset, length, end)
            data, position, offset = metadata.read(position, offset, _XATTR_VALUE.size, end)
            (size,) = _XATTR_VALUE.unpack(data)
            if kind & _XATTR_ELSEWHERE:
                if size != _XATTR_REFERENCE.size:
                    raise metadata.source.damaged("a value that is no reference", position)
                data, position, offset = metadata.read(position, offset, size, end)
                (reference,) = _XATTR_REFERENCE.unpack(data)
                place = self._values_start + (reference >> 16), reference & 0xFFFF
                data, *place_of_value = metadata.read(*place, _XATTR_VALUE.size, end)
                (size,) = _XATTR_VALUE.unpack(data)
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
            if not length or b"\0" in name or name in found or names > _NAMES_SIZE_LIMIT:
                raise metadata.source.damaged("the name of an extended attribute", position)
            found[name] = value
        return tuple(found.items())

    def _check(self, size: int, values: int, position: int) -> None:
        """Raise SquashfsError if ``size`` bytes are too many, alone or with ``values`` before."""
        if size > _VALUE_SIZE_LIMIT or values + size > _VALUES_SIZE_LIMIT:
            raise self._metadata.source.damaged(
                f"an extended attribute of {size:,} bytes", position
            )
