"""Inodes: seven types, each of them basic or extended.

Specification: struct squashfs_*_inode of Linux's squashfs_fs.h.
"""

from __future__ import annotations

import os

from sundog.base.cpython import Struct
from sundog.runtime.squashfs.cache import BoundedCache
from sundog.runtime.squashfs.metadata import METADATA_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sundog.runtime.squashfs.metadata import Metadata

    # Reference, number, kind, mode, owner, mtime.
    _Head = tuple[int, int, str, int, tuple[int, int], int]
    _Fields = tuple[Any, ...]
    _Place = tuple[int, int]

# Type, mode, rows of uid and gid in the table of IDs, mtime, number.
_INODE_HEAD = Struct("<4H2I")
NO_ROW = 0xFFFFFFFF  # no fragment, no extended attributes
_LONGEST_INODE = _INODE_HEAD.size + 40  # without what has no fixed size
_XATTR_INDEX = Struct("<I")
_TARGET_LIMIT = 4095  # PATH_MAX without the NUL
_KEPT_INODES = 4096


class Inode:
    """An inode; nobody changes it.

    reference   48 bits: where it lies.  It is unique, and names of one file share it
    number      from 1 on, unique
    kind        ``f`` file, ``d`` directory, ``l`` symlink, ``c`` and ``b`` devices, ``p`` FIFO,
                ``s`` socket
    mode        the permission bits, set-id bits and the sticky bit
    uid, gid, mtime, size, nlink, rdev
                as ``stat`` would show them; ``rdev`` is from os.makedev, and 0 for all but devices.
                The size of a directory is that of its list
    target      of a symlink; b"" for others
    xattr       row of the table of extended attributes, or NO_ROW

    The rest says where the contents are, for this package:

    start       of a file: the position of its first block; of a directory: the block of its list
    offset      of a file: in its fragment; of a directory: in the block
    fragment    of a file: number of the fragment that has its end, or NO_ROW
    indexes     of a directory: count of rows of its index
    place       block and offset of what follows in the inode: words of blocks, or the index
    """

    __slots__ = (
        "fragment",
        "gid",
        "indexes",
        "kind",
        "mode",
        "mtime",
        "nlink",
        "number",
        "offset",
        "place",
        "rdev",
        "reference",
        "size",
        "start",
        "target",
        "uid",
        "xattr",
    )

    def __init__(
        self,
        head: _Head,
        nlink: int,
        *,
        size: int = 0,
        rdev: int = 0,
        target: bytes = b"",
        xattr: int = NO_ROW,
        start: int = 0,
        offset: int = 0,
        fragment: int = NO_ROW,
        indexes: int = 0,
        place: _Place = (0, 0),
    ) -> None:
        self.reference, self.number, self.kind, self.mode, owner, self.mtime = head
        self.uid, self.gid = owner
        self.nlink = nlink or 1
        self.size = size
        self.rdev = rdev
        self.target = target
        self.xattr = xattr
        self.start = start
        self.offset = offset
        self.fragment = fragment
        self.indexes = indexes
        self.place = place


