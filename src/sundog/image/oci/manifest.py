"""Image manifests: the configuration and the layers of one image for one platform.

Specification: OCI image-spec v1.1, manifest.md, and Docker's schema 2.  Pure values: no I/O.

Reading is strict where two lenient readers could see different things in one document: the media
type decides how to read it, and a document that is both manifest and index is an error (image-spec,
manifest.md, "mediaType").
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from sundog.base.fields import Fields
from sundog.errors import ManifestError
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.media_types import DOCKER_SCHEMA1, INDEXES, MANIFESTS, OCI_INDEX, OCI_MANIFEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.base.fields import JsonObject

# Registries have to accept this size, and no image comes near it (distribution-spec v1.1, "Pushing
# Manifests").
MANIFEST_SIZE_LIMIT = 4 << 20
_SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest.  ``layers`` go from bottom to top; ``unknown`` keeps unknown fields."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = OCI_MANIFEST
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str = ""
    subject: Descriptor | None = None
    unknown: JsonObject = field(default_factory=dict, hash=False, repr=False)

    @classmethod
    def from_json(cls, source: bytes, media_type: str = "") -> Manifest:
        """Read a manifest; raise ManifestError.

        ``media_type`` is the type that came with the source, "" if none came.
        """
        fields, media_type = open_document(source, media_type)
        if media_type not in MANIFESTS:
            raise ManifestError(f"expected an image manifest, found {media_type}")
        config = Descriptor.from_json(fields.take("config"), "manifest: config")
        layers = fields.array("layers")
        if layers is None:
            raise fields.wrong("layers", "a list", None)
        subject = fields.take("subject")
        return cls(
            config,
            tuple(
                Descriptor.from_json(layer, f"manifest: layer {number}")
                for number, layer in enumerate(layers, 1)
            ),
            media_type,
            annotations=fields.string_map("annotations"),
            artifact_type=fields.string("artifactType"),
            subject=None if subject is None else Descriptor.from_json(subject, "manifest: subject"),
            unknown=fields.rest,
        )

    def to_json(self) -> JsonObject:
        """Return the object that the specification describes, empty fields left out."""
        value: JsonObject = {
            "schemaVersion": _SCHEMA_VERSION,
            "mediaType": self.media_type,
            "config": self.config.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }
        optional = {
            "artifactType": self.artifact_type,
            "subject": self.subject.to_json() if self.subject else None,
            "annotations": dict(self.annotations),
        }
        return {**value, **{key: item for key, item in optional.items() if item}, **self.unknown}

    def to_bytes(self) -> bytes:
        """Return the bytes to store and hash: equal manifests have equal bytes."""
        return encoded_document(self.to_json())


def document_media_type(source: bytes, media_type: str = "") -> str:
    """Return the type of ``source``, one of ``INDEXES`` or ``MANIFESTS``; raise ManifestError.

    ``media_type`` is as for ``Manifest.from_json``.
    """
    return open_document(source, media_type)[1]


def open_document(source: bytes, media_type: str) -> tuple[Fields, str]:
    """Return the fields of a manifest or an index, and its media type; raise ManifestError."""
    if len(source) > MANIFEST_SIZE_LIMIT:
        raise ManifestError(
            f"a manifest of {len(source)} bytes: more than {MANIFEST_SIZE_LIMIT} are refused"
        )
    fields = Fields.parse(source, "manifest", ManifestError)
    version = fields.take("schemaVersion")
    media_type = media_type.partition(";")[0].strip()
    inner = fields.string("mediaType")
    if version == 1 or inner in DOCKER_SCHEMA1 or media_type in DOCKER_SCHEMA1:
        raise ManifestError(
            "the manifest has Docker's schema 1, which is not supported",
            "push the image again with a program from 2017 or later",
        )
    if version != _SCHEMA_VERSION:
        raise ManifestError(f"manifest: schemaVersion: expected 2, found {version!r}")
    known = INDEXES | MANIFESTS
    if inner and media_type in known and inner != media_type:
        raise ManifestError(f"manifest: mediaType: {inner}, but it came as {media_type}")
    has_layers = "layers" in fields.rest or "config" in fields.rest
    if has_layers and "manifests" in fields.rest:
        raise ManifestError("manifest: it is both an image manifest and an index")
    kind = inner or media_type
    if kind not in known:
        # A registry may say only "JSON", and OCI documents need not name their type.
        if inner:
            raise ManifestError(f"manifest: mediaType: {inner!r} is neither manifest nor index")
        kind = OCI_INDEX if "manifests" in fields.rest else OCI_MANIFEST
    return fields, kind


def encoded_document(value: JsonObject) -> bytes:
    """Return the JSON text of a document: equal documents have equal text."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
