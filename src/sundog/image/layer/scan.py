"""Find what a step changed in a plain tree, and make a layer of it, for the ``copy`` driver.

The tree is scanned right after it was copied, and again after the step.  An entry has changed when
its inode, ctime, size or mode has.  The mtime alone does not count: programs set it as they please.
The layer is what overlayfs would have gathered, with whiteouts for entries that are gone.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import time
from dataclasses import dataclass
from typing import NamedTuple

from sundog.image.layer.copying import Copier
from sundog.image.layer.directories import Directories
from sundog.image.layer.inherit import Base
from sundog.image.layer.marks import WHITEOUT_RECORD, place_marks
from sundog.image.layer.names import joined
from sundog.image.layer.walk import walk
from sundog.image.layer.xattrs import get_xattrs, set_xattrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.record.owners import OwnerRecord, OwnersManifest
    from sundog.image.layer.below import LayerTree
    from sundog.image.layer.inherit import StepOwners

# Seconds between looks at a file system's clock, and at most between two of its ticks.
_TICK = 0.001
_SLOWEST_CLOCK = 2.5

# The length of a path, and the fields of its Signature; the path follows.
_PACKED = struct.Struct("=IQqqqI")

# Errors of link(2) after which a copy is made instead.
_NO_LINK = frozenset({errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EXDEV})


class Signature(NamedTuple):
    """The fields of stat(2) that tell whether an entry has changed; times in nanoseconds."""

    inode: int
    ctime: int
    mtime: int
    size: int
    mode: int

    @property
    def data(self) -> tuple[int, int]:
        """The fields that tell whether the data of a file have changed."""
        return self.mtime, self.size


@dataclass(frozen=True, slots=True)
class Scan:
    """The signatures of a tree's entries, by path."""

    entries: dict[bytes, Signature]


def scan(tree: bytes) -> Scan:
    """Return the scan of ``tree``.  Raises OSError.

    Waits until the file system's clock has gone on, so that every later change gives another ctime.
    """
    entries = {}
    with Directories(tree) as directories:
        for path, fd, listed in walk(directories):
            entries[path] = _signature(os.fstat(fd))
            for name, status in listed:
                if not stat.S_ISDIR(status.st_mode):
                    entries[joined(path, name)] = _signature(status)
        newest = max(entry.ctime for entry in entries.values())
        root = directories.open(b"")
        deadline = time.monotonic() + _SLOWEST_CLOCK
        while entries[b""].ctime <= newest and time.monotonic() < deadline:
            time.sleep(_TICK)
            status = os.fstat(root)
            os.utime(root, ns=(status.st_atime_ns, status.st_mtime_ns))  # sets the ctime
            entries[b""] = _signature(os.fstat(root))
    return Scan(entries)


def pack_scan(scanned: Scan) -> bytes:
    """Return a scan as bytes, for use on this machine only."""
    parts: list[bytes] = []
    for path, entry in scanned.entries.items():
        parts += (_PACKED.pack(len(path), *entry), path)
    return b"".join(parts)


def unpack_scan(data: bytes) -> Scan:
    """Return the scan that ``pack_scan`` made bytes of.  Raises ValueError."""
    entries: dict[bytes, Signature] = {}
    position = 0
    while position < len(data):
        try:
            length, *numbers = _PACKED.unpack_from(data, position)
        except struct.error as error:
            raise ValueError("a scan of a tree is cut") from error
        start = position + _PACKED.size
        position = start + length
        entries[data[start:position]] = Signature(*numbers)
    if position != len(data) or b"" not in entries:
        raise ValueError("a scan of a tree is cut")
    return Scan(entries)


def diff(
    work: bytes,
    before: Scan,
    out_tree: bytes,
    below: Sequence[LayerTree],
    skeleton: bytes,
    *,
    known: StepOwners | None = None,
) -> OwnersManifest | None:
    """Make a layer of what changed in ``work`` since ``before``, in the empty ``out_tree``.

    ``below`` are the layers that were copied to ``work``, the topmost first; ``skeleton`` is the
    directory that was under them.  ``known`` are the owners that the step itself knows.  Files of
    ``work`` are linked into ``out_tree``, not copied.  Afterwards ``work`` may be removed or kept,
    but nothing in it may change.

    Returns the layer's manifest, None if nothing has changed.  Raises OSError.
    """
    with (
        Directories(work) as source,
        Directories(out_tree) as target,
        Base(below, skeleton, known) as base,
    ):
        return _Difference(source, before.entries, target, base).make()


