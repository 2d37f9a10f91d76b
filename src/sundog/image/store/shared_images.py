"""Images in shared stores, as their documents say it; see ``record.shared_image``.

The documents are JSON: what ``ch-image inspect`` prints of an image, and its files.  A trusted
account wrote them, but everything is checked all the same.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from sundog.base.fields import Fields
from sundog.base.record.names import canonical_name, spelled_out
from sundog.base.record.shared_image import is_layer_id
from sundog.errors import DocumentError, ReferenceSyntaxError, StoreError
from sundog.image.oci.config import ImageConfig
from sundog.image.oci.platform import Platform
from sundog.image.store.image_files import Image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from sundog.base.configuration.stores import SharedImage

_AGAIN_HINT = "the owner of the store can publish it again"


@dataclass(frozen=True, slots=True)
class SharedLayer:
    """A layer of a shared image: its ID in the store, and the size of its file in bytes."""

    layer: str
    size: int


@dataclass(frozen=True, slots=True)
class SharedDescription:
    """A shared image: its names, its configuration, and its size in bytes.

    ``described`` is what ``inspect`` prints, and ``sizes`` are those of the unpacked layers.
    ``layers`` are in order from bottom to top, without what only ``ch-run`` needs.
    """

    store: str
    reference: str
    typed: str
    id: str
    origin: str
    size: int
    config: ImageConfig
    annotations: Mapping[str, str]
    sizes: Sequence[int]
    layers: Sequence[SharedLayer]
    described: Mapping[str, Any]

    def as_image(self) -> Image:
        """Return the image as it is where the shared layers are: its ID is the same everywhere."""
        return Image(
            self.reference,
            self.typed,
            self.config,
            tuple(layer.layer for layer in self.layers),
            origin=f"shared {self.store}",
            annotations=self.annotations,
        )

    def runs_on(self, platform: Platform | None) -> bool:
        """Tell whether the image is for ``platform``, or for one that is a part of it."""
        config = self.config
        own = Platform.of(config.os, config.architecture, config.variant)
        return platform is None or own in platform.runnable()


def pack_documents(described: Mapping[str, Any], layers: Sequence[SharedLayer]) -> bytes:
    """Return the documents of an image, which ``description.describe`` has described."""
    listed = [{"layer": layer.layer, "size": layer.size} for layer in layers]
    return json.dumps({"image": described, "layers": listed}).encode()


def read_shared(image: SharedImage) -> SharedDescription:
    """Return what the documents of ``image`` say.  Raises StoreError for damaged ones."""
    what = os.fsdecode(image.path)
    try:
        return _description(image, what)
    except (DocumentError, ReferenceSyntaxError) as error:
        raise StoreError(
            f"damaged image in a shared store: {what}: {error.message}", _AGAIN_HINT
        ) from error


def _description(image: SharedImage, what: str) -> SharedDescription:
    top = Fields.parse(image.documents, what, DocumentError)
    described = top.mapping("image")
    fields = Fields(described, what, DocumentError)
    reference = fields.required_string("reference")
    if canonical_name(spelled_out(os.fsdecode(image.directory))) != reference:
        raise DocumentError(f"its name is {reference}")
    unpacked = fields.objects("layers")
    layers = [
        SharedLayer(layer.required_string("layer"), layer.size("size"))
        for layer in top.objects("layers")
    ]
    if not all(is_layer_id(os.fsencode(layer.layer)) for layer in layers):
        raise DocumentError("not the ID of a layer")
    return SharedDescription(
        os.fsdecode(image.store.path),
        reference,
        fields.required_string("name"),
        fields.required_string("id"),
        fields.string("origin"),
        fields.size("size"),
        ImageConfig.from_json(fields.mapping("config")),
        fields.string_map("annotations"),
        [layer.size("size") for layer in unpacked],
        layers,
        described,
    )


def shared_history(description: SharedDescription) -> list[dict[str, Any]]:
    """Return the history in the form of ``description.history``, without the IDs of layers."""
    config = description.config
    made = sum(not entry.empty_layer for entry in config.history)
    sizes = iter(description.sizes if made == len(description.sizes) else ())
    return [
        {
            "created": entry.created,
            "created_by": entry.created_by,
            "comment": entry.comment,
            "author": entry.author,
            "empty_layer": entry.empty_layer,
            "layer": None,
            "size": None if entry.empty_layer else next(sizes, None),
        }
        for entry in config.history
    ]
