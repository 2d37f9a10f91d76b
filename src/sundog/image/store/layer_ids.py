"""The IDs of layers."""

from __future__ import annotations

from sundog.base.record.stack import ID_LENGTH

LayerId = str


def layer_id(*identity: str) -> LayerId:
    """Return the ID of the layer that ``identity`` determines."""
    import hashlib  # not needed to look at a store

    text = "\0".join(identity).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:ID_LENGTH]


def file_layer_id(layer: LayerId) -> LayerId:
    """Return the ID of the layer that has the contents of ``layer`` in one file."""
    return layer_id("file", layer)
