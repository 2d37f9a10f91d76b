"""The IDs of layers."""

from __future__ import annotations

from sundog.base.record.stack import ID_LENGTH

LayerId = str

# The marks of a layer in a shared store: ``guessed`` and ``unrecorded`` of ``LayerInfo``.
_MARKS = ("00", "01", "11")


def layer_id(*identity: str) -> LayerId:
    """Return the ID of the layer that ``identity`` determines."""
    import hashlib  # not needed to look at a store

    text = "\0".join(identity).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:ID_LENGTH]


def file_layer_id(layer: LayerId) -> LayerId:
    """Return the ID of the layer that has the contents of ``layer`` in one file."""
    return layer_id("file", layer)


def shared_layer_id(tree: LayerId, *, guessed: bool = False, unrecorded: bool = False) -> LayerId:
    """Return the ID that a layer has in every shared store; ``tree`` is its ID as one that came."""
    return layer_id("shared", tree, f"{guessed:d}{unrecorded:d}")


def shared_layer_ids(tree: LayerId) -> list[LayerId]:
    """Return all IDs that ``shared_layer_id`` makes, with any marks."""
    return [layer_id("shared", tree, marks) for marks in _MARKS]


def blob_layer_id(layer: LayerId, table: str) -> LayerId:
    """Return the ID of the layer that is a blob, whose table of contents has the digest ``table``.

    ``layer`` is its ID once it is unpacked.  The table may lie about the tar, so a layer that
    comes without it never has this ID.
    """
    return layer_id("blob", layer, table)
