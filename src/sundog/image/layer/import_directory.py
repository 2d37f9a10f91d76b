"""Copy a directory that holds a whole image, as the image's only layer.

The user's own files become root's, whatever their group.  The manifest records the owners of other
files.  Devices get a placeholder and a record; sockets are left out.  If ``ch-run --notify -w`` has
worked in the directory, its records decide about owners (``directory_records``); the file of
records itself is not copied.

In a user namespace all foreign owners look the same, so ``foreign_owners`` reads them outside of
one.  The copy runs in the tree worker, where the modes of the user's own files are no obstacle.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from sundog.base.kernel.files import Closing
from sundog.base.record.directory import RECORDS_DIRECTORY
from sundog.base.record.owners import INODE_KINDS
from sundog.errors import SundogError
from sundog.image.layer.copying import Copier
from sundog.image.layer.directories import Directories
from sundog.image.layer.directory_owners import (
    PLACEHOLDERS,
    DirectoryOwners,
    unreadable_error,
)
from sundog.image.layer.directory_records import is_about_records, own_records
from sundog.image.layer.names import display, joined
from sundog.image.layer.walk import walk
from sundog.image.layer.write_tar import write_tar
from sundog.image.layer.xattrs import get_xattrs, set_xattrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.base.record.owners import OwnersManifest
    from sundog.image.layer.directory_owners import Owner
    from sundog.image.layer.xattrs import Pairs


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of a copy: the manifest, and the digest of the layer's tar."""

    owners: OwnersManifest
    digest: str


def foreign_owners(source: bytes) -> dict[bytes, Owner]:
    """Return path → (uid, gid) of each entry of ``source`` that is not the user's own.

    Call it outside of any user namespace.  Raises OSError if ``source`` is not a directory.
    """
    own = os.geteuid()
    foreign: dict[bytes, Owner] = {}

    def note(path: bytes, status: os.stat_result) -> None:
        # If real root imports, the owners of all files count as foreign, except 0:0.
        if (status.st_uid != own or own == 0) and (status.st_uid or status.st_gid):
            foreign[path] = (status.st_uid, status.st_gid)

    with Directories(source) as directories:
        for path, fd, entries in walk(directories, on_error=lambda _path, _error: None):
            note(path, os.fstat(fd))
            for name, status in entries:
                note(joined(path, name), status)
    return foreign


def import_directory(
    source: bytes, tree: bytes, foreign: Mapping[bytes, Owner], *, guessed: bool = False
) -> Imported:
    """Copy ``source`` into ``tree``, an empty directory; ``foreign`` is from ``foreign_owners``.

    ``guessed`` says that files which are not foreign may be anybody's.  They belong to a user who
    takes root's place in the image; that user did not mean set-id files to become set-id root, nor
    new files in set-group-ID directories to get root's group.  Where there are records, ``guessed``
    does not count: the image is then as ``ch-run --notify`` shows it.

    Raises SundogError that names all unreadable files, or when another process writes the records
    of ``source``; OSError when ``tree`` cannot be written.
    """
    with own_records(source) as records, Directories(source) as there, Directories(tree) as here:
        owners = DirectoryOwners(foreign, records, guessed=guessed)
        copy = _DirectoryCopy(there, here, owners)
        copy.run()
    if copy.unreadable:
        raise unreadable_error(source, copy.unreadable)
    with open(os.devnull, "wb") as nowhere:
        return Imported(copy.owners, write_tar(nowhere, tree, copy.owners))


class _DirectoryCopy:
    """The state of one copy."""

    def __init__(self, there: Directories, here: Directories, shown: DirectoryOwners) -> None:
        self.owners: OwnersManifest = {}
        self.unreadable: set[bytes] = set()
        self._there = there
        self._here = here
        self._shown = shown
        self._copier = Copier()
        self._linked: dict[tuple[int, int], bytes] = {}  # inodes with several names → one copy

    def run(self) -> None:
        target = os.fstat(self._here.open(b""))
        statuses: dict[bytes, os.stat_result] = {}  # of the directories, parents first
        for path, fd, entries in walk(self._there, lambda path, _: self.unreadable.add(path)):
            statuses[path] = os.fstat(fd)
            if os.path.samestat(statuses[path], target):
                raise SundogError(f"{display(self._there.root)} contains the storage directory")
            kept = [entry for entry in entries if not is_about_records(joined(path, entry[0]))]
            if path == RECORDS_DIRECTORY and entries and not kept:
                del statuses[path]  # the directory is there only for the records
                continue
            self._make_directory(path, fd, statuses[path])
            for name, status in kept:
                if not stat.S_ISDIR(status.st_mode):
                    self._copy(path, fd, name, status)
        for path, status in reversed(statuses.items()):
            fd = self._here.open(path)
            os.fchmod(fd, stat.S_IMODE(status.st_mode))
            os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _make_directory(self, path: bytes, original: int, status: os.stat_result) -> None:
        parent, _, name = path.rpartition(b"/")
        if path:
            os.mkdir(name, 0o700, dir_fd=self._here.open(parent))
        left = set_xattrs(self._here.open(path), get_xattrs(original))
        self._record(path, "d", status, left)

    def _copy(self, directory: bytes, fd: int, name: bytes, status: os.stat_result) -> None:
        """Copy an entry that is not a directory."""
        path = joined(directory, name)
        target = self._here.open(directory)
        identity = (status.st_dev, status.st_ino)
        first = self._linked.get(identity)
        if first is not None:
            parent, _, first_name = first.rpartition(b"/")
            source = self._here.open(parent)
            os.link(first_name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
            if first in self.owners:
                self.owners[path] = self.owners[first]
            return
        kind = INODE_KINDS.get(stat.S_IFMT(status.st_mode), "")
        if not kind:
            return  # a socket
        recorded = self._shown.recorded(path, kind)
        left: Pairs = ()
        if kind in PLACEHOLDERS or (recorded is not None and recorded.kind in PLACEHOLDERS):
            _hold_place(target, name, status)
        else:
            try:
                left = self._copier.copy(fd, name, status, target, name)
            except (PermissionError, FileNotFoundError):
                self.unreadable.add(path)
                return
        self._record(path, kind, status, left)
        if status.st_nlink > 1:
            self._linked[identity] = path

    def _record(self, path: bytes, kind: str, status: os.stat_result, left: Pairs) -> None:
        record = self._shown.record(path, kind, status, left)
        if not record.is_plain:
            self.owners[path] = record


def _hold_place(directory: int, name: bytes, status: os.stat_result) -> None:
    """Make the empty file that is the placeholder of a device."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with Closing(os.open(name, flags, 0o600, dir_fd=directory)) as fd:
        os.fchmod(fd, stat.S_IMODE(status.st_mode))
        os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
