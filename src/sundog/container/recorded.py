"""What the owners of files are known from, before a supervisor looks at it: plain values.

Not part of ``ch-run`` without ``--notify``.
"""

from sundog.record.owners import OwnersManifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Recorded:
    """What a layer records: the directory ``tree`` and the owners manifest ``owners``, as paths."""

    __slots__ = ("owners", "tree")

    def __init__(self, tree: bytes, owners: bytes) -> None:
        self.tree = tree
        self.owners = owners


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
        layers: "Sequence[Recorded]" = (),
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
