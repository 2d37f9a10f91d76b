"""overlayfs's marks of whiteouts and opaque directories, derived from a manifest.

A mark is made only where it hides something below.  A whiteout in a directory that only one layer
has would show as a character device.  overlayfs ignores an opaque mark on a layer's root: the stack
of layers ends at a root-opaque layer instead.

Specification: Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
"""

from __future__ import annotations

import os
import stat

from sundog.base.record.owners import OwnerRecord
from sundog.image.layer.xattrs import OVERLAY_OPAQUE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.record.owners import OwnersManifest
    from sundog.image.layer.below import Below
    from sundog.image.layer.directories import Directories

WHITEOUT_RECORD = OwnerRecord("w")


def place_marks(directories: Directories, owners: OwnersManifest, below: Below) -> None:
    """Mark the whiteouts and opaque directories of ``owners`` in the tree, where marks are needed.

    The tree has no marks yet.  Changes the times of directories.
    """
    cut_off = _CutOff({path for path, record in owners.items() if record.opaque})
    for path, record in owners.items():
        if record.kind == "w":
            parent, _, name = path.rpartition(b"/")
            if not cut_off.has(path) and below.lookup(path):
                # An ordinary user may make this device alone: mknod(2), Linux 5.8.
                os.mknod(name, stat.S_IFCHR, 0, dir_fd=directories.open(parent))
        elif record.opaque and path and not cut_off.has(path) and below.holders(path):
            os.setxattr(directories.open(path), OVERLAY_OPAQUE, b"y")


class _CutOff:
    """The paths below the directories ``opaque``, at which nothing of the layers below shows."""

    def __init__(self, opaque: set[bytes]) -> None:
        self._opaque = opaque
        self._known = {b"": b"" in opaque}  # directory → is it, or a parent, opaque?

    def has(self, path: bytes) -> bool:
        """Tell whether ``path`` is below an opaque directory, at any depth."""
        if not self._opaque:
            return False
        unknown = []
        directory = path.rpartition(b"/")[0]
        while directory not in self._known:
            unknown.append(directory)
            directory = directory.rpartition(b"/")[0]
        covered = self._known[directory]
        for directory in reversed(unknown):
            covered = self._known[directory] = covered or directory in self._opaque
        return covered
