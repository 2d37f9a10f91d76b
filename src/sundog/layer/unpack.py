"""Unpack a tar archive as a layer: a tree of files, and a manifest of what the inodes don't show.

Specification: OCI image specification, layer.md; where it is silent, what containerd does.  Names
are resolved inside the tree, as they would be with the image as the root directory: through
symlinks of this layer and of those below, never out of it.  A member that can't be had this way is
refused; the tree is then incomplete, but nothing outside of it was touched.

The later of two members with one name wins.  Whiteouts concern the layers below alone, wherever
they stand in the archive.

Must not import anything of ``sundog`` but ``errors``, ``record``, ``kernel`` and floor-mates.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from sundog.errors import ArchiveError
from sundog.layer.below import Below, Found
from sundog.layer.copying import Copier
from sundog.layer.directories import Directories
from sundog.layer.marks import WHITEOUT_RECORD, place_marks
from sundog.layer.names import AUFS, OPAQUE, WHITEOUT, display, joined, normalised
from sundog.layer.remove import remove_tree
from sundog.layer.tar import TarReader
from sundog.layer.xattrs import recordable, set_xattrs
from sundog.record.owners import OwnerRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.layer.below import LayerTree
    from sundog.layer.header import Member
    from sundog.layer.xattrs import Pairs
    from sundog.record.owners import OwnersManifest

T = TypeVar("T")

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LINKS_FOLLOWED = 40  # as path_resolution(7)

# A directory of one of these names is not taken for the wrapping of an imported image.
_TOP_DIRECTORIES = frozenset((b"bin", b"dev", b"etc", b"mnt", b"proc", b"sys", b"tmp", b"usr"))

# What the archive is to blame for; the other errors are the file system's.
_ARCHIVE_ERRNOS = frozenset(
    {
        errno.ENAMETOOLONG,
        errno.EINVAL,
        errno.EFBIG,
        errno.EMLINK,
        errno.EOVERFLOW,
        errno.ELOOP,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.EEXIST,
    }
)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What came of unpacking.

    owners          the manifest
    diff_id         digest of the uncompressed archive, ``sha256:HEX``
    size            its length in bytes
    has_whiteouts   whether it has whiteouts or opaque marks
    root_opaque     whether nothing below the layer shows
    needs_below     whether the tree is what it is because of the layers below, so that over others
                    it would be another: marks, and what was taken from there
    """

    owners: OwnersManifest
    diff_id: str
    size: int
    has_whiteouts: bool
    root_opaque: bool
    needs_below: bool


def unpack(
    stream: BinaryIO, tree: bytes, *, below: Sequence[LayerTree] = (), import_rules: bool = False
) -> Unpacked:
    """Unpack the uncompressed archive ``stream`` into ``tree``, an empty directory.

    ``below`` are the layers that this one goes on, the topmost first.  With ``import_rules``, when
    all is in one directory that is none of a root's usual ones, its contents are the layer.

    Raises ArchiveError, naming the member, for what is the archive's fault; OSError for what is the
    file system's; either way ``tree`` is for the caller to remove.
    """
    reader = TarReader(stream)
    with Directories(tree) as directories, Below(below) as view:
        layer = _LayerInMaking(reader, directories, view)
        try:
            for member in reader:
                layer.add(member)
            layer.finish(unwrap=import_rules)
        except ArchiveError as error:
            raise ArchiveError(f"{reader.place}: {error.message}", error.hint) from error
        except OSError as error:
            if error.errno not in _ARCHIVE_ERRNOS:
                raise
            why = os.strerror(error.errno or 0).lower()
            raise ArchiveError(f"{reader.place}: cannot be unpacked: {why}") from error
    root = layer.owners.get(b"")
    has_whiteouts = any(record.kind == "w" or record.opaque for record in layer.owners.values())
    return Unpacked(
        owners=layer.owners,
        diff_id=reader.digest,
        size=reader.size,
        has_whiteouts=has_whiteouts,
        root_opaque=root is not None and root.opaque,
        needs_below=has_whiteouts or layer.needs_below,
    )


