"""An image as the world outside knows it: manifest and configuration, made from the store's.

Specification: OCI image-spec v1.1, manifest.md and config.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sundog.image.oci.config import HistoryEntry, ImageConfig
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.oci.manifest import Manifest, encoded_document
from sundog.image.oci.media_types import FOREIGN_LAYERS, OCI_CONFIG, OCI_MANIFEST, as_oci
from sundog.image.oci.platform import Platform
from sundog.image.oci.timestamps import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sundog.image.store.image_files import Image
    from sundog.image.store.layer_info import LayerBlob
    from sundog.image.store.store import Store


@dataclass(frozen=True, slots=True)
class LeavingImage:
    """The documents of an image whose layers are blobs; ``descriptor`` describes the manifest."""

    config: bytes
    manifest: Manifest
    content: bytes
    descriptor: Descriptor
    diff_ids: tuple[str, ...]

    @property
    def is_oci(self) -> bool:
        """Tell whether all documents and layers have OCI's media types."""
        parts = (self.manifest.config, *self.manifest.layers)
        return self.descriptor.media_type == OCI_MANIFEST and not any(
            "vnd.docker" in part.media_type for part in parts
        )


def leaving_image(
    config: ImageConfig,
    blobs: Sequence[LayerBlob],
    epoch: int | None = None,
    annotations: Mapping[str, str] | None = None,
) -> LeavingImage:
    """Return the documents of an image with this configuration and these layers, bottom first.

    No time in the documents is later than ``epoch``, in seconds since 1970.  The manifest has the
    ``annotations``.
    """
    diff_ids = tuple(blob.diff_id for blob in blobs)
    config = leaving_config(config, diff_ids, epoch)
    config_bytes = encoded_document(config.to_json())
    manifest = Manifest(
        Descriptor(OCI_CONFIG, Digest.of(config_bytes), len(config_bytes)),
        tuple(_leaving_layer(blob.descriptor) for blob in blobs),
        annotations=annotations or {},
    )
    content = manifest.to_bytes()
    platform = Platform.of(config.os, config.architecture, config.variant)
    descriptor = Descriptor(OCI_MANIFEST, Digest.of(content), len(content), platform=platform)
    return LeavingImage(config_bytes, manifest, content, descriptor, diff_ids)


def leaving_config(
    config: ImageConfig, diff_ids: tuple[str, ...], epoch: int | None = None
) -> ImageConfig:
    """Return the configuration with which an image of these layers leaves."""
    host = Platform.of_host()
    if not config.architecture:
        config = config.replace(architecture=host.architecture, variant=host.variant, os=host.os)
    return config.replace(
        diff_ids=diff_ids,
        created=_clamped(config.created, epoch),
        history=_history(config.history, len(diff_ids), epoch),
    )


def image_id(store: Store, config: ImageConfig, layers: Sequence[str]) -> str:
    """Return the digest of an image's configuration (without an epoch): Docker's image ID.

    Reads each layer whose diff_id is not known yet.
    """
    diff_ids = tuple(store.layers.diff_id(layer) for layer in layers)
    return str(Digest.of(encoded_document(leaving_config(config, diff_ids).to_json())))


def as_it_came(store: Store, image: Image, blobs: Sequence[LayerBlob]) -> LeavingImage | None:
    """Return the documents that an image came with, None if they no longer describe it."""
    if len(image.blobs) < 2:
        return None
    manifest_digest, config_digest = map(Digest.parse, image.blobs[-2:])
    content, config = store.blobs.read(manifest_digest), store.blobs.read(config_digest)
    if content is None or config is None:
        return None
    manifest = Manifest.from_json(content)
    if [layer.digest for layer in manifest.layers] != [blob.descriptor.digest for blob in blobs]:
        return None
    came = ImageConfig.from_json(config)
    platform = Platform.of(came.os, came.architecture, came.variant)
    descriptor = Descriptor(manifest.media_type, manifest_digest, len(content), platform=platform)
    return LeavingImage(config, manifest, content, descriptor, came.diff_ids)


def stays_where_it_is(layer: Descriptor) -> bool:
    """Tell whether a layer must not be copied: its users fetch it from the hosts in its URLs."""
    return layer.media_type in FOREIGN_LAYERS and bool(layer.urls)


def _leaving_layer(layer: Descriptor) -> Descriptor:
    # One manifest does not mix OCI's types with Docker's.
    urls = layer.urls if stays_where_it_is(layer) else ()
    return replace(layer, media_type=as_oci(layer.media_type), platform=None, urls=urls)


def _history(
    history: Sequence[HistoryEntry], layers: int, epoch: int | None
) -> tuple[HistoryEntry, ...]:
    """Return a history in which exactly ``layers`` entries say that they made a layer.

    Tools that merge layers write other histories.  All entries of such a history are marked as
    empty, and one entry is appended for each layer.
    """
    entries = [replace(entry, created=_clamped(entry.created, epoch)) for entry in history]
    if sum(not entry.empty_layer for entry in entries) != layers:
        entries = [replace(entry, empty_layer=True) for entry in entries]
        entries += [HistoryEntry(comment="layer of unknown origin")] * layers
    return tuple(entries)


def _clamped(created: str, epoch: int | None) -> str:
    """Return a time (RFC 3339); instead of a later or a malformed one, that of ``epoch``."""
    if epoch is None or not created:
        return created
    limit = datetime.fromtimestamp(epoch, UTC)
    try:
        if datetime.fromisoformat(created) <= limit:
            return created
    except (ValueError, TypeError):  # TypeError: a time without a zone
        pass
    return timestamp(epoch)
