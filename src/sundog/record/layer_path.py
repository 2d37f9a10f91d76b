"""The place of a layer in the file system."""


class LayerPath:
    """The paths of a layer: its files, the directory ``tree``, and the manifest ``owners``.

    ``links`` is the file of ``record.links``, b"" if there is none.
    ``guessed`` says that an emulation without records made the layer.  The owner of a file that has
    no record is then unknown.
    """

    __slots__ = ("tree", "owners", "guessed", "links")  # noqa: RUF023 - in the order of __init__

    def __init__(
        self, tree: bytes, owners: bytes, guessed: bool = False, links: bytes = b""
    ) -> None:
        self.tree = tree
        self.owners = owners
        self.guessed = guessed
        self.links = links
