"""The indexes of the layers of an image of a registry that are an ordinary gzip.

A blob is fetched as a whole, if the store lacks it, and read once.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

from sundog.image.registry.download import describe, sources
from sundog.image.registry.lazy_pull import WHOLE_LIMIT
from sundog.image.transfer.fetch import Fetch
from sundog.image.transfer.gzip_indexing import GzipIndexing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.oci.descriptor import Descriptor
    from sundog.image.registry.client import RegistryClient
    from sundog.image.registry.options import PullOptions
    from sundog.image.registry.session import Session
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Report


def index_image(
    store: Store,
    session: Session,
    text: str,
    *,
    options: PullOptions,
    pushes: bool = False,
    report: Report,
) -> int:
    """Have an index in ``store`` of each gzip layer of the image ``text`` that a start could use.

    If it ``pushes``, the registry gets them, too.  Return how many layers have one.  Raises
    RegistryError, ManifestError and what the store raises.
    """
    remotes = session.registries.remotes(text)
    described = describe(store, session, text, remotes, options=options, report=report)
    found, layers = described.found, described.parsed.layers
    blobs = _Blobs(store, found.clients, report)
    indexing = GzipIndexing(store, report, WHOLE_LIMIT, blobs.open)
    indexed = indexing.layers([*zip(layers, described.config.diff_ids, strict=True)])
    if pushes and indexed:
        from sundog.image.registry.index_artifacts import push_indexes

        (remote, *_) = session.registries.remotes(str(found.reference))
        endpoint = remote.endpoints[-1]  # mirrors are for pulls
        artifact = push_indexes(
            store, session, endpoint, found.manifest, layers=indexed, report=report
        )
        report.info(f"pushed: {endpoint}@{artifact}")
    return len(indexed)


@dataclass(frozen=True)
class _Blobs:
    """The blobs of an image, which ``clients`` have, on their way into ``store``."""

    store: Store
    clients: Sequence[RegistryClient]
    report: Report

    def open(self, blob: Descriptor, label: str) -> int:
        """Open the file of a blob, which is then in the store.

        The store keeps it no longer than other blobs that no image needs.  Raises RegistryError.
        """
        blobs = self.store.blobs
        if blobs.has(blob.digest) and blobs.check(blob.digest):
            self.report.info(f"{label}: using existing file")
        else:
            self.store.expect_garbage()  # closing the store removes it
            transfer = self.report.transfer(label, "downloading", blob.size)
            try:
                fetch = Fetch(blobs, threading.Event())
                fetch.blob(blob, sources(self.clients, blob), lambda _: None, transfer)
            finally:
                transfer.end()
            self.store.device.sync()
            blobs.settle([blob.digest])
        return os.open(blobs.path(blob.digest), os.O_RDONLY | os.O_CLOEXEC)
