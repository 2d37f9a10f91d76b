"""Where a layer is."""


class LayerPath:
    """The paths of a layer: its files, the directory ``tree``, and the manifest ``owners``.

    ``guessed`` says that the layer was made under an emulation that forgets, so that a file without
    a record may be anybody's.
    """

    __slots__ = ("tree", "owners", "guessed")  # noqa: RUF023 - in the order of __init__

    def __init__(self, tree: bytes, owners: bytes, guessed: bool = False) -> None:
        self.tree = tree
        self.owners = owners
        self.guessed = guessed
