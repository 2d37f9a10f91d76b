"""The superblock: the first 96 bytes of a SquashFS file.

Specification: struct squashfs_super_block of Linux's squashfs_fs.h.
"""

from __future__ import annotations

from sundog.base.cpython import Struct
from sundog.base.record.magic import SQUASHFS_MAGIC
from sundog.errors import SquashfsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.squashfs.source import SquashfsSource

# Magic, inodes, mkfs_time, block_size, fragments; compression, block_log, flags, no_ids, s_major,
# s_minor; root_inode, bytes_used, and the starts of six tables.
_SUPERBLOCK = Struct("<4s4I6H8Q")
_ABSENT_TABLE = (1 << 64) - 1
_SMALLEST_BLOCK_LOG, _LARGEST_BLOCK_LOG = 12, 20


class Superblock:
    """The fields of the superblock, checked against each other and the size of the file.

    ``*_end`` is where the next table begins at the latest.  A table that is absent has the start
    None.
    """

    __slots__ = (
        "block_log",
        "bytes_used",
        "compression",
        "directory_end",
        "directory_start",
        "fragment_count",
        "fragment_start",
        "id_count",
        "id_start",
        "inode_count",
        "inode_start",
        "mtime",
        "root",
        "xattr_start",
    )

    def __init__(self, source: SquashfsSource) -> None:
        if source.end < _SUPERBLOCK.size:
            raise SquashfsError(f"not a SquashFS file: {source.name()}: it has {source.end} bytes")
        fields = _SUPERBLOCK.unpack(source.read(0, _SUPERBLOCK.size))
        magic, self.inode_count, self.mtime, block_size, self.fragment_count = fields[:5]
        self.compression, self.block_log, _, self.id_count, major, minor = fields[5:11]
        self.root, self.bytes_used = fields[11:13]
        self.id_start, xattr_start, self.inode_start, self.directory_start = fields[13:17]
        fragment_start, export_start = fields[17:]
        if magic != SQUASHFS_MAGIC:
            raise SquashfsError(
                f"not a SquashFS file: {source.name()}: it begins with {magic!r}",
                "a SquashFS 4.0 file begins with the four letters hsqs",
            )
        if (major, minor) != (4, 0):
            raise SquashfsError(
                f"can't read {source.name()}: it is SquashFS {major}.{minor}",
                "only version 4.0 can be read; make the file again by mksquashfs of today",
            )
        if not _SMALLEST_BLOCK_LOG <= self.block_log <= _LARGEST_BLOCK_LOG:
            raise source.damaged(f"blocks of 2^{self.block_log} bytes", 22)
        if block_size != 1 << self.block_log:
            raise source.damaged(f"blocks of {block_size:,} bytes, or 2^{self.block_log}", 12)
        if self.bytes_used > source.end:
            raise SquashfsError(
                f"damaged SquashFS file: {source.name()}: it ends after {source.end:,} of"
                f" {self.bytes_used:,} bytes",
                "it was not copied as a whole; copy it again",
            )
        if not self.inode_count or not self.id_count:
            raise source.damaged("no inodes or no IDs", 4)
        self.xattr_start = None if xattr_start == _ABSENT_TABLE else xattr_start
        self.fragment_start = None if fragment_start == _ABSENT_TABLE else fragment_start
        tables = [self.id_start, xattr_start, fragment_start, export_start]
        later = [each for each in tables if each != _ABSENT_TABLE] + [self.bytes_used]
        if max(later) > self.bytes_used:
            raise source.damaged("a table begins after the end", 48)
        if not _SUPERBLOCK.size <= self.inode_start < self.directory_start <= min(later):
            raise source.damaged("the tables are not in their order", 48)
        self.directory_end = min(later)
