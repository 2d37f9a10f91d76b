"""Entries of a shared build cache: each is an ordinary image with the layer of one instruction.

Specification: OCI image-spec v1.1, manifest.md and config.md.  The tag, or the name in a layout, is
the portable key of the instruction.  An annotation of the manifest has the key, too: it tells an
entry from another image with that tag.  Two more say what a tar does not: see ``LayerInfo``.

Strangers may have written an entry: ``read_entry`` believes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sundog.errors import DigestSyntaxError, ManifestError
from sundog.image.convert.oci_layout import CACHE_KEY
from sundog.image.oci.config import HistoryEntry, ImageConfig
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.oci.manifest import Manifest
from sundog.image.oci.media_types import CONFIGS, LAYERS, OCI_LAYER_GZIP
from sundog.image.oci.timestamps import timestamp
from sundog.image.store.layer_info import LayerBlob
from sundog.image.transfer.documents import leaving_image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.oci.platform import Platform
    from sundog.image.transfer.documents import LeavingImage

CONFIG_LIMIT = 4 << 20  # bytes
_OWNERS, _GUESSED = "sundog.cache.owners", "guessed"
_TEXT_LIMIT = 1 << 20  # characters of an instruction
# The layer without files, as other builders write it: an empty tar, compressed.
EMPTY_LAYER = bytes.fromhex("1f8b080000096e8800ff621805a360148c5800080000ffff2eafb5ef00040000")
_EMPTY_DIFF_ID = str(Digest.of(bytes(1024)))
EMPTY_BLOB = LayerBlob(
    Descriptor(OCI_LAYER_GZIP, Digest.of(EMPTY_LAYER), len(EMPTY_LAYER)), _EMPTY_DIFF_ID
)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry: ``layer`` is None for an instruction that changed no file.

    ``text`` is the instruction's, ``created`` a time in seconds since 1970.  ``guessed`` is as in
    ``LayerInfo``.
    """

    key: str
    layer: Descriptor | None
    diff_id: str
    text: str
    created: float
    guessed: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """The result of an instruction that becomes an entry; ``layer`` is None without a change."""

    key: str
    layer: str | None
    text: str
    platform: Platform


def entry_documents(result: Result, blob: LayerBlob, *, guessed: bool) -> LeavingImage:
    """Return the documents of an entry whose layer is ``blob``."""
    now, platform = timestamp(), result.platform
    config = ImageConfig(
        architecture=platform.architecture,
        variant=platform.variant,
        os=platform.os,
        created=now,
        history=(HistoryEntry(now, result.text),),
    )
    annotations = {CACHE_KEY: result.key} | ({_OWNERS: _GUESSED} if guessed else {})
    return leaving_image(config, (blob,), annotations=annotations)


def read_manifest(key: str, content: bytes, media_type: str = "") -> Manifest:
    """Return the manifest of the entry under a key; raise ManifestError for another thing."""
    manifest = Manifest.from_json(content, media_type)
    if manifest.annotations.get(CACHE_KEY) != key or manifest.config.media_type not in CONFIGS:
        raise ManifestError("not an entry of a build cache")
    if len(manifest.layers) != 1:
        raise ManifestError(f"an entry has one layer, this one has {len(manifest.layers)}")
    if manifest.layers[0].media_type not in LAYERS:
        raise ManifestError(f"type {manifest.layers[0].media_type} is not supported")
    return manifest


def read_entry(key: str, manifest: Manifest, content: bytes) -> Entry:
    """Return the entry of a manifest and its configuration; raise DocumentError."""
    config, layer = ImageConfig.from_json(content), manifest.layers[0]
    if len(config.diff_ids) != 1:
        raise ManifestError(f"an entry has one diff ID, this one has {len(config.diff_ids)}")
    try:
        diff_id = str(Digest.parse(config.diff_ids[0]))
        created = datetime.fromisoformat(config.created or timestamp(0))
    except (DigestSyntaxError, ValueError) as error:
        raise ManifestError(f"its configuration is malformed: {error}") from error
    if created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    text = config.history[-1].created_by[:_TEXT_LIMIT] if config.history else ""
    return Entry(
        key,
        None if diff_id == _EMPTY_DIFF_ID else layer,
        diff_id,
        text,
        created.timestamp(),
        manifest.annotations.get(_OWNERS) == _GUESSED,
    )
