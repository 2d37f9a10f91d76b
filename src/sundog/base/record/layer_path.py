"""``layers/ID/``: what the directory of a layer holds.

    tree/   the files
    owners  the manifest: ``record.owners``
    links   the files that may have several names: ``record.links``

A draft of a layer and a cache mount have the same names.
"""

from __future__ import annotations

from sundog.base.record.guesses import OWNERS_KNOWN

# Relative to the directory.
LAYER_TREE, LAYER_OWNERS, LAYER_LINKS = b"/tree", b"/owners", b"/links"


class LayerPath:
    """The paths of a layer: its files, the directory ``tree``, and the manifest ``owners``.

    ``links`` is the file of ``record.links``, b"" if there is none.
    ``guessed`` says that an emulation without records made the layer.  The owner of a file that has
    no record is then unknown.
    ``guesses`` is the layer's letter in ``record.guesses``.
    """

    __slots__ = ("tree", "owners", "guessed", "links", "guesses")  # noqa: RUF023 - as in __init__

    def __init__(
        self,
        tree: bytes,
        owners: bytes,
        guessed: bool = False,
        links: bytes = b"",
        guesses: bytes = OWNERS_KNOWN,
    ) -> None:
        self.tree = tree
        self.owners = owners
        self.guessed = guessed
        self.links = links
        self.guesses = guesses

    @classmethod
    def of(
        cls, directory: bytes, guessed: bool = False, guesses: bytes = OWNERS_KNOWN
    ) -> LayerPath:
        """Return the paths in the ``directory`` of a layer."""
        links = directory + LAYER_LINKS
        return cls(directory + LAYER_TREE, directory + LAYER_OWNERS, guessed, links, guesses)