class _LayerInMaking:
    """The tree and the manifest while members are added; ``finish`` completes them."""

    def __init__(self, reader: TarReader, directories: Directories, below: Below) -> None:
        self.owners: OwnersManifest = {}
        self.needs_below = False
        self._reader = reader
        self._directories = directories
        self._below = below
        self._copier = Copier()
        # This tree's directories by canonical path → (mode, mtime_ns), which are set at the end:
        # to make an entry changes the time, and the mode can forbid it.
        self._made: dict[bytes, tuple[int, int]] = {}
        self._opaque: set[bytes] = set()
        # Paths that lead through symlinks → canonical paths; and the symlinks.
        self._aliases: dict[bytes, bytes] = {}
        self._followed: set[bytes] = set()
        self._shared: dict[tuple[str, int, int], OwnerRecord] = {}
        self._add = {
            "f": self._add_file,
            "c": self._add_file,
            "b": self._add_file,
            "d": self._add_directory,
            "l": self._add_symlink,
            "h": self._add_hard_link,
            "p": self._add_fifo,
        }

    def add(self, member: Member) -> None:
        """Add one member.  Raises ArchiveError, OSError."""
        path = normalised(member.name)
        if not path and member.kind != "d":
            raise ArchiveError("the root is not a directory")
        if not self._made:
            self._imply_root(member.mtime_ns)
        if WHITEOUT in path and self._add_whiteout(member, path):
            return
        directory, _, name = path.rpartition(b"/")
        path = joined(self._enter(directory, member.mtime_ns), name)
        if path in self._followed:
            self._aliases.clear()
        self._add[member.kind](member, path)

    def finish(self, *, unwrap: bool) -> None:
        """Complete the manifest, place the marks, give the directories their modes and times."""
        if not self._made:
            self._imply_root(0)
        for path in self._opaque:
            record = self.owners.get(path) or OwnerRecord("d")
            self.owners[path] = OwnerRecord(
                "d", record.uid, record.gid, xattrs=record.xattrs, opaque=True
            )
        if unwrap:
            self._unwrap()
        if self._below:
            place_marks(self._directories, self.owners, self._below)
        for path in sorted(self._made, reverse=True):  # children before their parents
            mode, mtime_ns = self._made[path]
            fd = self._directories.open(path)
            os.fchmod(fd, mode)
            os.utime(fd, ns=(mtime_ns, mtime_ns))

    def _unwrap(self) -> None:
        """Where all is in one directory that no root has, make its contents the root's."""
        root = self._directories.open(b"")
        names = [os.fsencode(name) for name in os.listdir(root)]
        if len(names) != 1 or names[0] in _TOP_DIRECTORIES or names[0] not in self._made:
            return
        top = wrapping = names[0]
        children = [os.fsencode(name) for name in os.listdir(self._directories.open(top))]
        self._directories.forget(top)
        while wrapping in children:
            wrapping += b"~"
        os.rename(top, wrapping, src_dir_fd=root, dst_dir_fd=root)
        for child in children:
            os.rename(joined(wrapping, child), child, src_dir_fd=root, dst_dir_fd=root)
        os.rmdir(wrapping, dir_fd=root)
        self._made = _below_only(self._made, top)
        self.owners = _below_only(self.owners, top)

    # Kinds of members.

    def _add_file(self, member: Member, path: bytes) -> None:
        """Add a file; or a device, whose place an empty file holds."""
        fd = self._make(path, _create)
        try:
            if member.kind == "f":
                self._reader.copy_data(fd)
            left = set_xattrs(fd, member.xattrs.items()) if member.xattrs else ()
            os.fchmod(fd, member.mode)
            os.utime(fd, ns=(member.mtime_ns, member.mtime_ns))
        finally:
            os.close(fd)
        self._record(path, member, left)

    def _add_directory(self, member: Member, path: bytes) -> None:
        if path not in self._made:
            self._make_directory(path)
        self._made[path] = (member.mode, member.mtime_ns)
        left: Pairs = ()
        if member.xattrs:
            left = set_xattrs(self._directories.open(path), member.xattrs.items())
        self._record(path, member, left)

    def _add_symlink(self, member: Member, path: bytes) -> None:
        if not member.link or b"\0" in member.link:
            raise ArchiveError("a symbolic link without a proper target")
        self._make(path, lambda name, fd: os.symlink(member.link, name, dir_fd=fd))
        self._set_times(path, member.mtime_ns)
        self._record(path, member, recordable(member.xattrs.items()))

    def _add_fifo(self, member: Member, path: bytes) -> None:
        self._make(path, lambda name, fd: os.mkfifo(name, 0o600, dir_fd=fd))
        parent, _, name = path.rpartition(b"/")
        os.chmod(name, member.mode, dir_fd=self._directories.open(parent))
        self._set_times(path, member.mtime_ns)
        self._record(path, member, recordable(member.xattrs.items()))

    def _add_hard_link(self, member: Member, path: bytes) -> None:
        """Add a further name; what only a layer below has is copied into this tree first."""
        directory, _, name = normalised(member.link).rpartition(b"/")
        target = joined(self._enter(directory, member.mtime_ns, make=False), name)
        here = self._lookup_here(target)
        found = here or self._lookup_below(target)
        if found is None:
            raise ArchiveError(f"a hard link to {display(target)}, which is not there")
        if found.is_directory or target.startswith(path + b"/"):
            raise ArchiveError(f"a hard link to {display(target)}, which cannot be")
        if here is None:
            self._copy_up(target, found)
        if target == path:
            return
        self._make(path, lambda name, fd: self._link(target, name, fd))
        self._set_record(path, self.owners.get(target))

    def _add_whiteout(self, member: Member, path: bytes) -> bool:
        """Take ``path`` for a whiteout; False if it is none."""
        *directories, name = path.split(b"/")
        if any(part.startswith(AUFS) for part in directories):
            return True
        if any(part.startswith(WHITEOUT) for part in directories):
            raise ArchiveError("a whiteout is not a directory")
        if not name.startswith(WHITEOUT):
            return False
        hidden = name.removeprefix(WHITEOUT)
        if hidden in (b"", b".", b".."):
            raise ArchiveError("a whiteout of no name")
        if name == OPAQUE:
            self._opaque.add(self._enter(b"/".join(directories), member.mtime_ns))
        elif not name.startswith(AUFS):
            target = joined(self._enter(b"/".join(directories), member.mtime_ns), hidden)
            if target in self._made:
                self._opaque.add(target)
            elif self._lookup_here(target) is None:
                self.owners[target] = WHITEOUT_RECORD
                self._aliases.clear()
        return True

    # Where members go.

    def _enter(self, path: bytes, mtime_ns: int, *, make: bool = True) -> bytes:
        """Return the canonical path of the directory ``path``, and have it in this tree.

        It is resolved as in the image: the root is the tree's, and the layers below show through.
        What is missing is made, with ``mtime_ns``, or else an error.
        """
        if path in self._made:
            return path
        if path in self._aliases:
            return self._aliases[path]
        here = b""
        links = 0
        ahead = path.split(b"/")[::-1]  # the next component last
        while ahead:
            name = ahead.pop()
            if name == b"..":  # of a symlink's target
                here = here.rpartition(b"/")[0]
                continue
            if name in (b"", b"."):
                continue
            child = joined(here, name)
            if child in self._made:
                here = child
                continue
            found = self._lookup_here(child) or self._lookup_below(child)
            if found is None and not make:
                raise ArchiveError(f"{display(child)} is not there")
            if found is None or found.is_directory:
                self._imply(child, found, mtime_ns)
                here = child
            elif stat.S_ISLNK(found.status.st_mode):
                links += 1
                if links > _LINKS_FOLLOWED:
                    raise ArchiveError(f"{display(path)} leads through too many symbolic links")
                target = os.readlink(found.path, dir_fd=found.root)
                self._followed.add(child)
                if target.startswith(b"/"):
                    here = b""
                ahead += target.split(b"/")[::-1]
            else:
                raise ArchiveError(f"{display(child)} is not a directory")
        if here != path:
            self._aliases[path] = here
        return here

    def _lookup_here(self, path: bytes) -> Found | None:
        """Return the entry ``path`` of this tree; its parent is there."""
        parent, _, name = path.rpartition(b"/")
        fd = self._directories.open(parent)
        try:
            return Found(fd, name, os.lstat(name or b".", dir_fd=fd), self.owners.get(path))
        except FileNotFoundError:
            return None

    def _lookup_below(self, path: bytes) -> Found | None:
        """Return what shows at ``path`` from the layers below through this one."""
        if self.owners.get(path) is WHITEOUT_RECORD:
            return None
        above = path
        while above:
            above = above.rpartition(b"/")[0]
            if above in self._opaque or self.owners.get(above) is WHITEOUT_RECORD:
                return None
        return self._below.lookup(path)

    # Making entries.

    def _make(self, path: bytes, make: Callable[[bytes, int], T]) -> T:
        """Call ``make`` with name and parent of ``path``; what is there already has to go."""
        parent, _, name = path.rpartition(b"/")
        fd = self._directories.open(parent)
        try:
            return make(name, fd)
        except FileExistsError:
            self._remove(path)
            return make(name, fd)

    def _make_directory(self, path: bytes) -> None:
        self._make(path, lambda name, fd: os.mkdir(name, 0o700, dir_fd=fd))
        if self.owners.pop(path, None) is WHITEOUT_RECORD:
            self._opaque.add(path)  # it does not merge with what the whiteout deletes

    def _imply(self, path: bytes, found: Found | None, mtime_ns: int) -> None:
        """Make a directory that the archive takes for granted, like the one below if there is."""
        self._make_directory(path)
        self._made[path] = (0o755, mtime_ns)
        if found is not None:
            self._inherit(path, found)

    def _imply_root(self, mtime_ns: int) -> None:
        """Begin with a root like the one below, should the archive say nothing of it."""
        self._made[b""] = (0o755, mtime_ns)
        found = self._below.lookup(b"")
        # The usual root is the same everywhere: no reason to need the layers below.
        if found is not None and (found.record or found.mode != 0o755 or found.xattrs()):
            self._inherit(b"", found)

    def _inherit(self, path: bytes, found: Found) -> None:
        """Give the directory ``path`` what ``found``, a directory below, has."""
        self.needs_below = True
        self._made[path] = (found.mode, found.status.st_mtime_ns)
        left = set_xattrs(self._directories.open(path), found.xattrs())
        self._set_record(path, found.handed_down(left))

    def _copy_up(self, path: bytes, found: Found) -> None:
        """Copy what is not a directory from a layer below to ``path``, with all its names."""
        self.needs_below = True
        parent, _, name = path.rpartition(b"/")
        fd = self._directories.open(parent)
        left = self._copier.copy(found.root, found.path, found.status, fd, name)
        self._set_record(path, found.handed_down(left))
        if found.status.st_nlink == 1:
            return
        for other in self._below.names(found):
            shown = self._lookup_below(other)
            if other == path or shown is None or not shown.is_same(found):
                continue
            directory, _, name = other.rpartition(b"/")
            with contextlib.suppress(ArchiveError, FileExistsError):  # this layer hides it
                if self._enter(directory, found.status.st_mtime_ns) == directory:
                    self._link(path, name, self._directories.open(directory))
                    self._set_record(other, shown.handed_down(left))

    def _link(self, target: bytes, name: bytes, fd: int) -> None:
        """Give the file ``target`` of this tree another name in the directory ``fd``."""
        parent, _, old_name = target.rpartition(b"/")
        source = self._directories.open(parent)
        os.link(old_name, name, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False)

    def _remove(self, path: bytes) -> None:
        """Remove an entry of this tree that another member replaces."""
        if path in self._made:
            self._directories.forget(path)
            gone = {
                p for p in (*self._made, *self.owners) if p == path or p.startswith(path + b"/")
            }
            for one in gone:
                self._made.pop(one, None)
                self.owners.pop(one, None)
            self._opaque -= gone
        parent, _, name = path.rpartition(b"/")
        remove_tree(name, dir_fd=self._directories.open(parent))
        self._aliases.clear()

    def _set_times(self, path: bytes, mtime_ns: int) -> None:
        parent, _, name = path.rpartition(b"/")
        fd = self._directories.open(parent)
        os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=fd, follow_symlinks=False)

    # The manifest.

    def _record(self, path: bytes, member: Member, xattrs: Pairs) -> None:
        """Record what the inode does not show of ``member``."""
        kind, uid, gid = member.kind, member.uid, member.gid
        if xattrs or kind in "cb":
            rdev = os.makedev(member.major, member.minor) if kind in "cb" else 0
            self.owners[path] = OwnerRecord(kind, uid, gid, rdev=rdev, xattrs=xattrs)
        elif uid or gid:
            record = self._shared.get((kind, uid, gid))
            if record is None:
                record = self._shared[kind, uid, gid] = OwnerRecord(kind, uid, gid)
            self.owners[path] = record
        elif self.owners:
            self.owners.pop(path, None)

    def _set_record(self, path: bytes, record: OwnerRecord | None) -> None:
        if record is None:
            self.owners.pop(path, None)
        else:
            self.owners[path] = record


def _create(name: bytes, fd: int) -> int:
    return os.open(name, _NEW_FILE, 0o600, dir_fd=fd)


def _below_only(mapping: dict[bytes, T], top: bytes) -> dict[bytes, T]:
    """Return what ``mapping`` has for ``top`` and the paths below it, relative to it."""
    prefix = top + b"/"
    return {
        path[len(prefix) :]: value
        for path, value in mapping.items()
        if path == top or path.startswith(prefix)
    }
