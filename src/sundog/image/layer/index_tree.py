"""Make the index of a layer's tree: see ``record.layer_index``.

The tree is one of the store's own, so the marks of overlayfs in it are ours.
"""

from __future__ import annotations

import os
import stat
from collections import deque

from sundog.base.kernel.modes import S_IFCHR, S_IFDIR
from sundog.base.record.layer_index import INDEX_OPAQUE, IndexEntry, IndexWriter
from sundog.errors import SquashfsError, StoreError
from sundog.image.layer.directories import Directories
from sundog.image.layer.header import NANOSECONDS
from sundog.image.layer.names import display, joined
from sundog.image.layer.walk import Entries, list_directory
from sundog.image.layer.xattrs import (
    OVERLAY_OPAQUE,
    entry_path,
    get_xattrs,
    overlay_xattrs,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.layer.xattrs import Pairs
    from sundog.runtime.squashfs.image import SquashfsImage


def index_of_tree(tree: bytes, contents: SquashfsImage) -> tuple[IndexWriter, int]:
    """Return the index of ``tree``, whose contents are in ``contents``, and their size in bytes.

    Raises OSError, and StoreError if a file has no contents there.
    """
    with Directories(tree) as directories:
        return _TreeIndex(directories, contents).write()


class _TreeIndex:
    """An index on its way, directory by directory, so that entries of each are adjacent."""

    def __init__(self, directories: Directories, contents: SquashfsImage) -> None:
        self._directories = directories
        self._contents = contents
        self._index = IndexWriter()
        self._linked: dict[int, int] = {}  # inodes with several names → the first entry
        self._size = 0

    def write(self) -> tuple[IndexWriter, int]:
        """Index the whole tree."""
        root = self._directories.open(b"")
        self._add(b"", os.fstat(root), get_xattrs(root), is_opaque=_is_opaque(root))
        ahead = deque([(b"", 0, self._contents.root)])
        while ahead:
            path, at, reference = ahead.popleft()
            fd = self._directories.open(path)
            entries, places = list_directory(fd), self._places(reference)
            first = self._index.count
            ahead.extend(self._add_entries(path, fd, entries, places))
            self._index.set_entries(at, first)
        return self._index, self._size

    def _places(self, reference: int) -> dict[bytes, int]:
        """Return the inodes of the names in a directory of the contents."""
        directory = self._contents.inode(reference)
        return {name: place for name, place, _, _ in self._contents.entries(directory)}

    def _add_entries(
        self, directory: bytes, fd: int, entries: Entries, places: dict[bytes, int]
    ) -> list[tuple[bytes, int, int]]:
        """Add the entries of a directory; return the directories among them."""
        found = []
        for name, status in entries:
            path = joined(directory, name)
            kind = stat.S_IFMT(status.st_mode)
            place, target, is_opaque = 0, b"", False
            xattrs: Pairs = ()
            if kind == S_IFDIR:
                child = self._directories.open(path)
                xattrs, is_opaque = get_xattrs(child), _is_opaque(child)
                fd = self._directories.open(directory)  # so many may have been opened meanwhile
            elif kind == stat.S_IFLNK:
                target = os.readlink(name, dir_fd=fd)
            elif kind != S_IFCHR:
                xattrs = get_xattrs(entry_path(fd, name))
            if kind == stat.S_IFREG and status.st_size:
                place = self._place(path, name, status, places)
            at = self._add(name, status, xattrs, place=place, target=target, is_opaque=is_opaque)
            if kind == S_IFDIR:
                if name not in places:
                    raise _lost(path)
                found.append((path, at, places[name]))
        return found

    def _place(
        self, path: bytes, name: bytes, status: os.stat_result, places: dict[bytes, int]
    ) -> int:
        """Return where the contents of a file are."""
        place = places.get(name)
        try:
            inode = None if place is None else self._contents.inode(place)
        except SquashfsError:
            inode = None
        if place is None or inode is None or (inode.kind, inode.size) != ("f", status.st_size):
            raise _lost(path)
        return place

    def _add(
        self,
        name: bytes,
        status: os.stat_result,
        xattrs: Pairs,
        *,
        place: int = 0,
        target: bytes = b"",
        is_opaque: bool = False,
    ) -> int:
        seconds, nanoseconds = divmod(status.st_mtime_ns, NANOSECONDS)
        is_linked = status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode)
        first = self._linked.get(status.st_ino, -1) if is_linked else -1
        is_regular = stat.S_ISREG(status.st_mode)
        if is_regular and first < 0:
            self._size += status.st_size
        at = self._index.add(
            IndexEntry(
                name,
                status.st_mode,
                flags=INDEX_OPAQUE if is_opaque else 0,
                mtime=seconds,
                nanoseconds=nanoseconds,
                size=status.st_size if is_regular else 0,
                place=place,
                number=max(first, 0),
                nlink=status.st_nlink,
            ),
            xattrs,
            target=target,
            is_first=first < 0,
        )
        if is_linked and first < 0:
            self._linked[status.st_ino] = at
        return at


def _is_opaque(fd: int) -> bool:
    return overlay_xattrs(fd).get(OVERLAY_OPAQUE) == b"y"


def _lost(path: bytes) -> StoreError:
    return StoreError(
        f"the layer file lacks what is at {display(path)}", "see the program's output"
    )
