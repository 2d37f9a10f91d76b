"""A shared store on disk: images that many users run in place, without a lock and without a write.

    sundog-store    the mark of such a directory, with the version of its format
    images/NAME     an image: its layers, and its documents; NAME as in a storage directory
    layers/ID/      a layer that is one file: ``record.layer_path``; and the digests of its files
    gzip-indexes/   indexes of gzip blobs, as in a storage directory: for pulls, and no start
    shown/          where they are mounted, in the mount namespace of a container

Everything is written under another name and renamed, and never changes then.  A file of ``images``
has the magic and the length of the stack (``record.stack``), with a newline after each, then the
stack, and JSON.  ``ch-run`` reads no JSON.  The layers in the stack include the image's own part
(the files in ``ch/``), which is the first, and mount points, which are the last.
"""

from __future__ import annotations

from sundog.base.record.layer_path import (
    LAYER_CHUNKS,
    LAYER_FILE,
    LAYER_INDEX,
    LAYER_LINKS,
    LAYER_OWNERS,
    LAYER_SPANS,
)
from sundog.base.record.stack import ID_LENGTH, pack_stack, unpack_stack
from sundog.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.base.record.stack import ImageStack

SHARED_MARK = b"sundog-store"
SHARED_VERSION = b"sundog shared store 1\n"
SHARED_IMAGES = b"images"
SHARED_LAYERS = b"layers"
SHARED_INDEXES = b"gzip-indexes"
SHARED_LIMIT = 16 << 20  # bytes of a file of ``images``
LAYER_INFO = b"/layer.json"
# What each layer has besides the link ``tree``, and what only some have.
LAYER_PARTS = (LAYER_FILE, LAYER_INDEX, LAYER_OWNERS, LAYER_INFO)
LAYER_EXTRAS = (LAYER_LINKS, LAYER_CHUNKS, LAYER_SPANS)
LAYER_DIGESTS = b"/digests"
_DIGEST_LENGTH = 64
_MAGIC = b"sundog shared image 1"
_DIGITS = b"0123456789abcdef"


def is_layer_id(text: bytes) -> bool:
    """Tell whether ``text`` can be the ID of a layer."""
    return len(text) == ID_LENGTH and not text.strip(_DIGITS)


def pack_digests(digests: Mapping[bytes, bytes]) -> bytes:
    """Return the bytes of ``digests``: a line with the SHA-256 and the name of each file."""
    return b"".join(b"%b %b\n" % (digest, name) for name, digest in digests.items())


def unpack_digests(data: bytes) -> dict[bytes, bytes]:
    """Return the digests by the names of the files; raise StoreError unless they are of all."""
    lines = [line.partition(b" ") for line in data.splitlines()]
    found = {name: digest for digest, _, name in lines}
    needed, extra = ({part[1:] for part in parts} for parts in (LAYER_PARTS, LAYER_EXTRAS))
    is_whole = needed <= found.keys() <= needed | extra
    if not is_whole or any(
        len(digest) != _DIGEST_LENGTH or digest.strip(_DIGITS) for digest in found.values()
    ):
        raise StoreError("damaged digests of a layer in a shared store", "publish it again")
    return found


def pack_shared(stack: ImageStack, documents: bytes) -> bytes:
    """Return the bytes of an image's file.  Raises StoreError as ``pack_stack``."""
    packed = pack_stack(stack)
    return b"%b\n%d\n%b%b" % (_MAGIC, len(packed), packed, documents)


def unpack_shared(data: bytes, shown: str) -> tuple[ImageStack, bytes]:
    """Return the stack and the JSON of an image's file, which ``shown`` names; raise StoreError."""
    try:
        magic, length, rest = data.split(b"\n", 2)
        if magic != _MAGIC or not length.isdigit():
            raise ValueError("not such a file")
        end = int(length[:9])
        stack = unpack_stack(rest[:end])
        if not stack.layers or not all(map(is_layer_id, stack.layers)):
            raise ValueError("no layers")
    except (ValueError, IndexError) as error:
        raise StoreError(
            f"damaged image in a shared store: {shown}: {error}", "publish it again"
        ) from None
    return stack, rest[end:]
