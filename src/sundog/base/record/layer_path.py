"""The place of a layer in the file system."""

from sundog.base.record.guesses import OWNERS_KNOWN


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
