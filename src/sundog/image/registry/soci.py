"""Indexes of gzip layers that the manifest of an image names by their digest: SOCI, version 2.

Specification: soci-snapshotter, "SOCI Index Manifest v2".  An annotation of the image's manifest
has the digest of a manifest, whose blobs are zTOCs: see ``layer.ztoc``.  So whoever has made the
image has chosen them, and any registry may be asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sundog.errors import (
    ArchiveError,
    ContentMismatch,
    DigestSyntaxError,
    ManifestError,
    RegistryError,
)
from sundog.image.layer.ztoc import index_of_ztoc
from sundog.image.oci.digest import Digest
from sundog.image.oci.manifest import Manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.oci.descriptor import Descriptor
    from sundog.image.registry.client import RegistryClient
    from sundog.image.transfer.report import Report

SOCI_ANNOTATION = "com.amazon.soci.index-digest"
SOCI_LAYER = "com.amazon.soci.image-layer-digest"
_ZTOC_LIMIT = 64 << 20  # bytes, in memory: of a layer that unpacks to 8 GiB
_FAULTS = (RegistryError, ManifestError, ContentMismatch, ArchiveError, DigestSyntaxError)


@dataclass(frozen=True)
class SociIndex:
    """The index with the digest ``named``, "" for none, which ``clients`` may have."""

    clients: Sequence[RegistryClient]
    named: str
    report: Report

    def of(self, layer: Descriptor) -> list[str]:
        """Return the digests of the zTOCs of ``layer``."""
        return [str(ztoc.digest) for _, ztoc in self._found(layer)]

    def fetch(self, layer: Descriptor, target: bytes) -> Digest | None:
        """Write the index of ``layer`` to the file ``target``; return its zTOC's digest, or None.

        Raises OSError.
        """
        for client, ztoc in self._found(layer):
            try:
                # With more of it, a start would get more than it saves.
                data = client.get_blob(ztoc, min(layer.size // 2, _ZTOC_LIMIT))
                parts = index_of_ztoc(data, layer.size)
            except _FAULTS as error:
                self.report.verbose(f"zTOC of {layer.digest.encoded[:7]}: {error.message}")
                continue
            with open(target, "wb") as file:
                file.writelines(parts)
            return ztoc.digest
        return None

    def _found(self, layer: Descriptor) -> list[tuple[RegistryClient, Descriptor]]:
        wanted = str(layer.digest)
        return [one for one in self._listed if one[1].annotations.get(SOCI_LAYER) == wanted]

    @cached_property
    def _listed(self) -> Sequence[tuple[RegistryClient, Descriptor]]:
        """The zTOCs, with whom to ask for them."""
        for client in self.clients if self.named else ():
            try:
                document = client.get_manifest(str(Digest.parse(self.named)), index=False)
                manifest = Manifest.from_json(document.content, document.media_type)
            except _FAULTS as error:
                self.report.verbose(f"{client.endpoint}: SOCI index: {error.message}")
            else:
                return [(client, ztoc) for ztoc in manifest.layers]
        return ()
