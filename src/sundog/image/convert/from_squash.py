"""Read SquashFS file systems as tars, by ``sundog.runtime.squashfs``."""

from __future__ import annotations

import os

from sundog.base.record.owners import OwnerRecord
from sundog.errors import ArchiveError
from sundog.image.layer.limits import Meter
from sundog.image.layer.names import check_length, display, joined
from sundog.image.layer.xattrs import recordable
from sundog.runtime.squashfs.image import SquashfsImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sundog.image.layer.tar_writer import TarWriter
    from sundog.runtime.squashfs.inode import Inode

_READ = 1 << 20
_NANOSECONDS = 1_000_000_000


def read_squash(archive: TarWriter, fd: int, offset: int = 0) -> None:
    """Write the files of a SquashFS file system at ``offset`` of ``fd`` to ``archive``.

    Raises what the reader raises for a damaged one, and ArchiveError for one that is too large.
    """
    _Reading(archive, SquashfsImage(fd, offset), os.fstat(fd).st_size).run()


class _Reading:
    """The state of reading one file system."""

    def __init__(self, archive: TarWriter, image: SquashfsImage, size: int) -> None:
        self._archive = archive
        self._image = image
        self._meter = Meter(counts_input=False)
        self._meter.fetched(size)
        self._linked: dict[int, bytes] = {}  # inodes with several names → the first name

    def run(self) -> None:
        ahead = [(b"", self._image.root)]
        while ahead:
            path, reference = ahead.pop()
            directory = self._image.inode(reference)
            if directory.kind != "d":
                raise ArchiveError(f"{display(path)} is a directory, its inode says otherwise")
            self._header((path or b".") + b"/", directory)
            below = []
            for name, child, kind, _ in self._image.entries(directory):
                inside = joined(path, name)
                check_length(inside)
                self._meter.entry(len(inside))
                if kind == "d":
                    below.append((inside, child))
                elif kind != "s":
                    self._archive.check_name(inside)
                    self._entry(inside, self._image.inode(child))
            ahead += reversed(below)

    def _entry(self, path: bytes, inode: Inode) -> None:
        """Write an entry that is not a directory."""
        if inode.kind in "ds":
            raise ArchiveError(f"{display(path)} is no directory, its inode says otherwise")
        if inode.nlink > 1:
            first = self._linked.setdefault(inode.number, path)
            if first != path:
                record = OwnerRecord("f", inode.uid, inode.gid)
                mtime_ns = inode.mtime * _NANOSECONDS
                self._archive.header("h", path, inode.mode, mtime_ns, record, link=first)
                return
        self._header(path, inode)
        if inode.kind == "f" and inode.size:
            self._archive.data(self._data(inode), inode.size)

    def _header(self, name: bytes, inode: Inode) -> None:
        record = OwnerRecord(
            inode.kind,
            inode.uid,
            inode.gid,
            rdev=inode.rdev if inode.kind in "cb" else 0,
            xattrs=recordable(self._image.xattrs(inode)),
        )
        self._archive.header(
            inode.kind,
            name,
            inode.mode,
            inode.mtime * _NANOSECONDS,
            record,
            size=inode.size if inode.kind == "f" else 0,
            link=inode.target if inode.kind == "l" else b"",
        )

    def _data(self, inode: Inode) -> Iterator[bytes | memoryview]:
        position = 0
        while position < inode.size:
            wanted = min(_READ, inode.size - position)
            count = 0
            for part in self._image.read(inode, position, wanted):
                count += len(part)
                self._meter.unpacked(len(part))
                yield part
            if count != wanted:
                raise ArchiveError("a file of it is shorter than its inode says")
            position += count
