"""A SquashFS file that is open: its inodes, directories, contents and extended attributes."""

from __future__ import annotations

import os

from sundog.base.cpython import Struct
from sundog.runtime.squashfs.attributes import XattrTable
from sundog.runtime.squashfs.compressors import decompressor_for
from sundog.runtime.squashfs.contents import FRAGMENT, Contents
from sundog.runtime.squashfs.directory import DirectoryTable
from sundog.runtime.squashfs.inode import InodeTable
from sundog.runtime.squashfs.metadata import Metadata
from sundog.runtime.squashfs.source import SquashfsSource
from sundog.runtime.squashfs.superblock import Superblock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sundog.errors import SquashfsError
    from sundog.runtime.squashfs.attributes import Xattrs
    from sundog.runtime.squashfs.directory import Entry
    from sundog.runtime.squashfs.inode import Inode
    from sundog.runtime.squashfs.source import Pread

_ID_ROW = Struct("<I")


class SquashfsImage:
    """The SquashFS file in ``fd``, from ``offset`` on: of a SIF, that of its partition.

    Opening reads the superblock, the table of IDs and the inode of the root.  Raises SquashfsError
    and KernelError, as every method does.  Threads may share an image.  ``fd`` stays the caller's,
    and must be open as long as the image is used.  ``pread`` does what ``os.pread`` does.

    root        the reference of the root directory
    inode_count, block_size, mtime
                what the superblock says; ``inode_count`` may be wrong
    ids         all owners and groups
    has_xattrs  whether any inode has extended attributes
    """

    __slots__ = (
        "_contents",
        "_directories",
        "_inodes",
        "_source",
        "_xattrs",
        "block_size",
        "has_xattrs",
        "ids",
        "inode_count",
        "mtime",
        "root",
    )

    def __init__(self, fd: int, offset: int = 0, pread: Pread = os.pread) -> None:
        self._source = source = SquashfsSource(fd, offset, pread)
        about = Superblock(source)
        source.end = about.bytes_used
        decompress = decompressor_for(about.compression, source)
        metadata = Metadata(source, decompress)
        end, inode_end = about.bytes_used, about.directory_start
        ids = metadata.table(about.id_start, about.id_count, _ID_ROW.size, end)
        rows = [ids.row(index) for index in range(about.id_count)]
        self.root = about.root
        self.inode_count = about.inode_count
        self.block_size = 1 << about.block_log
        self.mtime = about.mtime
        self.ids = tuple(
            [int.from_bytes(row[at : at + _ID_ROW.size], "little") for row, at in rows]
        )
        self.has_xattrs = about.xattr_start is not None
        fragments = None
        if about.fragment_start is not None and about.fragment_count:
            count = about.fragment_count
            fragments = metadata.table(about.fragment_start, count, FRAGMENT.size, end)
        self._inodes = InodeTable(metadata, about.inode_start, inode_end, self.ids)
        self._directories = DirectoryTable(
            metadata, about.directory_start, about.directory_end, inode_end
        )
        self._contents = Contents(metadata, decompress, about.block_log, fragments, inode_end)
        self._xattrs = XattrTable(metadata, about.xattr_start, end)
        if self._inodes.inode(self.root).kind != "d":
            raise source.damaged("the root is no directory", 32)

    def inode(self, reference: int) -> Inode:
        """Return the inode at ``reference``."""
        return self._inodes.inode(reference)

    def lookup(self, directory: Inode, name: bytes) -> int | None:
        """Return the reference of ``name`` in ``directory``, or None."""
        return self._directories.lookup(directory, name)

    def entries(self, directory: Inode, start: int = 0) -> Iterator[Entry]:
        """Yield name, reference, kind, and the position of the next entry, in order of name.

        ``start`` is 0 or such a position.  The kind is the directory's word; that of the inode may
        be another one.
        """
        return self._directories.entries(directory, start)

    def read(self, file: Inode, offset: int, size: int) -> list[bytes | memoryview]:
        """Return up to ``size`` bytes from ``offset`` on, fewer only at the end of the file.

        They are in parts, of which only those that are one whole block own their memory alone.
        """
        return self._contents.read(file, offset, size)

    def holes(self, file: Inode) -> Iterator[tuple[int, int]]:
        """Yield start and end of each hole of ``file``, in order."""
        return self._contents.holes(file)

    def xattrs(self, inode: Inode) -> Xattrs:
        """Return the names and values of all extended attributes."""
        return self._xattrs.xattrs(inode)

    def damaged(self, what: str) -> SquashfsError:
        """Return the error that says ``what`` is wrong with the file as a whole."""
        return self._source.damaged(what, 0)
