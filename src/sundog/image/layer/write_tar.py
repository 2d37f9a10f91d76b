"""Write a layer as a tar archive.  Equal layers give equal bytes.

Owners, devices and attributes come from the manifest where the inodes lack them; whiteouts come
only from the manifest.  Directories are in order of path.  In each, whiteouts come first, as the
OCI image specification requires (layer.md, "Whiteouts").  Sockets are left out: tar has no type for
them.
"""

from __future__ import annotations

import os
import stat

from sundog.base.record.owners import OwnerRecord
from sundog.image.layer.below import kind_of
from sundog.image.layer.bytecode import finder
from sundog.image.layer.directories import Directories
from sundog.image.layer.names import OPAQUE, WHITEOUT, check_no_mark, joined
from sundog.image.layer.tar_writer import ZEROS_WRITTEN, TarWriter
from sundog.image.layer.walk import walk
from sundog.image.layer.xattrs import get_xattrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.record.owners import OwnersManifest
    from sundog.image.layer.bytecode import Find
    from sundog.image.layer.tar_writer import Sink


def write_tar(
    out: Sink,
    tree: bytes,
    owners: OwnersManifest,
    *,
    mtime_clamp: int | None = None,
    zeros: int = ZEROS_WRITTEN,
    below: Sequence[bytes] = (),
) -> str:
    """Write the layer in ``tree`` to ``out`` and return the archive's digest, ``sha256:HEX``.

    A file whose record is a guess loses its set-id bits, since it may be anybody's.  No member is
    younger than ``mtime_clamp``, in seconds since 1970.  At most ``zeros`` bytes of holes are
    written as zeros.  ``below`` are the trees of the layers below, the topmost first: sources of
    byte code may be there.  Raises OSError, and ArchiveError for what an archive cannot hold: a
    name that would mean a whiteout, or a file of too many holes.
    """
    archive = TarWriter(out, mtime_clamp, zeros)
    write_layer(archive, tree, owners, below)
    return archive.end()


def write_layer(
    archive: TarWriter, tree: bytes, owners: OwnersManifest, below: Sequence[bytes] = ()
) -> None:
    """Write the members of the layer in ``tree`` to ``archive``, as ``write_tar`` does."""
    with Directories(tree) as directories:
        _LayerWriter(archive, directories, owners, finder([tree, *below])).write()


class _LayerWriter:
    """The state of writing one archive."""

    def __init__(
        self,
        archive: TarWriter,
        directories: Directories,
        owners: OwnersManifest,
        find: Find,
    ) -> None:
        self._find = find
        self._archive = archive
        self._directories = directories
        self._owners = owners
        self._linked: dict[int, bytes] = {}  # inodes with several names → the first name

    def write(self) -> None:
        hidden: dict[bytes, list[bytes]] = {}  # directory → the names of its whiteouts
        for path in sorted(path for path, record in self._owners.items() if record.kind == "w"):
            parent, _, name = path.rpartition(b"/")
            hidden.setdefault(parent, []).append(WHITEOUT + name)
        for directory, fd, entries in walk(self._directories):
            record = self._owners.get(directory) or OwnerRecord("d")
            name = (directory or b".") + b"/"
            self._archive.member("d", name, os.fstat(fd), record, xattrs=get_xattrs(fd))
            for mark in [OPAQUE] * record.opaque + hidden.get(directory, []):
                self._archive.header("f", joined(directory, mark), 0, 0, OwnerRecord("f"))
            for name, status in entries:
                if not stat.S_ISDIR(status.st_mode):
                    self._entry(joined(directory, name), fd, name, status)

    def _entry(self, path: bytes, fd: int, name: bytes, status: os.stat_result) -> None:
        """Write an entry that is not a directory."""
        kind = kind_of(status.st_mode)
        if not kind:
            return  # a socket, or overlayfs's mark of a whiteout
        check_no_mark(path)
        record = self._owners.get(path) or OwnerRecord(kind)
        first = self._linked.setdefault(status.st_ino, path) if status.st_nlink > 1 else path
        if first != path:
            if (of_first := self._owners.get(first)) and of_first.guessed:
                record = of_first  # both names are of one file
            self._archive.member("h", path, status, record, link=first)
        elif kind == "f":
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            try:
                if record.kind in "cb":
                    self._archive.member(record.kind, path, status, record, xattrs=get_xattrs(file))
                else:
                    self._archive.file(
                        path, file, status, record, get_xattrs(file), find=self._find
                    )
            finally:
                os.close(file)
        else:
            link = os.readlink(name, dir_fd=fd) if kind == "l" else b""
            self._archive.member(kind, path, status, record, link=link)
