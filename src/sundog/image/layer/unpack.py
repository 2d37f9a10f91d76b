"""Unpack a tar archive as a layer: a tree of files, and a manifest of what the inodes don't show.

Specification: OCI image specification, layer.md; where it is silent, containerd's behaviour.  A
member that cannot be inside the tree is refused: the tree is then incomplete, but nothing outside
of it was touched.

The later of two members of the same name wins.  Whiteouts concern only the layers below, wherever
they stand in the archive.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

from sundog.base.kernel.files import Closing, symlink
from sundog.base.record.owners import OwnerRecord
from sundog.errors import ArchiveError
from sundog.image.layer.below import Below
from sundog.image.layer.chunks import ChunksAhead
from sundog.image.layer.directories import Directories
from sundog.image.layer.growing_tree import GrowingTree
from sundog.image.layer.limits import Meter, current_meter
from sundog.image.layer.marks import place_marks
from sundog.image.layer.member_records import MemberRecords
from sundog.image.layer.names import (
    AUFS,
    OPAQUE,
    PATH_LIMIT,
    WHITEOUT,
    check_length,
    display,
    joined,
    normalised,
)
from sundog.image.layer.tar import TarReader
from sundog.image.layer.xattrs import recordable, set_xattrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sundog.base.record.owners import OwnersManifest
    from sundog.image.layer.below import LayerTree
    from sundog.image.layer.header import Member
    from sundog.image.layer.xattrs import Pairs

T = TypeVar("T")

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

# A directory of one of these names does not wrap an imported image: it belongs to its root.
TOP_DIRECTORIES = frozenset((b"bin", b"dev", b"etc", b"mnt", b"proc", b"sys", b"tmp", b"usr"))

# The errors that are the archive's fault; others are the file system's.
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
    """The result of unpacking.

    owners          the manifest
    diff_id         digest of the uncompressed archive, ``sha256:HEX``
    size            length of the uncompressed archive in bytes
    has_whiteouts   whether the archive has whiteouts or opaque marks
    root_opaque     whether nothing below the layer shows
    needs_below     whether the tree depends on the layers below, so that it would differ over
                    others: it has marks, or something was taken from there
    """

    owners: OwnersManifest
    diff_id: str
    size: int
    has_whiteouts: bool
    root_opaque: bool
    needs_below: bool


def unpack(
    stream: BinaryIO,
    tree: bytes,
    *,
    below: Iterable[LayerTree] = (),
    import_rules: bool = False,
    is_flat: bool = False,
    keeps_xattrs: bool = True,
    meter: Meter | None = None,
) -> Unpacked:
    """Unpack the uncompressed archive ``stream`` into ``tree``, an empty directory.

    ``below`` are the layers under this one, the topmost first; it is iterated over only if
    something in this layer depends on them.  With ``import_rules``, if the archive has nothing but
    one directory, whose name is not usual at a root, the contents of that directory are the layer.
    With ``is_flat``, names that mean whiteouts are names like others.  Without ``keeps_xattrs``,
    extended attributes are dropped.  ``meter`` counts the work; None means ``current_meter``.  A
    thread reads ``stream`` ahead; after a failure, this waits for its current read.

    Raises ArchiveError, which names the member, for a fault of the archive, OSError for one of the
    file system.  In either case the caller has to remove ``tree``.
    """
    meter = meter or current_meter()
    with (
        ChunksAhead(stream) as chunks,
        Directories(tree) as directories,
        Below(below, meter=meter) as view,
    ):
        reader = TarReader(chunks)
        unpacking = _Unpacking(
            reader, directories, view, meter, is_flat=is_flat, keeps_xattrs=keeps_xattrs
        )
        try:
            for member in reader:
                unpacking.add(member)
            unpacking.finish(unwrap=import_rules)
        except ArchiveError as error:
            raise ArchiveError(f"{reader.place}: {error.message}", error.hint) from error
        except OSError as error:
            if error.errno not in _ARCHIVE_ERRNOS:
                raise
            why = os.strerror(error.errno or 0).lower()
            raise ArchiveError(f"{reader.place}: cannot be unpacked: {why}") from error
    return unpacking.result()


class _Unpacking:
    """The state of unpacking one archive."""

    def __init__(
        self,
        reader: TarReader,
        directories: Directories,
        below: Below,
        meter: Meter,
        *,
        is_flat: bool,
        keeps_xattrs: bool,
    ) -> None:
        self._reader = reader
        self._directories = directories
        self._below = below
        self._meter = meter
        self._is_flat = is_flat
        self._keeps_xattrs = keeps_xattrs
        self._tree = GrowingTree(directories, below, meter)
        self._records = MemberRecords()
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
        if len(path) > PATH_LIMIT:
            check_length(path)
        if not path and member.kind != "d":
            raise ArchiveError("the root is not a directory")
        if not self._tree.made:
            self._tree.begin(member.mtime_ns)
        if not self._keeps_xattrs:
            member.xattrs = {}
        if not self._is_flat and WHITEOUT in path and self._add_whiteout(member, path):
            return
        directory, _, name = path.rpartition(b"/")
        path = joined(self._tree.enter(directory, member.mtime_ns), name)
        kept = len(path)
        if kept > PATH_LIMIT:
            check_length(path)
        if xattrs := member.xattrs:
            kept += sum(map(len, xattrs)) + sum(map(len, xattrs.values()))
        self._meter.entry(kept)
        self._add[member.kind](member, path)

    def finish(self, *, unwrap: bool) -> None:
        """Complete the manifest, place the marks, give the directories their modes and times."""
        tree = self._tree
        if not tree.made:
            tree.begin(0)
        tree.imply_root()
        for path in tree.opaque:
            record = tree.owners.get(path) or OwnerRecord("d")
            tree.owners[path] = OwnerRecord(
                "d", record.uid, record.gid, xattrs=record.xattrs, opaque=True
            )
        if unwrap:
            self._unwrap()
        place_marks(self._directories, tree.owners, self._below)
        # Children come right before their parents.
        for path in sorted(tree.made, key=lambda path: path.replace(b"/", b"\0"), reverse=True):
            mode, mtime_ns = tree.made[path]
            fd = self._directories.open(path)
            os.fchmod(fd, mode)
            os.utime(fd, ns=(mtime_ns, mtime_ns))

    def result(self) -> Unpacked:
        """Return the result."""
        owners = self._tree.owners
        root = owners.get(b"")
        has_whiteouts = any(record.kind == "w" or record.opaque for record in owners.values())
        return Unpacked(
            owners=owners,
            diff_id=self._reader.digest,
            size=self._reader.size,
            has_whiteouts=has_whiteouts,
            root_opaque=root is not None and root.opaque,
            needs_below=has_whiteouts or self._tree.needs_below,
        )

    def _unwrap(self) -> None:
        """Replace a single top directory that wraps the image by its contents, see ``unpack``."""
        tree = self._tree
        root = self._directories.open(b"")
        names = [os.fsencode(name) for name in os.listdir(root)]
        if len(names) != 1 or names[0] in TOP_DIRECTORIES or names[0] not in tree.made:
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
        tree.made = _below_only(tree.made, top)
        tree.owners = _below_only(tree.owners, top)

    def _add_file(self, member: Member, path: bytes) -> None:
        """Add a file, or the placeholder of a device, an empty file."""
        with Closing(self._tree.make(path, _create)) as fd:
            if member.kind == "f":
                self._reader.copy_data(fd)
            left = set_xattrs(fd, member.xattrs.items()) if member.xattrs else ()
            os.fchmod(fd, member.mode)
            os.utime(fd, ns=(member.mtime_ns, member.mtime_ns))
        self._record(path, member, left)

    def _add_directory(self, member: Member, path: bytes) -> None:
        if not path:
            self._tree.has_root = True
        elif path not in self._tree.made:
            self._tree.make_directory(path, member.mode, member.mtime_ns)
        self._tree.made[path] = (member.mode, member.mtime_ns)
        left: Pairs = ()
        if member.xattrs:
            left = set_xattrs(self._directories.open(path), member.xattrs.items())
        self._record(path, member, left)

    def _add_symlink(self, member: Member, path: bytes) -> None:
        if not member.link or b"\0" in member.link:
            raise ArchiveError("a symbolic link without a proper target")
        self._tree.make(path, lambda name, fd: symlink(member.link, name, dir_fd=fd))
        self._set_times(path, member.mtime_ns)
        self._record(path, member, recordable(member.xattrs.items()))

    def _add_fifo(self, member: Member, path: bytes) -> None:
        self._tree.make(path, lambda name, fd: os.mkfifo(name, 0o600, dir_fd=fd))
        parent, _, name = path.rpartition(b"/")
        os.chmod(name, member.mode, dir_fd=self._directories.open(parent))
        self._set_times(path, member.mtime_ns)
        self._record(path, member, recordable(member.xattrs.items()))

    def _add_hard_link(self, member: Member, path: bytes) -> None:
        """Add another name; a file that only a layer below has is copied into this tree first."""
        directory, _, name = normalised(member.link).rpartition(b"/")
        target = joined(self._tree.enter(directory, member.mtime_ns, make=False), name)
        here = self._tree.lookup_here(target)
        found = here or self._tree.lookup_below(target)
        if found is None:
            raise ArchiveError(f"a hard link to {display(target)}, which is not there")
        if found.is_directory or target.startswith(path + b"/"):
            raise ArchiveError(f"a hard link to {display(target)}, a directory or below the link")
        if here is None:
            self._tree.copy_up(target, found)
        if target == path:
            return
        self._tree.make(path, lambda name, fd: self._tree.link(target, name, fd))
        self._tree.set_record(path, self._tree.owners.get(target))

    def _add_whiteout(self, member: Member, path: bytes) -> bool:
        """Add the whiteout ``path``; return False if the path is not a whiteout."""
        *directories, name = path.split(b"/")
        if any(part.startswith(AUFS) for part in directories):
            return True
        if any(part.startswith(WHITEOUT) for part in directories):
            raise ArchiveError("a whiteout is not a directory")
        if not name.startswith(WHITEOUT):
            return False
        hidden = name.removeprefix(WHITEOUT)
        if hidden in (b"", b".", b".."):
            raise ArchiveError("a whiteout without a name")
        if name == OPAQUE:
            self._tree.make_opaque(self._tree.enter(b"/".join(directories), member.mtime_ns))
        elif not name.startswith(AUFS):
            target = joined(self._tree.enter(b"/".join(directories), member.mtime_ns), hidden)
            check_length(target)
            self._meter.entry(len(target))
            self._tree.hide(target)
        return True

    def _set_times(self, path: bytes, mtime_ns: int) -> None:
        parent, _, name = path.rpartition(b"/")
        fd = self._directories.open(parent)
        os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=fd, follow_symlinks=False)

    def _record(self, path: bytes, member: Member, xattrs: Pairs) -> None:
        """Record what the inode of ``member`` lacks: owner, device number, attributes."""
        self._tree.set_record(path, self._records.of(member, xattrs))


def _create(name: bytes, fd: int) -> int:
    return os.open(name, _NEW_FILE, 0o600, dir_fd=fd)


def _below_only(mapping: dict[bytes, T], top: bytes) -> dict[bytes, T]:
    """Return the items of ``mapping`` for ``top`` and paths below it, as paths relative to it."""
    prefix = top + b"/"
    return {
        path[len(prefix) :]: value
        for path, value in mapping.items()
        if path == top or path.startswith(prefix)
    }
