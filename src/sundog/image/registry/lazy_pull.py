"""Layers from a registry that are used before they are here: their tables of contents come at once.

A layer that has no table, or is small, is pulled whole: see ``transfer.lazy_layers``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from posix import environ

from sundog.base.record.lazy_layer import LAYER_SOURCE, LAZY_VARIABLE, SELDOM
from sundog.errors import RegistryError
from sundog.image.layer.gzip_index import index_digest
from sundog.image.registry.blob_ranges import BlobPlace, BlobRanges, may_pass
from sundog.image.registry.index_artifacts import IndexArtifacts
from sundog.image.registry.lazy_source import LazySource
from sundog.image.registry.soci import SOCI_ANNOTATION, SociIndex
from sundog.image.store.gzip_indexes import copy_shared_index, mapped
from sundog.image.transfer.lazy_layers import LazyLayers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sundog.base.configuration.stores import SharedStores
    from sundog.image.layer.blob_tables import Read
    from sundog.image.oci.descriptor import Descriptor
    from sundog.image.oci.digest import Digest
    from sundog.image.oci.manifest import Manifest
    from sundog.image.registry.client import RegistryClient
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.store import Store
    from sundog.image.transfer.layers import RemoteLayer
    from sundog.image.transfer.report import Report

WHOLE_LIMIT = 1 << 20  # bytes: a layer that is not larger is pulled whole
_ATTEMPTS = 3


@dataclass(frozen=True)
class LazyPull:
    """A pull of the image ``reference``, whose blobs ``clients`` have.

    ``digest`` is that of its ``manifest``.  ``verify``: whether servers have to prove their
    identity.
    """

    store: Store
    reference: str
    digest: Digest
    manifest: Manifest
    clients: Sequence[RegistryClient]
    verify: bool
    report: Report
    shared: SharedStores

    whole_limit = WHOLE_LIMIT
    key = ""

    def run(self, layers: Sequence[RemoteLayer]) -> list[LayerId]:
        """Bring ``layers``, bottom first, into the store and return their IDs.

        Raises what ``pull_layers`` raises.
        """
        before = environ.get(LAZY_VARIABLE)
        environ[LAZY_VARIABLE] = SELDOM  # for whoever looks at layers below
        try:
            return LazyLayers(self.store, self, self.report, self._tell).bring(layers)
        finally:
            environ.pop(LAZY_VARIABLE, None)
            if before is not None:
                environ[LAZY_VARIABLE] = before

    def _tell(self, layers: str) -> None:
        """Tell which layers are pulled whole."""
        self.report.info(f"pulled whole: {layers}")

    def reader(self, blob: Descriptor) -> Read:
        """See ``Origin``."""
        ranges = BlobRanges(blob, [BlobPlace(client) for client in self.clients])
        return lambda offset, size: _read(ranges, offset, size)

    def indexes(self, blob: Descriptor) -> Iterator[str]:
        """See ``Origin``."""
        came = self.store.gzip_indexes.foreign(blob.digest)
        for each in self._indexes if came else ():
            yield from (came[digest] for digest in each.of(blob) if digest in came)

    def index(self, blob: Descriptor, target: bytes) -> bool:
        """See ``Origin``."""
        if copy_shared_index(self.shared, blob, target):
            return True
        for each in self._indexes:
            came = each.fetch(blob, target)
            if came is not None:
                with mapped(target) as data:
                    self.store.gzip_indexes.note_foreign(blob.digest, came, index_digest(data))
                return True
        return False

    @cached_property
    def _indexes(self) -> tuple[SociIndex, IndexArtifacts]:
        soci = self.manifest.annotations.get(SOCI_ANNOTATION, "")
        return (
            SociIndex(self.clients, soci, self.report),
            IndexArtifacts(self.clients, self.digest, self.report),
        )

    def notes(self, layer: RemoteLayer) -> Mapping[bytes, bytes]:
        """See ``Origin``."""
        blob, verify = layer.descriptor, self.verify
        source = LazySource(self.reference, blob, layer.diff_id, layer.place, verify)
        return {LAYER_SOURCE: source.pack()}

    def whole(self, layer: RemoteLayer) -> RemoteLayer:
        """See ``Origin``."""
        return layer


def _read(ranges: BlobRanges, offset: int, size: int) -> bytes:
    """Return a part of a blob.  Raises RegistryError."""
    for attempt in range(_ATTEMPTS):
        try:
            part = ranges.open(offset, offset + size, failures=attempt)
            try:
                return part.read(size)
            finally:
                part.close()
        except RegistryError as error:
            if attempt + 1 == _ATTEMPTS or not may_pass(error):
                raise
    raise AssertionError
