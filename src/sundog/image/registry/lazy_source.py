"""``layers/ID/source``: where the rest of a layer is.  It has no credentials."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sundog.base.fields import Fields, parse_json
from sundog.errors import DocumentError, StoreError
from sundog.image.oci.descriptor import Descriptor

_NAME = "source of a layer"
SOURCE_LIMIT = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class LazySource:
    """The blob ``descriptor`` of a layer, and the image that has it.

    ``reference`` names the image with its registry; ``diff_id`` is the digest of the layer's tar as
    the configuration says it; ``place`` is as of ``LayerBlob``.  ``verify``: whether servers have
    to prove their identity.
    """

    reference: str
    descriptor: Descriptor
    diff_id: str
    place: str = ""
    verify: bool = True

    def pack(self) -> bytes:
        """Return the bytes of the file."""
        return json.dumps(
            {
                "reference": self.reference,
                "descriptor": self.descriptor.to_json(),
                "diff_id": self.diff_id,
                "place": self.place,
                "verify": self.verify,
            }
        ).encode()

    @classmethod
    def unpack(cls, data: bytes) -> LazySource:
        """Read what ``pack`` made; raise StoreError."""
        try:
            fields = Fields(parse_json(data, _NAME, DocumentError), _NAME, DocumentError)
            return cls(
                fields.required_string("reference"),
                Descriptor.from_json(fields.take("descriptor"), _NAME),
                fields.required_string("diff_id"),
                fields.string("place"),
                fields.boolean("verify"),
            )
        except DocumentError as error:
            raise StoreError(f"damaged layer in storage: {error.message}") from error
