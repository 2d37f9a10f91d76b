"""The indexes of the layers of an image of a registry that are an ordinary gzip.

A blob is fetched as a whole, if the store lacks it, and read once.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial

from sundog.errors import ArchiveError
from sundog.image.layer.blob_tables import table_digest
from sundog.image.layer.gzip_index import index_gzip
from sundog.image.layer.limits import current_meter
from sundog.image.oci.media_types import DOCKER_LAYER_GZIP, OCI_LAYER_GZIP
from sundog.image.registry.download import describe, sources
from sundog.image.registry.lazy_pull import WHOLE_LIMIT
from sundog.image.transfer.fetch import Fetch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.oci.descriptor import Descriptor
    from sundog.image.registry.client import RegistryClient
    from sundog.image.registry.options import PullOptions
    from sundog.image.registry.session import Session
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Report

_GZIPS = (OCI_LAYER_GZIP, DOCKER_LAYER_GZIP)


def index_image(
    store: Store, session: Session, text: str, *, options: PullOptions, report: Report
) -> int:
    """Have an index in ``store`` of each gzip layer of the image ``text`` that a start could use.

    Return how many layers have one.  Raises RegistryError, ManifestError and what the store raises.
    """
    remotes = session.registries.remotes(text)
    described = describe(store, session, text, remotes, options=options, report=report)
    layers, diff_ids = described.parsed.layers, described.config.diff_ids
    count = 0
    for number, (blob, diff_id) in enumerate(zip(layers, diff_ids, strict=True), 1):
        label = f"layer {number}/{len(layers)}: {blob.digest.encoded[:7]}"
        indexing = _Indexing(store, described.found.clients, blob, label, report)
        try:
            indexing.run(diff_id)
        except ArchiveError as error:
            report.info(f"{label}: no index: {error.message}")
        else:
            count += 1
    return count


@dataclass(frozen=True)
class _Indexing:
    """The index of a layer on its way into ``store``; ``clients`` have its ``blob``."""

    store: Store
    clients: Sequence[RegistryClient]
    blob: Descriptor
    label: str
    report: Report

    def run(self, diff_id: str) -> None:
        """Have the index.  Raises ArchiveError for a layer that gets none, and RegistryError."""
        store, digest = self.store, self.blob.digest
        if self.blob.size <= WHOLE_LIMIT:
            raise ArchiveError("small")
        if table_digest(self.blob):
            raise ArchiveError("it has a table of contents")
        if self.blob.media_type not in _GZIPS:
            raise ArchiveError(f"no gzip: {self.blob.media_type}")
        waits = partial(self.report.verbose, f"{self.label}: waiting for another ch-image index")
        # Of many processes, one makes it.
        with store.turn(f"index-{digest.encoded[:32]}").held(waits):
            if store.gzip_indexes.digest(digest):
                self.report.info(f"{self.label}: using existing index")
                return
            with open(self._fetched(), "rb", buffering=0) as file:
                parts = index_gzip(file, self.blob, diff_id, current_meter())
            store.gzip_indexes.put(digest, parts)
        self.report.info(f"{self.label}: index of {sum(map(len, parts)):,} bytes")

    def _fetched(self) -> bytes:
        """Return the path of the blob, which is then in the store.

        The store keeps it no longer than other blobs that no image needs.
        """
        blob, blobs = self.blob, self.store.blobs
        if blobs.has(blob.digest) and blobs.check(blob.digest):
            self.report.info(f"{self.label}: using existing file")
            return blobs.path(blob.digest)
        self.store.expect_garbage()  # closing the store removes it
        transfer = self.report.transfer(self.label, "downloading", blob.size)
        try:
            fetch = Fetch(blobs, threading.Event())
            fetch.blob(blob, sources(self.clients, blob), lambda _: None, transfer)
        finally:
            transfer.end()
        self.store.device.sync()
        blobs.settle([blob.digest])
        return blobs.path(blob.digest)
