"""Indexes: one image for several platforms, or the images of a layout.

Specification: OCI image-spec v1.1, image-index.md, and Docker's manifest list.  Pure values: no
I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sundog.errors import ManifestError, PlatformUnavailable
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.manifest import encoded_document, open_document
from sundog.image.oci.media_types import INDEXES, OCI_INDEX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.base.fields import JsonObject
    from sundog.image.oci.platform import Platform


@dataclass(frozen=True, slots=True)
class Index:
    """An image index.  ``unknown`` keeps the fields that this module does not know."""

    manifests: tuple[Descriptor, ...]
    media_type: str = OCI_INDEX
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    unknown: JsonObject = field(default_factory=dict, hash=False, repr=False)

    @classmethod
    def from_json(cls, source: bytes, media_type: str = "") -> Index:
        """Read an index; raise ManifestError.

        ``media_type`` is the type that came with the source, "" if none came.
        """
        fields, media_type = open_document(source, media_type)
        if media_type not in INDEXES:
            raise ManifestError(f"expected an index, found {media_type}")
        manifests = fields.array("manifests")
        if manifests is None:
            raise fields.wrong("manifests", "a list", None)
        return cls(
            tuple(
                Descriptor.from_json(manifest, f"index: entry {number}")
                for number, manifest in enumerate(manifests, 1)
            ),
            media_type,
            annotations=fields.string_map("annotations"),
            unknown=fields.rest,
        )

    def to_json(self) -> JsonObject:
        """Return the object that the specification describes, empty fields left out."""
        value: JsonObject = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "manifests": [manifest.to_json() for manifest in self.manifests],
        }
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return {**value, **self.unknown}

    def to_bytes(self) -> bytes:
        """Return the text that is stored and hashed: the same for equal indexes."""
        return encoded_document(self.to_json())

    def select(self, platform: Platform) -> Descriptor:
        """Return the entry that runs best on ``platform``; raise PlatformUnavailable.

        The variant itself is best, then the next older one that it can run.  Of equal entries the
        first one wins.  An entry without a platform is the last resort.
        """
        wanted = platform.runnable()
        best: tuple[int, Descriptor] | None = None
        for entry in self.manifests:
            if entry.platform is None:
                rank = len(wanted)
            elif entry.platform in wanted:
                rank = wanted.index(entry.platform)
            else:
                continue
            if best is None or rank < best[0]:
                best = rank, entry
        if best is None:
            raise PlatformUnavailable(
                f"requested arch unavailable: {platform}",
                f"available: {', '.join(map(str, self.platforms)) or 'nothing'}",
            )
        return best[1]

    @property
    def platforms(self) -> list[Platform]:
        """The platforms that the entries name, in order, without ``unknown`` of attestations."""
        known = [entry.platform for entry in self.manifests if entry.platform is not None]
        return list(dict.fromkeys(item for item in known if item.architecture != "unknown"))
