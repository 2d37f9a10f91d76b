"""``layers/ID/layer.json``: what is known of a layer as a whole.

Pure values.  A module of its own: a look at the store does not need them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sundog.errors import DocumentError, StoreError
from sundog.oci.descriptor import Descriptor
from sundog.oci.fields import Fields, parse_json

# Of so many repositories one may still have the blob, and be one that the user may read.
_PLACES = 8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.oci.fields import JsonObject


@dataclass(frozen=True, slots=True)
class LayerBlob:
    """A form in which a layer comes or goes: a tar of it, perhaps compressed, somewhere.

    The blob need not be in this store.  ``diff_id`` is the digest of the tar in it, uncompressed.
    ``made`` says how this store made it, so that the next one made like that is the same; "" for a
    blob that came from outside, which goes back as it came.  ``places`` are repositories, as
    ``HOST/NAME``, that had it.
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
        """Return the same with one more place, the latest first; old ones are forgotten."""
        others = [known for known in self.places if known != place]
        return replace(self, places=(place, *others)[:_PLACES])


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """What is known of a layer as a whole.

    ``source`` is the digest of what it was made from: of a tar, uncompressed, or of a directory's
    contents; "" for a layer that an instruction made.  Of such a one, ``instruction`` is the text
    and ``parent`` the layer on which it was made first.  ``diff_id`` is the digest of the tar that
    ``write_layer_tar`` writes, "" until somebody asks; ``size`` the bytes in its files, None until
    then.  Below a layer with ``root_opaque`` nothing shows.  ``guessed`` says that files
    of it without a record may be anybody's: ``seccomp`` forgets what it told.  ``blobs`` are the
    forms of it that are known.
    """

    source: str = ""
    diff_id: str = ""
    root_opaque: bool = False
    guessed: bool = False
    blobs: tuple[LayerBlob, ...] = ()
    instruction: str = ""
    parent: str = ""
    size: int | None = None

    @classmethod
    def from_json(cls, value: object) -> LayerInfo:
        """Read what ``to_json`` made; raise DocumentError."""
        fields = Fields(value, "layer.json", DocumentError)
        return cls(
            fields.string("source"),
            fields.string("diff_id"),
            fields.boolean("root_opaque"),
            fields.boolean("guessed"),
            tuple(LayerBlob.from_json(blob) for blob in fields.array("blobs") or ()),
            fields.string("instruction"),
            fields.string("parent"),
            fields.size("size") if "size" in fields.rest else None,
        )

    def to_json(self) -> JsonObject:
        """Return the object that is kept in ``layer.json``."""
        known = {} if self.size is None else {"size": self.size}
        return known | {
            "source": self.source,
            "diff_id": self.diff_id,
            "root_opaque": self.root_opaque,
            "guessed": self.guessed,
            "blobs": [blob.to_json() for blob in self.blobs],
            "instruction": self.instruction,
            "parent": self.parent,
        }

    def with_blob(self, blob: LayerBlob) -> LayerInfo:
        """Return the same with one more form; another one that was made the same way goes."""
        others = [
            known
            for known in self.blobs
            if known.descriptor.digest != blob.descriptor.digest  # the new one knows more
            and not (blob.made and known.made == blob.made)
        ]
        return replace(self, blobs=(*others, blob))

    def made_by(self, instruction: str, below: Sequence[str]) -> LayerInfo:
        """Return the same of a layer that ``instruction`` made on top of others."""
        return replace(self, instruction=instruction, parent=below[-1] if below else "")


def unpack_info(data: bytes, layer: str) -> LayerInfo:
    """Return what the ``layer.json`` of ``layer`` says; raise StoreError when it is damaged."""
    try:
        return LayerInfo.from_json(parse_json(data, "layer.json", DocumentError))
    except DocumentError as error:
        raise StoreError(f"damaged layer in storage: {layer}: {error.message}") from error
