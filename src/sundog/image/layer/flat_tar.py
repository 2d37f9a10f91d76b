"""Write a whole image as one tar: what shows of its layers, or a directory that holds it.

Such a tar has no whiteouts.  Directories are in order of path, and parents come before their
children.  The same image gives the same bytes.
"""

from __future__ import annotations

import os
import stat

from sundog.base.kernel.files import Closing
from sundog.base.record.directory import RECORDS_DIRECTORY
from sundog.base.record.owners import INODE_KINDS
from sundog.errors import SundogError
from sundog.image.layer.below import Below
from sundog.image.layer.bytecode import finder
from sundog.image.layer.directories import Directories
from sundog.image.layer.directory_owners import (
    PLACEHOLDERS,
    DirectoryOwners,
    unreadable_error,
)
from sundog.image.layer.directory_records import is_about_records, own_records
from sundog.image.layer.names import display, joined
from sundog.image.layer.walk import walk
from sundog.image.layer.whole_image import image_entries
from sundog.image.layer.xattrs import get_xattrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sundog.base.record.owners import OwnerRecord
    from sundog.image.layer.below import LayerTree
    from sundog.image.layer.bytecode import Find
    from sundog.image.layer.directory_owners import Owner
    from sundog.image.layer.tar_writer import TarWriter
    from sundog.image.layer.whole_image import Added, Entry
    from sundog.image.layer.xattrs import Pairs

_OPEN_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


def write_layers(archive: TarWriter, layers: Sequence[LayerTree], added: Added) -> None:
    """Write what shows of ``layers``, the topmost first, and ``added``: see ``whole_image``.

    Raises OSError, ArchiveError.
    """
    with Below(layers) as view:
        for entry in image_entries(view, added):
            _write(archive, entry, view.open_file)


def _write(archive: TarWriter, entry: Entry, find: Find) -> None:
    path, kind, found, record = entry.path, entry.kind, entry.found, entry.record
    link = b""
    xattrs: Pairs = ()
    if kind == "d":
        path = (path or b".") + b"/"
        xattrs = found.xattrs() if found else ()
    elif found:
        if not kind:
            return  # a socket
        archive.check_name(path)
        if entry.first is not None:
            kind, link = "h", entry.first
        elif kind == "l":
            link = os.readlink(found.path, dir_fd=found.root)
        elif kind == "f":
            with Closing(os.open(found.path, _OPEN_FILE, dir_fd=found.root)) as file:
                xattrs = get_xattrs(file)
                if record.kind not in PLACEHOLDERS:
                    archive.file(path, file, found.status, record, xattrs, find=find)
                    return
            kind = record.kind
    elif kind == "l":
        link = entry.content
    size = 0 if kind == "l" else len(entry.content)
    archive.header(
        kind, path, entry.mode, entry.mtime_ns, record, link=link, size=size, xattrs=xattrs
    )
    if size:
        archive.data([entry.content], size)


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
        writer = _DirectoryWriter(archive, directories, owners, finder([source]))
        writer.write()
    if writer.unreadable:
        raise unreadable_error(source, writer.unreadable)


class _DirectoryWriter:
    """The state of writing one directory."""

    def __init__(
        self,
        archive: TarWriter,
        directories: Directories,
        owners: DirectoryOwners,
        find: Find,
    ) -> None:
        self._find = find
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
        kind = INODE_KINDS.get(stat.S_IFMT(status.st_mode), "")
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
            self._archive.file(path, file, now, record, get_xattrs(file), find=self._find)
        finally:
            os.close(file)
        return True
