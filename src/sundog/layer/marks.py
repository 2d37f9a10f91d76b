"""overlayfs's marks of whiteouts and opaque directories, derived from a manifest.

A mark is made only where something below is hidden.  A whiteout in a directory that only one layer
has would show as a character device, and overlayfs ignores an opaque mark on a layer's root: below
a root-opaque layer the stack of layers is cut instead.

Specification: Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
Must not import anything of ``sundog`` but ``record`` and floor-mates below it.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from sundog.layer.xattrs import OVERLAY_OPAQUE
from sundog.record.owners import OwnerRecord

if TYPE_CHECKING:
    from sundog.layer.below import Below
    from sundog.layer.directories import Directories
    from sundog.record.owners import OwnersManifest

WHITEOUT_RECORD = OwnerRecord("w")


def place_marks(directories: Directories, owners: OwnersManifest, below: Below) -> None:
    """Mark the whiteouts and opaque directories of ``owners`` in the tree where it has to be.

    The tree bears no marks yet.  Changes the times of directories.
    """
    opaque = {path for path, record in owners.items() if record.opaque}
    for path, record in owners.items():
        if record.kind == "w":
            parent, _, name = path.rpartition(b"/")
            if not _is_cut_off(path, opaque) and below.lookup(path):
                # An ordinary user may make this one device: mknod(2), Linux 5.8.
                os.mknod(name, stat.S_IFCHR, 0, dir_fd=directories.open(parent))
        elif record.opaque and path and not _is_cut_off(path, opaque) and below.holders(path):
            os.setxattr(directories.open(path), OVERLAY_OPAQUE, b"y")


def _is_cut_off(path: bytes, opaque: set[bytes]) -> bool:
    """Whether a directory above ``path`` is opaque: then nothing below shows at ``path``."""
    while path and opaque:
        path = path.rpartition(b"/")[0]
        if path in opaque:
            return True
    return False
