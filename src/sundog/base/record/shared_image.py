"""A shared store on disk: images that many users run in place, without a lock and without a write.

    sundog-store      the mark of such a directory, with the version of its format
    images/NAME       an image: its layers, and its documents; NAME as in a storage directory
    layers/ID.sqfs    the files of a layer, as SquashFS

Every file is written under another name and renamed, and never changes then.  A file of ``images``
has the magic, the IDs of the layers (topmost first) with spaces between them, and JSON; a newline
ends each of the first two.  ``ch-run`` reads no JSON.
"""

from __future__ import annotations

from sundog.errors import StoreError

SHARED_MARK = b"sundog-store"
SHARED_VERSION = b"sundog shared store 1\n"
SHARED_IMAGES = b"images"
SHARED_LAYERS = b"layers"
SHARED_LIMIT = 16 << 20  # bytes of a file of ``images``
_LAYER_END = b".sqfs"
_MAGIC = b"sundog shared image 1"
_ID_LENGTH = 64
_DIGITS = b"0123456789abcdef"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def shared_layer_file(layer: bytes) -> bytes:
    """Return the path of a layer in a shared store."""
    return SHARED_LAYERS + b"/" + layer + _LAYER_END


def shared_layer_of(name: bytes) -> bytes:
    """Return the ID of the layer whose file has this name below ``layers``; b"" if none has."""
    layer = name.removesuffix(_LAYER_END)
    return layer if layer != name and _is_id(layer) else b""


def pack_shared(layers: Sequence[bytes], documents: bytes) -> bytes:
    """Return the bytes of an image's file."""
    return b"\n".join((_MAGIC, b" ".join(layers), documents))


def unpack_shared(data: bytes, shown: str) -> tuple[list[bytes], bytes]:
    """Return the layers, topmost first, and the JSON of an image's file, which ``shown`` names.

    Raises StoreError.
    """
    magic, _, rest = data.partition(b"\n")
    listed, newline, documents = rest.partition(b"\n")
    layers = listed.split(b" ")
    if magic != _MAGIC or not newline or not all(map(_is_id, layers)):
        raise StoreError(f"damaged image in a shared store: {shown}", "publish it again")
    return layers, documents


def _is_id(text: bytes) -> bool:
    return len(text) == _ID_LENGTH and not text.strip(_DIGITS)
