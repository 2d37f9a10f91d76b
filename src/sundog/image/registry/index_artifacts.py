"""Indexes of gzip layers in a registry: an artifact that refers to the manifest of the image.

Its blobs are the files of ``store.gzip_indexes``, and each has an annotation with the digest of its
layer.  Whoever makes an index decides what a start shows until the layer is complete.  So only
registries are asked for which ``registries.conf`` allows it.
"""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property

from sundog.errors import (
    ArchiveError,
    ContentMismatch,
    ManifestError,
    RegistryError,
    StoreError,
)
from sundog.image.layer.gzip_index import index_digest
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.oci.manifest import Manifest, document_media_type
from sundog.image.oci.media_types import OCI_EMPTY
from sundog.image.oci.verified import VerifiedReader
from sundog.image.registry.auth import push_scope
from sundog.image.registry.referrers import attach, referrers
from sundog.image.registry.upload import Uploader
from sundog.image.store.gzip_indexes import mapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.registry.client import Document, RegistryClient
    from sundog.image.registry.config import Endpoint
    from sundog.image.registry.session import Session
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Report

INDEX_ARTIFACT = "application/vnd.sundog.gzip-index.v1"  # of the artifact, and of its blobs
LAYER_ANNOTATION = "sundog.gzip-index.layer"
_EMPTY = b"{}"
_READ = 1 << 18
_FAULTS = (RegistryError, ManifestError, ContentMismatch, ArchiveError, StoreError)


def push_indexes(
    store: Store,
    session: Session,
    endpoint: Endpoint,
    image: Document,
    *,
    layers: Sequence[Descriptor],
    report: Report,
) -> Digest:
    """Push the indexes that ``store`` has of ``layers`` of ``image``, whose manifest it is.

    Return the digest of the artifact.  Raises RegistryError, ManifestError and OSError.
    """
    client = session.client(endpoint, (push_scope(endpoint.repository),))
    client.check()
    uploader = Uploader(client, threading.Event())
    blobs = []
    for layer in {layer.digest: layer for layer in layers}.values():
        path, label = store.gzip_indexes.path(layer.digest), f"index {layer.digest.encoded[:7]}"
        blobs.append(_described(path, layer))
        if client.has_blob(blobs[-1].digest):
            report.info(f"{label}: already present")
            continue
        transfer = report.transfer(label, "uploading", blobs[-1].size)
        try:
            uploader.upload(blobs[-1], path, transfer)
        finally:
            transfer.end()
    empty = Descriptor(OCI_EMPTY, Digest.of(_EMPTY), len(_EMPTY))
    uploader.put(_EMPTY, empty)
    kind = document_media_type(image.content, image.media_type)
    subject = Descriptor(kind, image.digest, len(image.content))
    return attach(
        client, Manifest(empty, tuple(blobs), artifact_type=INDEX_ARTIFACT, subject=subject)
    )


def _described(path: bytes, layer: Descriptor) -> Descriptor:
    """Return the descriptor of the index of ``layer`` in the file ``path``."""
    with open(path, "rb") as file:
        digest = Digest("sha256", hashlib.file_digest(file, "sha256").hexdigest())
        size = os.fstat(file.fileno()).st_size
    return Descriptor(INDEX_ARTIFACT, digest, size, {LAYER_ANNOTATION: str(layer.digest)})


@dataclass(frozen=True)
class IndexArtifacts:
    """The indexes that registries have of layers of the image with the manifest ``image``.

    Those of ``clients`` are asked that may name indexes.
    """

    clients: Sequence[RegistryClient]
    image: Digest
    report: Report

    def of(self, layer: Descriptor) -> list[str]:
        """Return the digests of the indexes of ``layer``."""
        return [str(index.digest) for _, index in self._found(layer)]

    def fetch(self, layer: Descriptor, target: bytes) -> Digest | None:
        """Write the index of ``layer`` to the file ``target``; return its digest, or None.

        It is what its artifact says, and nobody knows whether that is true.  Raises OSError.
        """
        for client, index in self._found(layer):
            try:
                _write(client, index, layer, target)
            except _FAULTS as error:
                self.report.verbose(f"index {layer.digest.encoded[:7]}: {error.message}")
            else:
                return index.digest
        return None

    def _found(self, layer: Descriptor) -> list[tuple[RegistryClient, Descriptor]]:
        wanted = str(layer.digest)
        return [one for one in self._listed if one[1].annotations.get(LAYER_ANNOTATION) == wanted]

    @cached_property
    def _listed(self) -> Sequence[tuple[RegistryClient, Descriptor]]:
        """The indexes of all artifacts, with whom to ask for them."""
        found = []
        for client in self.clients:
            if not client.endpoint.index_referrers:
                continue
            try:
                artifacts = referrers(client, self.image, INDEX_ARTIFACT)
            except _FAULTS as error:
                self.report.verbose(f"{client.endpoint}: {error.message}")
            else:
                found += [(client, index) for artifact in artifacts for index in artifact.layers]
        return found


def _write(client: RegistryClient, index: Descriptor, layer: Descriptor, target: bytes) -> None:
    """Write an index to a file.  Raises an error of ``_FAULTS``, and OSError."""
    if index.size > layer.size // 2:  # a start would get more of it than it saves
        raise ArchiveError(f"an index of {index.size:,} bytes is too large for its layer")
    with closing(client.open_blob(index.digest)) as stream, open(target, "wb") as file:
        reader = VerifiedReader.of_blob(stream, index)
        while data := reader.read(_READ):
            file.write(data)
    with mapped(target) as written:
        index_digest(written)
