"""``layers/ID/layer.json``: what is known of a layer as a whole.

Pure values, in a module of their own: most looks at a store do not need them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from sundog.base.fields import Fields, parse_json
from sundog.errors import DocumentError, StoreError
from sundog.image.oci.descriptor import Descriptor

# Repositories that are remembered for a blob: one of so many may still have it.
_PLACES = 8
# In ``LayerBlob.made``, before the digest of the list of files that come first.
FIRST_MARK = ", first "

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.fields import JsonObject


@dataclass(frozen=True, slots=True)
class LayerBlob:
    """A form in which a layer is exchanged: a tar of it, perhaps compressed.

    The blob need not be in this store.  ``diff_id`` is the digest of its uncompressed tar.
    ``made`` says how this store made the blob; the same way gives the same blob again.  It is ""
    for a blob that came from outside and leaves unchanged.  ``places`` are repositories, as
    ``HOST/NAME``, that had the blob.
    """

    descriptor: Descriptor
    diff_id: str
    made: str = ""
    places: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: object) -> LayerBlob:
        """Read what ``to_json`` made; raise DocumentError."""
        fields = Fields(value, "layer.json: blob", DocumentError)
        return cls(
            Descriptor.from_json(fields.take("descriptor"), "layer.json: descriptor"),
            fields.string("diff_id"),
            fields.string("made"),
            fields.strings("places") or (),
        )

    def to_json(self) -> JsonObject:
        """Return the object that is kept in ``layer.json``."""
        return {
            "descriptor": self.descriptor.to_json(),
            "diff_id": self.diff_id,
            "made": self.made,
            "places": list(self.places),
        }

    def also_at(self, place: str) -> LayerBlob:
        """Return the same blob with one more place, the latest first; the oldest are forgotten."""
        others = [known for known in self.places if known != place]
        return replace(self, places=(place, *others)[:_PLACES])


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """Facts about a layer as a whole.

    ``source`` is the digest of the uncompressed tar, or of the directory's contents, from which an
    imported layer was made.  For a layer that an instruction made it is ""; then ``instruction`` is
    the text of the instruction, and ``parent`` the layer on which it was made first.  ``diff_id``
    is the digest of the tar that ``write_layer_tar`` writes, "" until it is needed.  ``size`` is
    the number of bytes in the layer's files, None until it is needed.  Below a layer with
    ``root_opaque`` nothing shows.  ``guessed`` says that files without a record may be anybody's:
    ``seccomp`` forgets the owners that it reports; a layer that was joined of several has a list of
    these files, see ``record.guesses``.  ``unrecorded`` says that nobody saw whose the
    files are; beside ``guessed`` layers, this marks those of ``none``, which reports no owners, and
    layers that came with the mark.  ``blobs`` are the known forms of the layer.  ``packed`` is the
    ID of the layer that is a tree, for a layer that is the file made of it; else "".
    """

    source: str = ""
    diff_id: str = ""
    root_opaque: bool = False
    guessed: bool = False
    blobs: tuple[LayerBlob, ...] = ()
    instruction: str = ""
    parent: str = ""
    size: int | None = None
    unrecorded: bool = False
    packed: str = ""

    @classmethod
    def from_json(cls, value: object) -> LayerInfo:
        """Read what ``to_json`` made; raise DocumentError."""
        fields = Fields(value, "layer.json", DocumentError)
        guessed = fields.boolean("guessed")
        # Earlier versions wrote the first alone.  A joined layer has a list of its guessed files.
        unrecorded = fields.boolean("unrecorded") if "unrecorded" in fields.rest else guessed
        return cls(
            fields.string("source"),
            fields.string("diff_id"),
            fields.boolean("root_opaque"),
            guessed,
            tuple(LayerBlob.from_json(blob) for blob in fields.array("blobs") or ()),
            fields.string("instruction"),
            fields.string("parent"),
            fields.size("size") if "size" in fields.rest else None,
            unrecorded,
            fields.string("packed"),
        )

    def to_json(self) -> JsonObject:
        """Return the object that is kept in ``layer.json``."""
        known: JsonObject = {} if self.size is None else {"size": self.size}
        known |= {"packed": self.packed} if self.packed else {}
        return known | {
            "source": self.source,
            "diff_id": self.diff_id,
            "root_opaque": self.root_opaque,
            "guessed": self.guessed,
            "unrecorded": self.unrecorded,
            "blobs": [blob.to_json() for blob in self.blobs],
            "instruction": self.instruction,
            "parent": self.parent,
        }

    def with_blob(self, blob: LayerBlob) -> LayerInfo:
        """Return the same info with one more form, in place of one that was made the same way.

        With other files in front, it was made the same way, too: else each push adds a form.
        """
        way = _way(blob.made)
        others = [
            known
            for known in self.blobs
            if known.descriptor.digest != blob.descriptor.digest  # the new one has more places
            and not (way and _way(known.made) == way)
        ]
        return replace(self, blobs=(*others, blob))

    def made_by(self, instruction: str, below: Sequence[str]) -> LayerInfo:
        """Return the same info, of a layer that ``instruction`` made on the layers ``below``."""
        return replace(self, instruction=instruction, parent=below[-1] if below else "")


def _way(made: str) -> str:
    """Return how a blob was made, without the list of the files that come first."""
    before, mark, _ = made.partition(FIRST_MARK)
    return before + mark


def pack_info(info: LayerInfo) -> bytes:
    """Return the bytes of ``layer.json``."""
    return json.dumps(info.to_json()).encode()


def unpack_info(data: bytes, layer: str) -> LayerInfo:
    """Parse the ``layer.json`` of ``layer``; raise StoreError when it is damaged."""
    try:
        return LayerInfo.from_json(parse_json(data, "layer.json", DocumentError))
    except DocumentError as error:
        raise StoreError(f"damaged layer in storage: {layer}: {error.message}") from error


def size_in(data: bytes) -> int | None:
    """Return the size in a ``layer.json``, whose other fields are not looked at; None if unknown.

    That is so of a damaged file, too.
    """
    try:
        value = json.loads(data)
        size = value.get("size")
    except (ValueError, RecursionError, AttributeError):
        return None
    return size if type(size) is int and size >= 0 else None
