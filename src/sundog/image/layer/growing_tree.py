"""A layer's tree and manifest while they grow, over the layers below.

Paths are resolved as in the image: the image's root is the tree's, and the layers below show
through.  So a name that leads through a symlink ends where it would in the running image, and never
outside the tree.  A directory that only a layer below has is made here when a member needs it, and
gets what the one below has.

Whatever the order of the members, the work grows with what they make and remove, not with the size
of the tree.  Some work also grows with the lengths of paths; ``layer.limits`` counts it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TypeVar

from sundog.errors import ArchiveError
from sundog.image.layer.below import Below, Found
from sundog.image.layer.copying import Copier
from sundog.image.layer.holes import SECTOR
from sundog.image.layer.marks import WHITEOUT_RECORD
from sundog.image.layer.names import check_length, display, joined
from sundog.image.layer.remove import remove_tree
from sundog.image.layer.xattrs import set_xattrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.base.record.owners import OwnerRecord, OwnersManifest
    from sundog.image.layer.directories import Directories
    from sundog.image.layer.limits import Meter

T = TypeVar("T")

_LINKS_FOLLOWED = 40  # as in path_resolution(7)
_STEP = 10  # the cost of a component here; the kernel's is 1


class GrowingTree:
    """The tree in ``directories`` over the layers ``below``; ``meter`` counts the work.

    owners        the manifest; opaque marks are not in it yet
    made          canonical path of each directory in this tree → (mode, mtime_ns); set these at the
                  end, since each new entry changes the time, and a mode may forbid new entries
    opaque        directories in which nothing of the layers below shows
    has_root      whether the archive has a member for the root
    needs_below   whether the tree has anything from the layers below
    """

    def __init__(self, directories: Directories, below: Below, meter: Meter) -> None:
        self.owners: OwnersManifest = {}
        self.made: dict[bytes, tuple[int, int]] = {}
        self.opaque: set[bytes] = set()
        self.has_root = False
        self.needs_below = False
        self._directories = directories
        self._below = below
        self._meter = meter
        self._copier = Copier()
        # Directory → the paths right in it that ``made`` and ``owners`` have.
        self._inside: dict[bytes, set[bytes]] = {}
        # The directories of ``made`` that are opaque or below an opaque one.
        self._cut_off: set[bytes] = set()
        # Paths that lead through symlinks → canonical paths; and these symlinks.
        self._aliases: dict[bytes, bytes] = {}
        self._followed: set[bytes] = set()
        self._followed_below = False  # whether a symlink of the layers below is among them

    def enter(self, path: bytes, mtime_ns: int, *, make: bool = True) -> bytes:
        """Return the canonical path of the directory ``path``, which is then in this tree.

        ``path`` is resolved as in the image.  With ``make``, missing directories are made, with the
        time ``mtime_ns``; else they are an error.  Raises ArchiveError, OSError.
        """
        if path in self.made:
            return path
        if path in self._aliases:
            return self._aliases[path]
        parent, _, name = path.rpartition(b"/")
        here = self._aliases.get(parent, b"")
        links = steps = 0
        ahead = [name] if here else path.split(b"/")[::-1]  # the next component last
        while ahead:
            name = ahead.pop()
            steps += _STEP
            if name == b"..":  # from the target of a symlink
                here = here.rpartition(b"/")[0]
                continue
            if name in (b"", b"."):
                continue
            child = joined(here, name)
            if child in self.made:
                here = child
                continue
            check_length(child)
            here_is = self.lookup_here(child)
            found = here_is or self.lookup_below(child)
            if found is None and not make:
                raise ArchiveError(f"{display(child)} is not there")
            if found is None or found.is_directory:
                self._imply(child, found, mtime_ns)
                here = child
            elif stat.S_ISLNK(found.status.st_mode):
                links += 1
                if links > _LINKS_FOLLOWED:
                    raise ArchiveError(f"{display(path)} leads through too many symbolic links")
                target = self._follow(child, found, is_below=here_is is None)
                if target.startswith(b"/"):
                    here = b""
                ahead += target.split(b"/")[::-1]
            else:
                raise ArchiveError(f"{display(child)} is not a directory")
        self._meter.looked_up(steps)
        if here != path:
            self._aliases[path] = here
        return here

    def lookup_here(self, path: bytes) -> Found | None:
        """Return the entry ``path`` of this tree, if any.  Its parent is in the tree."""
        parent, _, name = path.rpartition(b"/")
        fd = self._directories.open(parent)
        try:
            return Found(fd, name, os.lstat(name or b".", dir_fd=fd), self.owners.get(path))
        except FileNotFoundError:
            return None

    def lookup_below(self, path: bytes) -> Found | None:
        """Return the entry of the layers below that shows at ``path`` through this one, if any."""
        if self.owners.get(path) is WHITEOUT_RECORD:
            return None
        above = path.rpartition(b"/")[0]
        while above not in self.made:
            if self.owners.get(above) is WHITEOUT_RECORD:
                return None
            self._meter.looked_up(_STEP)
            above = above.rpartition(b"/")[0]
        return None if above in self._cut_off else self._below.lookup(path)

    def hide(self, path: bytes) -> None:
        """Hide what the layers below have at ``path``; what this tree has there stays."""
        if path in self.made:
            self.make_opaque(path)
        elif self.lookup_here(path) is None:
            self.set_record(path, WHITEOUT_RECORD)
            if path in self._followed:
                self._aliases.clear()

    def make_opaque(self, path: bytes) -> None:
        """Hide what the layers below have in the directory ``path`` of this tree."""
        self.opaque.add(path)
        ahead = [path]
        while ahead:
            directory = ahead.pop()
            if directory not in self._cut_off:  # else those below it are cut off already
                self._cut_off.add(directory)
                ahead += [p for p in self._inside.get(directory, ()) if p in self.made]
        if self._followed_below:
            self._aliases.clear()

    def make(self, path: bytes, make: Callable[[bytes, int], T]) -> T:
        """Call ``make`` with name and parent of ``path``; first remove an entry that is there."""
        if path in self._followed:
            self._aliases.clear()
        parent, _, name = path.rpartition(b"/")
        fd = self._directories.open(parent)
        try:
            return make(name, fd)
        except FileExistsError:
            self._remove(path)
            return make(name, fd)

    def make_directory(self, path: bytes, mode: int, mtime_ns: int) -> None:
        """Make the directory ``path``, and note the mode and time that it gets at the end."""
        self.make(path, lambda name, fd: os.mkdir(name, 0o700, dir_fd=fd))
        self.made[path] = (mode, mtime_ns)
        parent = path.rpartition(b"/")[0]
        self._inside.setdefault(parent, set()).add(path)
        if parent in self._cut_off:
            self._cut_off.add(path)
        if self.owners.pop(path, None) is WHITEOUT_RECORD:
            self.make_opaque(path)  # it does not merge with the one that the whiteout deletes

    def _follow(self, link: bytes, found: Found, *, is_below: bool) -> bytes:
        """Return the target of a symlink, on which later aliases depend."""
        self._followed.add(link)
        self._followed_below |= is_below
        return os.readlink(found.path, dir_fd=found.root)

    def _imply(self, path: bytes, found: Found | None, mtime_ns: int) -> None:
        """Make a directory that has no member in the archive, like the one below, if any."""
        self._meter.entry(len(path))
        self.make_directory(path, 0o755, mtime_ns)
        if found is not None:
            self._inherit(path, found)

    def begin(self, mtime_ns: int) -> None:
        """Begin with a root of the usual mode."""
        self.made[b""] = (0o755, mtime_ns)

    def imply_root(self) -> None:
        """Give the root mode, time and attributes of the one below, if the archive has no root."""
        if self.has_root:
            return
        found = self._below.lookup(b"")
        # A root of the usual mode is the same everywhere: it does not depend on the layers below.
        if found is not None and (found.handed_down() or found.mode != 0o755 or found.xattrs()):
            self._inherit(b"", found)

    def _inherit(self, path: bytes, found: Found) -> None:
        """Give the directory ``path`` mode, time and attributes of ``found``, a directory below."""
        self.needs_below = True
        self.made[path] = (found.mode, found.status.st_mtime_ns)
        left = set_xattrs(self._directories.open(path), found.xattrs())
        self.set_record(path, found.handed_down(left))

    def copy_up(self, path: bytes, found: Found) -> None:
        """Copy a file, not a directory, from a layer below to ``path``, with all of its names."""
        self.needs_below = True
        parent, _, name = path.rpartition(b"/")
        fd = self._directories.open(parent)
        self._meter.unpacked(found.status.st_blocks * SECTOR)
        left = self._copier.copy(found.root, found.path, found.status, fd, name)
        self.set_record(path, found.handed_down(left))
        if found.status.st_nlink == 1:
            return
        for other in self._below.names(found):
            shown = self.lookup_below(other)
            if other == path or shown is None or not shown.is_same(found):
                continue
            self._meter.entry(len(other))
            directory, _, name = other.rpartition(b"/")
            with contextlib.suppress(ArchiveError, FileExistsError):  # this layer hides that name
                if self.enter(directory, found.status.st_mtime_ns) == directory:
                    self.link(path, name, self._directories.open(directory))
                    self.set_record(other, shown.handed_down(left))

    def link(self, target: bytes, name: bytes, fd: int) -> None:
        """Link the file ``target`` of this tree as ``name`` in the directory ``fd``."""
        parent, _, old_name = target.rpartition(b"/")
        source = self._directories.open(parent)
        os.link(old_name, name, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False)

    def _remove(self, path: bytes) -> None:
        """Remove the entry ``path`` of this tree: another member replaces it."""
        if path in self.made:
            self._directories.forget(path)
            ahead = [path]
            while ahead:
                gone = ahead.pop()
                ahead += self._inside.pop(gone, ())
                self.made.pop(gone, None)
                self.owners.pop(gone, None)
                self._cut_off.discard(gone)
                self.opaque.discard(gone)
            self._inside[path.rpartition(b"/")[0]].discard(path)
            self._aliases.clear()
        parent, _, name = path.rpartition(b"/")
        remove_tree(name, dir_fd=self._directories.open(parent))

    def set_record(self, path: bytes, record: OwnerRecord | None) -> None:
        """Set the record of ``path`` in the manifest; None removes it."""
        if record is None:
            self.owners.pop(path, None)
        else:
            self.owners[path] = record
            if path:
                self._inside.setdefault(path.rpartition(b"/")[0], set()).add(path)
