"""Make a layer of an overlay's upper directory.

The kernel's marks become data of the manifest; they stay in the tree only where they hide something
below.  The rest of the kernel's ``user.overlay.*`` is removed, and so are entries that are there
only because of the skeleton.  ``user.overlay.origin`` on a file says that the kernel copied it up:
it is the file below, changed in place.

Specification: Documentation/filesystems/overlayfs.rst.  Runs in the tree worker, where the modes of
files are no obstacle.
"""

from __future__ import annotations

import errno
import os
import stat

from sundog.image.layer.directories import Directories
from sundog.image.layer.inherit import Base
from sundog.image.layer.marks import WHITEOUT_RECORD
from sundog.image.layer.names import joined
from sundog.image.layer.walk import walk
from sundog.image.layer.xattrs import (
    OVERLAY_OPAQUE,
    OVERLAY_ORIGIN,
    entry_path,
    overlay_xattrs,
    remove_xattrs,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.record.owners import OwnerRecord, OwnersManifest
    from sundog.image.layer.below import LayerTree
    from sundog.image.layer.inherit import StepOwners


def seal_upper(
    upper: bytes,
    below: Sequence[LayerTree],
    skeleton: bytes,
    known: StepOwners | None = None,
) -> OwnersManifest | None:
    """Make the upper directory ``upper`` a layer's tree, in place, and return its manifest.

    ``below`` are the layers that were mounted under it, the topmost first; ``skeleton`` is the
    directory at the bottom.  ``known`` are the owners that the step itself knows.  Returns None if
    nothing has changed; ``upper`` is then empty.  Raises OSError; ``upper`` may then be in any
    state.
    """
    with Directories(upper) as directories, Base(below, skeleton, known) as base:
        return _Sealing(directories, base).seal()


class _Sealing:
    """The state of one upper directory while it becomes a layer."""

    def __init__(self, directories: Directories, base: Base) -> None:
        self._directories = directories
        self._base = base
        self._owners: OwnersManifest = {}
        self._cut_off: set[bytes] = set()  # directories in which nothing below shows
        self._copied_up: set[int] = set()  # inodes whose mark was found under another name
        self._unchanged: set[bytes] = set()  # directories that are as they were

    def seal(self) -> OwnersManifest | None:
        statuses: dict[bytes, os.stat_result] = {}
        for path, fd, entries in walk(self._directories):
            statuses[path] = os.fstat(fd)
            self._seal_directory(path, fd, statuses[path])
            for name, status in entries:
                if not stat.S_ISDIR(status.st_mode):
                    self._seal_entry(path, fd, name, status)
        for path, status in reversed(statuses.items()):
            if path in self._unchanged and self._drop_directory(path):
                continue
            # The times are to be those that the step left.
            os.utime(self._directories.open(path), ns=(status.st_atime_ns, status.st_mtime_ns))
        root_mode = stat.S_IMODE(statuses[b""].st_mode)
        if root_mode == self._base.root_mode and not os.listdir(self._directories.open(b"")):
            return None
        return self._owners

    def _seal_directory(self, path: bytes, fd: int, status: os.stat_result) -> None:
        marks = overlay_xattrs(fd)
        parent = path.rpartition(b"/")[0]
        is_opaque = marks.get(OVERLAY_OPAQUE) == b"y"
        hides = is_opaque and parent not in self._cut_off and bool(self._base.below.holders(path))
        remove_xattrs(fd, marks.keys() - {OVERLAY_OPAQUE} if hides else marks)
        if is_opaque or parent in self._cut_off:
            self._cut_off.add(path)
        copied_up = OVERLAY_ORIGIN in marks or not path
        if copied_up and path and self._base.is_unchanged_directory(path, status, fd):
            self._unchanged.add(path)
        self._record(path, self._base.record(path, status, same_file=copied_up, opaque=hides))

    def _seal_entry(self, directory: bytes, fd: int, name: bytes, status: os.stat_result) -> None:
        path = joined(directory, name)
        copied_up = False
        if stat.S_ISCHR(status.st_mode):
            if directory not in self._cut_off and self._base.below.lookup(path):
                self._owners[path] = WHITEOUT_RECORD
            else:
                os.unlink(name, dir_fd=fd)
            return
        if stat.S_ISREG(status.st_mode):
            copied_up = self._take_marks(fd, name, status)
            if copied_up and self._base.is_skeleton_file(path, status, fd, name):
                os.unlink(name, dir_fd=fd)
                return
        self._record(path, self._base.record(path, status, same_file=copied_up))

    def _take_marks(self, fd: int, name: bytes, status: os.stat_result) -> bool:
        """Remove the kernel's marks from a file; tell whether it was copied up."""
        file = entry_path(fd, name)
        marks = overlay_xattrs(file)
        remove_xattrs(file, marks)
        if OVERLAY_ORIGIN in marks and status.st_nlink > 1:
            self._copied_up.add(status.st_ino)
        return OVERLAY_ORIGIN in marks or status.st_ino in self._copied_up

    def _drop_directory(self, path: bytes) -> bool:
        """Remove the directory ``path`` if nothing is left in it."""
        parent, _, name = path.rpartition(b"/")
        try:
            os.rmdir(name, dir_fd=self._directories.open(parent))
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            return False
        self._directories.forget(path)
        self._owners.pop(path, None)
        return True

    def _record(self, path: bytes, record: OwnerRecord | None) -> None:
        if record is not None:
            self._owners[path] = record
