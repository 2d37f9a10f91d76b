"""The changes of a container, in the words of ``diff``: what was added, changed and deleted.

Runs in the tree worker, where the modes of files are no obstacle.
"""

from __future__ import annotations

import stat

from sundog.base.record.owners import OwnerRecord
from sundog.image.layer.below import Below, LayerTree
from sundog.image.layer.directories import Directories
from sundog.image.layer.marks import WHITEOUT_RECORD
from sundog.image.layer.names import joined
from sundog.image.layer.walk import walk
from sundog.image.layer.xattrs import OVERLAY_OPAQUE, overlay_xattrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sundog.base.record.layer_path import LayerPath
    from sundog.base.record.owners import OwnersManifest

ADDED, CHANGED, DELETED = "A", "C", "D"
_CHANGES_LIMIT = 1 << 20  # changes that one answer holds


def tree_changes(
    upper: bytes, own: Sequence[LayerPath], image: Sequence[LayerPath], skeleton: bytes
) -> list[tuple[str, bytes]]:
    """Return the kind and the path of each change, in order of path.

    ``upper`` is the upper directory of an overlay, ``own`` are the container's layers below it,
    ``image`` those of its image, topmost first.  Whatever is beyond 2^20 changes is left out.
    """
    above = [LayerTree(upper, _marks(upper)), *map(LayerTree.read, own)]
    below = [*map(LayerTree.read, image), LayerTree(skeleton, {})]
    found: dict[bytes, str] = {}
    with Below(above, cut_at_root=False) as changed, Below(below) as before:
        for layer in above:
            for path in _paths(layer):
                if path in found or len(found) == _CHANGES_LIMIT:
                    continue
                was, shows = before.lookup(path) is not None, changed.lookup(path) is not None
                if was or shows:
                    found[path] = (CHANGED if was else ADDED) if shows else DELETED
            for path, record in layer.owners.items():
                if record.opaque:
                    names = {name for name, _ in changed.entries(path)}
                    hidden = (name for name, _ in before.entries(path) if name not in names)
                    found.update({joined(path, name): DELETED for name in hidden})
    return [(kind, path) for path, kind in sorted(found.items())]


def _paths(layer: LayerTree) -> Iterator[bytes]:
    with Directories(layer.tree) as directories:
        for path, _, entries in walk(directories):
            for name, _ in entries:
                yield joined(path, name)


def _marks(upper: bytes) -> OwnersManifest:
    """Return the marks of the kernel in ``upper`` as a manifest."""
    marks: OwnersManifest = {}
    with Directories(upper) as directories:
        for path, fd, entries in walk(directories):
            if path and overlay_xattrs(fd).get(OVERLAY_OPAQUE) == b"y":
                marks[path] = OwnerRecord("d", opaque=True)
            for name, status in entries:
                if stat.S_ISCHR(status.st_mode):
                    marks[joined(path, name)] = WHITEOUT_RECORD
    return marks
