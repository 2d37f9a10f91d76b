"""What a supervisor has to know of a tree that a step has mounted."""

from sundog.record.owners import OwnersManifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.record.layer_path import LayerPath


class MountedTree:
    """What is known of the owners of what a step has mounted at ``destination``.

    layers   topmost first; what ``path`` names in them is mounted
    owners   the same, known by itself
    tree     the directory that is mounted, where the step's changes are to be told; else b""
    """

    __slots__ = ("destination", "layers", "owners", "path", "tree")

    def __init__(
        self,
        destination: bytes,
        layers: "Sequence[LayerPath]" = (),
        path: bytes = b"",
        *,
        owners: OwnersManifest | None = None,
        tree: bytes = b"",
    ) -> None:
        self.destination = destination
        self.layers = layers
        self.path = path
        self.owners = owners or {}
        self.tree = tree
