"""Write a layer as a tar archive.  Equal layers give equal bytes.

Owners, devices and attributes come from the manifest where the inodes lack them; whiteouts come
only from the manifest.  Directories are in order of path.  In each, whiteouts come first, as the
OCI image specification requires (layer.md, "Whiteouts").  Sockets are left out: tar has no type for
them.

Files that are to come first do, each behind the directories above it.  A landmark follows them
(stargz-snapshotter, "eStargz", "Prioritized Files and Landmark Files").
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from sundog.base.record.chunk_table import LANDMARK, NO_LANDMARK, STARGZ_NAME
from sundog.base.record.owners import OwnerRecord
from sundog.errors import ArchiveError
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

_OF_STARGZ = (STARGZ_NAME, LANDMARK, NO_LANDMARK)
_LANDMARK_DATA = b"\x0f"


def write_tar(
    out: Sink,
    tree: bytes,
    owners: OwnersManifest,
    *,
    mtime_clamp: int | None = None,
    zeros: int = ZEROS_WRITTEN,
    below: Sequence[bytes] = (),
    first: Sequence[bytes] | None = None,
) -> str:
    """Write the layer in ``tree`` to ``out`` and return the archive's digest, ``sha256:HEX``.

    A file whose record is a guess loses its set-id bits, since it may be anybody's.  No member is
    younger than ``mtime_clamp``, in seconds since 1970.  At most ``zeros`` bytes of holes are
    written as zeros.  ``below`` are the trees of the layers below, the topmost first: sources of
    byte code may be there.  The files ``first`` that are here come first, and then a landmark;
    None: there is no landmark.  Raises OSError, and ArchiveError for what an archive cannot hold: a
    name that would mean a whiteout, or a file of too many holes.
    """
    archive = TarWriter(out, mtime_clamp, zeros)
    write_layer(archive, tree, owners, below, first)
    return archive.end()


def write_layer(
    archive: TarWriter,
    tree: bytes,
    owners: OwnersManifest,
    below: Sequence[bytes] = (),
    first: Sequence[bytes] | None = None,
) -> None:
    """Write the members of the layer in ``tree`` to ``archive``, as ``write_tar`` does."""
    with Directories(tree) as directories:
        writer = _LayerWriter(archive, directories, owners, finder([tree, *below]))
        if first is not None:
            writer.write_first(first)
        writer.write()


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
        self._written: set[bytes] = set()  # paths that came first
        self._hidden: dict[bytes, list[bytes]] = {}  # directory → the names of its whiteouts
        for path in sorted(path for path, record in owners.items() if record.kind == "w"):
            parent, _, name = path.rpartition(b"/")
            self._hidden.setdefault(parent, []).append(WHITEOUT + name)

    def write_first(self, first: Sequence[bytes]) -> None:
        """Write those of ``first`` that are here, and a landmark."""
        root = self._directories.open(b"")
        for name in _OF_STARGZ:
            with suppress(FileNotFoundError):
                if stat.S_ISDIR(os.lstat(name, dir_fd=root).st_mode):
                    raise ArchiveError(
                        f"/{os.fsdecode(name)} is a directory: an eStargz has a file there",
                        "leave out --first",
                    )
        self._directory(b"", root)
        # The layer may have come from such an archive, and have that one's files.
        self._written.update((b"", *_OF_STARGZ))
        count = len(self._written)
        for path in first:
            if path not in self._written:
                self._write_alone(path)
        landmark = LANDMARK if len(self._written) > count else NO_LANDMARK
        size = len(_LANDMARK_DATA)
        self._archive.header("f", landmark, 0o444, 0, OwnerRecord("f"), size=size)
        self._archive.data([_LANDMARK_DATA], size)

    def _write_alone(self, path: bytes) -> None:
        """Write a file or a directory, if it is here, and the directories above it first."""
        directory, _, name = path.rpartition(b"/")
        try:
            status = os.lstat(name, dir_fd=self._directories.open(directory))
        except OSError:
            return
        names = [*(path if stat.S_ISDIR(status.st_mode) else directory).split(b"/")]
        for end in range(len(names) + 1):
            above = b"/".join(names[:end])
            if above not in self._written:
                self._directory(above, self._directories.open(above))
                self._written.add(above)
        if path not in self._written:
            self._entry(path, self._directories.open(directory), name, status)
            self._written.add(path)

    def write(self) -> None:
        """Write all that was not written."""
        for directory, fd, entries in walk(self._directories):
            if directory not in self._written:
                self._directory(directory, fd)
            for name, status in entries:
                path = joined(directory, name)
                if not stat.S_ISDIR(status.st_mode) and path not in self._written:
                    self._entry(path, fd, name, status)

    def _directory(self, directory: bytes, fd: int) -> None:
        """Write a directory, and the marks in it."""
        record = self._owners.get(directory) or OwnerRecord("d")
        name = (directory or b".") + b"/"
        self._archive.member("d", name, os.fstat(fd), record, xattrs=get_xattrs(fd))
        for mark in [OPAQUE] * record.opaque + self._hidden.get(directory, []):
            self._archive.header("f", joined(directory, mark), 0, 0, OwnerRecord("f"))

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
