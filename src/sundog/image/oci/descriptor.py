"""Descriptors: what a blob is, its digest and its size.

Specification: OCI image-spec v1.1, descriptor.md.  A pure value: no I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sundog.base.fields import Fields
from sundog.errors import DigestSyntaxError, ManifestError
from sundog.image.oci.digest import Digest
from sundog.image.oci.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.base.fields import JsonObject

# RFC 6838 §4.2: TYPE/SUBTYPE; parameters are not part of a descriptor's.
_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE = re.compile(f"{_NAME}/{_NAME}")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to content: ``size`` is in bytes.

    ``platform`` is None where the document does not name one; ``urls`` are other places that have
    the content; ``unknown`` keeps the fields that this module does not know.
    """

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    platform: Platform | None = None
    urls: tuple[str, ...] = ()
    artifact_type: str = ""
    unknown: JsonObject = field(default_factory=dict, hash=False, repr=False)

    @classmethod
    def from_json(cls, value: object, what: str = "descriptor") -> Descriptor:
        """Read a descriptor; raise ManifestError, whose message begins with ``what``."""
        fields = Fields(value, what, ManifestError)
        media_type = fields.string("mediaType")
        if not _MEDIA_TYPE.fullmatch(media_type):
            raise ManifestError(f"{what}: mediaType: {media_type!r} is not a media type")
        try:
            digest = Digest.parse(fields.string("digest"))
        except DigestSyntaxError as error:
            raise ManifestError(f"{what}: {error.message}") from error
        size = fields.size("size")
        platform = fields.mapping("platform")
        return cls(
            media_type,
            digest,
            size,
            annotations=fields.string_map("annotations"),
            platform=_platform(platform, f"{what}: platform") if platform else None,
            urls=fields.strings("urls") or (),
            artifact_type=fields.string("artifactType"),
            unknown=fields.rest,
        )

    def to_json(self) -> JsonObject:
        """Return the object that the specification describes, empty fields left out."""
        value: JsonObject = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        optional = {
            "annotations": dict(self.annotations),
            "urls": list(self.urls),
            "platform": _platform_json(self.platform),
            "artifactType": self.artifact_type,
        }
        return {**value, **{key: item for key, item in optional.items() if item}, **self.unknown}


def _platform(value: JsonObject, what: str) -> Platform:
    fields = Fields(value, what, ManifestError)
    return Platform.of(fields.string("os"), fields.string("architecture"), fields.string("variant"))


def _platform_json(platform: Platform | None) -> JsonObject:
    if platform is None:
        return {}
    value = {"architecture": platform.architecture, "os": platform.os}
    return {**value, "variant": platform.variant} if platform.variant else value