class InodeTable:
    """The inodes between ``start`` and ``end``; the youngest ones are kept."""

    __slots__ = ("_end", "_ids", "_inodes", "_metadata", "_start")

    def __init__(self, metadata: Metadata, start: int, end: int, ids: tuple[int, ...]) -> None:
        self._metadata = metadata
        self._start = start
        self._end = end
        self._ids = ids
        self._inodes = BoundedCache(_KEPT_INODES)

    def inode(self, reference: int) -> Inode:
        """Return the inode at ``reference``.  Raises SquashfsError."""
        found: Inode | None = self._inodes.get(reference)
        if found is None:
            found = self._read(reference)
            self._inodes.put(reference, found)
        return found

    def _read(self, reference: int) -> Inode:
        position, at = self._start + (reference >> 16), reference & 0xFFFF
        data, following = self._metadata.block(position, self._end)
        if at + _LONGEST_INODE > len(data) == METADATA_SIZE and following < self._end:
            data += self._metadata.block(following, self._end)[0]
        source = self._metadata.source
        if at + _INODE_HEAD.size > len(data) or at >= METADATA_SIZE:
            raise source.damaged(f"no inode {reference:#x}", position)
        kind, mode, uid, gid, mtime, number = _INODE_HEAD.unpack_from(data, at)
        known = _INODE_TYPES.get(kind)
        if known is None:
            raise source.damaged(f"inode {reference:#x} of unknown type {kind}", position)
        letter, tail, make = known
        at += _INODE_HEAD.size
        if at + tail.size > len(data):
            raise source.damaged(f"inode {reference:#x} ends early", position)
        ids = self._ids
        if uid >= len(ids) or gid >= len(ids):
            raise source.damaged(f"inode {reference:#x} has an unknown owner", position)
        head = reference, number, letter, mode & 0o7777, (ids[uid], ids[gid]), mtime
        return make(self, head, tail.unpack_from(data, at), (position, at + tail.size))

    def directory(self, head: _Head, fields: _Fields, place: _Place) -> Inode:
        """Make an inode of type 1."""
        block, nlink, size, offset, _ = fields
        return Inode(head, nlink, size=size, start=block, offset=offset, place=place)

    def long_directory(self, head: _Head, fields: _Fields, place: _Place) -> Inode:
        """Make an inode of type 8."""
        nlink, size, block, _, indexes, offset, xattr = fields
        return Inode(
            head,
            nlink,
            size=size,
            start=block,
            offset=offset,
            xattr=xattr,
            indexes=indexes,
            place=place,
        )

    def file(self, head: _Head, fields: _Fields, place: _Place) -> Inode:
        """Make an inode of type 2."""
        start, fragment, offset, size = fields
        return Inode(head, 1, size=size, start=start, offset=offset, fragment=fragment, place=place)

    def long_file(self, head: _Head, fields: _Fields, place: _Place) -> Inode:
        """Make an inode of type 9."""
        start, size, _, nlink, fragment, offset, xattr = fields
        if size >> 63:
            raise self._metadata.source.damaged(f"a file of {size:,} bytes", place[0])
        return Inode(
            head,
            nlink,
            size=size,
            start=start,
            offset=offset,
            fragment=fragment,
            xattr=xattr,
            place=place,
        )

    def symlink(self, head: _Head, fields: _Fields, place: _Place) -> Inode:
        """Make an inode of type 3."""
        nlink, size = fields
        target, _ = self._target(size, place)
        return Inode(head, nlink, size=size, target=target)

    def long_symlink(self, head: _Head, fields: _Fields, place: _Place) -> Inode:
        """Make an inode of type 10."""
        nlink, size = fields
        target, place = self._target(size, place)
        data, _, _ = self._metadata.read(*place, _XATTR_INDEX.size, self._end)
        (xattr,) = _XATTR_INDEX.unpack(data)
        return Inode(head, nlink, size=size, target=target, xattr=xattr)

    def _target(self, size: int, place: _Place) -> tuple[bytes, _Place]:
        """Return the target of a symlink at ``place``, and the place after it."""
        if 0 < size <= _TARGET_LIMIT:
            target, position, at = self._metadata.read(*place, size, self._end)
            if b"\0" not in target:
                return target, (position, at)
        raise self._metadata.source.damaged("a symlink without a possible target", place[0])

    def device(self, head: _Head, fields: _Fields, place: _Place) -> Inode:
        """Make an inode of type 4, 5, 11 or 12."""
        nlink, device, *rest = fields
        # new_encode_dev() of Linux: 12 bits of the major number amid 20 of the minor one.
        rdev = os.makedev(device >> 8 & 0xFFF, device & 0xFF | device >> 12 & 0xFFF00)
        return Inode(head, nlink, rdev=rdev, xattr=rest[0] if rest else NO_ROW, place=place)

    def other(self, head: _Head, fields: _Fields, place: _Place) -> Inode:
        """Make an inode of type 6, 7, 13 or 14."""
        nlink, *rest = fields
        return Inode(head, nlink, xattr=rest[0] if rest else NO_ROW, place=place)


# Type → its letter, the fixed part after the head, and what makes the inode.
_INODE_TYPES: dict[
    int, tuple[str, Struct, Callable[[InodeTable, _Head, _Fields, _Place], Inode]]
] = {
    1: ("d", Struct("<2I2HI"), InodeTable.directory),  # block, nlink, size, offset, parent
    2: ("f", Struct("<4I"), InodeTable.file),  # start, fragment, offset, size
    3: ("l", Struct("<2I"), InodeTable.symlink),  # nlink, size
    4: ("b", Struct("<2I"), InodeTable.device),  # nlink, device
    5: ("c", Struct("<2I"), InodeTable.device),
    6: ("p", Struct("<I"), InodeTable.other),  # nlink
    7: ("s", Struct("<I"), InodeTable.other),
    # nlink, size, block, parent, count of indexes, offset, xattr
    8: ("d", Struct("<4I2HI"), InodeTable.long_directory),
    # start, size, bytes in holes, nlink, fragment, offset, xattr
    9: ("f", Struct("<3Q4I"), InodeTable.long_file),
    10: ("l", Struct("<2I"), InodeTable.long_symlink),
    11: ("b", Struct("<3I"), InodeTable.device),  # nlink, device, xattr
    12: ("c", Struct("<3I"), InodeTable.device),
    13: ("p", Struct("<2I"), InodeTable.other),  # nlink, xattr
    14: ("s", Struct("<2I"), InodeTable.other),
}
