"""Write a whole image as one tar: what shows of its layers, or a directory that holds it.

Such a tar has no whiteouts.  Directories are in order of path, and parents come before their
children.  The same image gives the same bytes.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from sundog.errors import SundogError
from sundog.layer.below import Below, kind_of
from sundog.layer.directories import Directories
from sundog.layer.directory_owners import DEVICES, PLACEHOLDERS, DirectoryOwners, unreadable_error
from sundog.layer.directory_records import is_about_records, own_records
from sundog.layer.names import display, joined
from sundog.layer.walk import walk
from sundog.layer.xattrs import get_xattrs
from sundog.record.directory import RECORDS_DIRECTORY
from sundog.record.owners import OwnerRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sundog.layer.below import Found, LayerTree
    from sundog.layer.directory_owners import Owner
    from sundog.layer.tar_writer import TarWriter

_ROOT = OwnerRecord("d")
_FILE = OwnerRecord("f")
_OPEN_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


def write_layers(
    archive: TarWriter, layers: Sequence[LayerTree], added: Mapping[bytes, bytes | None]
) -> None:
    """Write what shows of ``layers``, the topmost first, and ``added`` on top of them.

    ``added`` are paths of files with their contents, and of directories, which have None; parents
    come first.  A directory that the layers have is left as it is.  The time of what is added is
    the root's.  Raises OSError, ArchiveError.
    """
    with Below(layers) as view:
        _Flat(archive, view, added).write()


class _Flat:
    """The state of writing one archive."""

    def __init__(
        self, archive: TarWriter, view: Below, added: Mapping[bytes, bytes | None]
    ) -> None:
        self._archive = archive
        self._view = view
        self._added = added
        self._linked: dict[tuple[int, int], bytes] = {}  # inodes with several names → the first

    def write(self) -> None:
        root = self._view.lookup(b"")
        mtime_ns = root.status.st_mtime_ns if root else 0
        if root is None:
            self._archive.header("d", b"./", 0o755, 0, _ROOT)
        ahead = [(b"", root)] if root else []
        added = self._possible()
        while ahead:
            path, found = ahead.pop()
            self._directory(path, found)
            below = []
            for name, entry in self._view.entries(path):
                child = joined(path, name)
                if child in added:
                    continue  # what is added takes its place
                if entry.is_directory:
                    below.append((child, entry))
                else:
                    self._entry(child, entry)
            ahead += reversed(below)
        for path, content in added.items():
            if content is None:
                self._archive.header("d", path + b"/", 0o755, mtime_ns, _ROOT)
            else:
                size = len(content)
                self._archive.header("f", path, 0o644, mtime_ns, _FILE, size=size)
                self._archive.data([content], size)

    def _possible(self) -> dict[bytes, bytes | None]:
        """Return what is added in places where the layers have nothing else in the way."""
        possible: dict[bytes, bytes | None] = {}
        blocked: set[bytes] = set()
        for path, content in self._added.items():
            found = self._view.lookup(path)
            is_directory = content is None
            if path.rpartition(b"/")[0] in blocked:
                blocked.add(path)
            elif found is not None and (is_directory or found.is_directory):
                if not found.is_directory:
                    blocked.add(path)
            else:
                possible[path] = content
        return possible

    def _directory(self, path: bytes, found: Found) -> None:
        record = found.record or _ROOT
        self._archive.header(
            "d",
            (path or b".") + b"/",
            found.mode,
            found.status.st_mtime_ns,
            record,
            xattrs=found.xattrs(),
        )

    def _entry(self, path: bytes, found: Found) -> None:
        """Write an entry that is not a directory."""
        status = found.status
        kind = kind_of(status.st_mode)
        if not kind:
            return  # a socket
        self._archive.check_name(path)
        record = found.record or OwnerRecord(kind)
        mtime_ns = status.st_mtime_ns
        if status.st_nlink > 1:
            first = self._linked.setdefault((found.root, status.st_ino), path)
            if first != path:
                self._archive.header("h", path, found.mode, mtime_ns, record, link=first)
                return
        if kind == "f":
            file = os.open(found.path, _OPEN_FILE, dir_fd=found.root)
            try:
                if record.kind in PLACEHOLDERS:
                    xattrs = get_xattrs(file)
                    self._archive.header(
                        record.kind, path, found.mode, mtime_ns, record, xattrs=xattrs
                    )
                else:
                    self._archive.file(path, file, status, record, get_xattrs(file))
            finally:
                os.close(file)
            return
        link = os.readlink(found.path, dir_fd=found.root) if kind == "l" else b""
        self._archive.header(kind, path, found.mode, mtime_ns, record, link=link)


def write_directory(
    archive: TarWriter, source: bytes, foreign: Mapping[bytes, Owner], *, guessed: bool
) -> None:
    """Write the directory ``source``, which holds a whole image.

    Who owns what is decided as by ``import_directory``, which also explains ``foreign`` and
    ``guessed``, and raises the same errors.  The file of records is left out: the archive shows
    what it records.
    """
    with own_records(source) as records, Directories(source) as directories:
        owners = DirectoryOwners(foreign, records, guessed=guessed)
        writer = _DirectoryWriter(archive, directories, owners)
        writer.write()
    if writer.unreadable:
        raise unreadable_error(source, writer.unreadable)


class _DirectoryWriter:
    """The state of writing one directory."""

    def __init__(
        self, archive: TarWriter, directories: Directories, owners: DirectoryOwners
    ) -> None:
        self.unreadable: set[bytes] = set()
        self._archive = archive
        self._directories = directories
        self._owners = owners
        self._linked: dict[tuple[int, int], bytes] = {}

    def write(self) -> None:
        for path, fd, entries in walk(self._directories, lambda path, _: self.unreadable.add(path)):
            kept = [entry for entry in entries if not is_about_records(joined(path, entry[0]))]
            if path == RECORDS_DIRECTORY and entries and not kept:
                continue  # the directory is there only for the records
            status = os.fstat(fd)
            record = self._owners.record(path, "d", status)
            name = (path or b".") + b"/"
            self._archive.member("d", name, status, record, xattrs=get_xattrs(fd))
            for name, entry in kept:
                if not stat.S_ISDIR(entry.st_mode):
                    self._entry(joined(path, name), fd, name, entry)

    def _entry(self, path: bytes, fd: int, name: bytes, status: os.stat_result) -> None:
        """Write an entry that is not a directory."""
        kind = DEVICES.get(stat.S_IFMT(status.st_mode)) or kind_of(status.st_mode)
        if not kind:
            return  # a socket
        self._archive.check_name(path)
        record = self._owners.record(path, kind, status)
        identity = (status.st_dev, status.st_ino)
        first = self._linked.get(identity)
        if first is not None:
            self._archive.member("h", path, status, record, link=first)
            return
        if kind == "f" and record.kind == "f":
            if not self._file(path, fd, name, status, record):
                return
        elif kind == "f":
            self._archive.member(record.kind, path, status, record)
        else:
            link = os.readlink(name, dir_fd=fd) if kind == "l" else b""
            self._archive.member(kind, path, status, record, link=link)
        if status.st_nlink > 1:
            self._linked[identity] = path

    def _file(
        self, path: bytes, fd: int, name: bytes, status: os.stat_result, record: OwnerRecord
    ) -> bool:
        """Write a regular file; return False if it can't be read."""
        try:
            file = os.open(name, _OPEN_FILE, dir_fd=fd)
        except (PermissionError, FileNotFoundError):
            self.unreadable.add(path)
            return False
        try:
            now = os.fstat(file)
            if not os.path.samestat(now, status) or not stat.S_ISREG(now.st_mode):
                raise SundogError(f"{display(path)} has changed while it was read")
            self._archive.file(path, file, now, record, get_xattrs(file))
        finally:
            os.close(file)
        return True
