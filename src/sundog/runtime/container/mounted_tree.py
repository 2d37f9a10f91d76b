"""The knowledge of a supervisor about a tree that a step has mounted.

``ch-run`` uses this only with ``--notify``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.record.layer_path import LayerPath
    from sundog.base.record.owners import OwnersManifest


class MountedTree:
    """The sources of knowledge about the owners in a step's mount at ``destination``.

    layers   topmost first; the mount shows ``path`` in them
    owners   the records themselves, if there are no layers
    tree     the mounted directory, if the supervisor must report the step's changes; else b""
    is_upper ``tree`` is not mounted itself: what is mounted shows the changes in it
    """

    __slots__ = ("destination", "is_upper", "layers", "owners", "path", "tree")

    def __init__(
        self,
        destination: bytes,
        layers: Sequence[LayerPath] = (),
        path: bytes = b"",
        *,
        owners: OwnersManifest | None = None,
        tree: bytes = b"",
        is_upper: bool = False,
    ) -> None:
        self.destination = destination
        self.layers = layers
        self.path = path
        self.owners = owners or {}
        self.tree = tree
        self.is_upper = is_upper