def _signature(status: os.stat_result) -> Signature:
    return Signature(
        status.st_ino, status.st_ctime_ns, status.st_mtime_ns, status.st_size, status.st_mode
    )


class _Difference:
    """The state of one comparison, and the layer that it makes."""

    def __init__(
        self,
        source: Directories,
        before: dict[bytes, Signature],
        target: Directories,
        base: Base,
    ) -> None:
        self._source = source
        self._before = before
        self._target = target
        self._base = base
        self._copier = Copier()
        self._owners: OwnersManifest = {}
        self._fresh: set[bytes] = set()  # directories that did not exist before
        self._now: dict[bytes, os.stat_result] = {}
        self._made: dict[bytes, None] = {}  # directories of the layer, parents first

    def make(self) -> OwnersManifest | None:
        for path, fd, entries in walk(self._source):
            status = os.fstat(fd)
            self._now[path] = status
            self._compare_directory(path, status)
            for name, entry in entries:
                if not stat.S_ISDIR(entry.st_mode):
                    self._now[joined(path, name)] = entry
                    self._compare(path, name, entry)
        for path in self._before.keys() - self._now.keys():
            self._compare_missing(path)
        if not self._made:
            return None
        place_marks(self._target, self._owners, self._base.below)
        for path in reversed(self._made):
            status = self._now[path]
            fd = self._target.open(path)
            set_xattrs(fd, get_xattrs(self._source.open(path)))
            os.fchmod(fd, stat.S_IMODE(status.st_mode))
            os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
        return self._owners

    def _compare_directory(self, path: bytes, status: os.stat_result) -> None:
        if not path:
            if stat.S_IMODE(status.st_mode) != self._base.root_mode:
                self._have(path)
            return
        if path.rpartition(b"/")[0] in self._fresh or not self._is_same(path, status):
            self._fresh.add(path)
            self._have(path)
        elif _signature(status) != self._before[path] and not self._base.is_unchanged_directory(
            path, status, self._source.open(path)
        ):
            self._have(path)

    def _compare(self, directory: bytes, name: bytes, status: os.stat_result) -> None:
        """Put an entry that is not a directory into the layer, if it has changed."""
        path = joined(directory, name)
        if directory not in self._fresh and _signature(status) == self._before.get(path):
            return
        if self._is_same(path, status):
            fd = self._source.open(directory)
            if self._base.is_skeleton_file(path, status, fd, name):
                return
        self._have(directory)
        self._link(directory, name, status)
        # Inode numbers are soon used again: a new file may have an old number, but not an old time.
        now, old = _signature(status), self._before.get(path)
        perhaps = self._is_same(path, status)
        same_file = perhaps and old is not None and now.data == old.data
        record = self._base.record(path, status, same_file=same_file, perhaps_same=perhaps)
        self._record(path, record)

    def _compare_missing(self, path: bytes) -> None:
        """Record a whiteout for ``path``, which is gone, unless its directory is gone or new."""
        parent = path.rpartition(b"/")[0]
        directory = self._now.get(parent)
        if directory is None or not stat.S_ISDIR(directory.st_mode) or parent in self._fresh:
            return
        if self._base.below.lookup(path):
            self._have(parent)
            self._owners[path] = WHITEOUT_RECORD

    def _is_same(self, path: bytes, status: os.stat_result) -> bool:
        """Tell whether an inode of this number and type was at ``path`` before."""
        old = self._before.get(path)
        return (
            old is not None
            and old.inode == status.st_ino
            and stat.S_IFMT(old.mode) == stat.S_IFMT(status.st_mode)
        )

    def _have(self, path: bytes) -> None:
        """Make the directory ``path`` and those above it in the layer, if they are missing."""
        missing: list[bytes] = []
        while path not in self._made:
            missing.append(path)
            if not path:
                break
            path = path.rpartition(b"/")[0]
        for path in reversed(missing):
            parent, _, name = path.rpartition(b"/")
            if path:
                os.mkdir(name, 0o700, dir_fd=self._target.open(parent))
            self._made[path] = None
            status = self._now[path]
            same = self._is_same(path, status)
            opaque = (
                path in self._fresh
                and parent not in self._fresh
                and bool(self._base.below.holders(path))
            )
            self._record(path, self._base.record(path, status, same_file=same, opaque=opaque))

    def _link(self, directory: bytes, name: bytes, status: os.stat_result) -> None:
        source, target = self._source.open(directory), self._target.open(directory)
        try:
            os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            self._copier.copy(source, name, status, target, name)

    def _record(self, path: bytes, record: OwnerRecord | None) -> None:
        if record is not None:
            self._owners[path] = record
