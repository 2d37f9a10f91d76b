"""``layers/ID/``: what the directory of a layer holds.

    tree/   the files
    owners  the manifest: ``record.owners``
    links   the files that may have several names: ``record.links``

In a layer that is one file, ``tree`` is a link to ``../../shown/ID``, and leads nowhere until the
layers of the store are mounted at ``shown``, in a mount namespace: ``runtime.fuse.layer_server``.
Beside it are:

    file    the contents of the files: SquashFS, or the blob as a registry has it
    index   all else about them: ``record.layer_index``
    chunks  if ``file`` is a blob, where the contents are in it: ``record.chunk_table``
    spans   the same for a blob that is an ordinary gzip: ``record.span_table``

A draft of a layer and a cache mount have the same names.
"""

from __future__ import annotations

import os

from sundog.base.record.guesses import OWNERS_KNOWN

# Relative to the directory.
LAYER_TREE, LAYER_OWNERS, LAYER_LINKS = b"/tree", b"/owners", b"/links"
LAYER_FILE, LAYER_INDEX, LAYER_CHUNKS = b"/file", b"/index", b"/chunks"
LAYER_SPANS = b"/spans"
SHOWN = b"shown"  # in the storage directory
_SHOWN_LINK = b"../../%b/" % SHOWN


def link_tree(directory: bytes, name: bytes) -> None:
    """Make ``directory`` that of a layer which is one file, and will be ``layers/NAME``."""
    os.symlink(linked_tree(name), directory + LAYER_TREE)


def linked_tree(name: bytes) -> bytes:
    """Return where ``tree`` leads in the layer ``name``, which is one file."""
    return _SHOWN_LINK + name


def is_in_file(tree: bytes) -> bool:
    """Tell whether ``tree`` is that of a layer which is one file."""
    try:
        return os.readlink(tree).startswith(_SHOWN_LINK)
    except OSError:
        return False


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
