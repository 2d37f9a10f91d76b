"""Layers on their way out of the store: which blob a layer becomes, and how that blob is made.

A layer that came as a blob leaves as that blob, byte for byte, while the store still has it.  Any
other layer is written as a tar.  That blob depends on the layer, the compression and
``$SOURCE_DATE_EPOCH`` alone, so it always has the same digest.  The store remembers the digest, and
does not keep the bytes.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, replace

from sundog.base.record.layer_path import LAYER_FILE
from sundog.errors import ContentMismatch
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.oci.media_types import OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD
from sundog.image.oci.timestamps import EPOCH_VARIABLE, parse_epoch
from sundog.image.oci.verified import VerifiedReader
from sundog.image.store.layer_info import FIRST_MARK, LayerBlob
from sundog.image.store.shown_trees import see
from sundog.image.transfer.documents import stays_where_it_is
from sundog.runtime.process.watch import WATCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sundog.base.record.layer_path import LayerPath
    from sundog.image.layer.tar_writer import Sink
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.store import Store

_SHOWN = 20  # paths in warnings
# The annotation of a layer with the mark of ``record.guesses``.
_OWNERS, _GUESSED = "sundog.owners", "guessed"
_REMEDY = "set-id bits stay in layers that are built with --force=notify, which knows the owners"
_MEDIA_TYPES = {
    "gzip": OCI_LAYER_GZIP,
    "zstd": OCI_LAYER_ZSTD,
    "none": OCI_LAYER,
    "zstd:chunked": OCI_LAYER_ZSTD,
    "estargz": OCI_LAYER_GZIP,
}
_HAS_MORE = frozenset(("estargz",))  # compressions that add to the tar


@dataclass(frozen=True, slots=True)
class Packing:
    """Options of packing: the compression, and the latest time (seconds since 1970).

    ``first`` are the files of a layer that come first in an eStargz, None if that was not asked
    for.  A layer that came and has such files does not leave as it came.
    """

    compression: str = "gzip"
    epoch: int | None = None
    first: tuple[bytes, ...] | None = None

    @classmethod
    def choose(cls, compression: str, environment: Mapping[str, str]) -> Packing:
        """Return the packing that an option and the environment ask for; raise UsageError."""
        if compression not in _MEDIA_TYPES:
            _compressor_name(compression)  # it says what there is
        text = environment.get(EPOCH_VARIABLE, "")
        return cls(compression, parse_epoch(text, f"${EPOCH_VARIABLE}"))

    @property
    def made(self) -> str:
        """The value of ``LayerBlob.made`` for a blob that is packed like this."""
        epoch = "" if self.epoch is None else f" no later than {self.epoch}"
        name = f"{self.compression} {_compressor_name(self.compression)}".strip() + epoch
        if self.first is None:
            return name
        paths = hashlib.sha256(b"\0".join(self.first))
        return f"{name}{FIRST_MARK}{paths.hexdigest()}"

    def takes(self, blob: LayerBlob) -> bool:
        """Tell whether a layer that this packs may leave as ``blob``."""
        as_it_came = not blob.made and (not self.first or stays_where_it_is(blob.descriptor))
        return as_it_came or blob.made == self.made


@dataclass(frozen=True, slots=True)
class Packed:
    """A layer as a blob, and the file with its bytes."""

    blob: LayerBlob
    path: bytes

    def discard(self, store: Store) -> None:
        """Remove the file, unless it is the store's own, as is that of what came."""
        if self.blob.made and self.path != store.blobs.path(self.blob.descriptor.digest):
            with suppress(FileNotFoundError):
                os.unlink(self.path)


def known_blobs(store: Store, layer: LayerId, packing: Packing) -> list[LayerBlob]:
    """Return the blobs that a layer may leave as, best first; the store may lack their bytes."""
    known = filter(packing.takes, store.layers.blobs(layer))
    return [_marked(store, layer, blob) for blob in known]


def is_marked(layer: Descriptor) -> bool:
    """Tell whether a layer comes with the mark that nobody saw whose its files are."""
    return layer.annotations.get(_OWNERS) == _GUESSED


def _marked(store: Store, layer: LayerId, blob: LayerBlob) -> LayerBlob:
    """Return ``blob`` with that mark if ``layer`` has it."""
    if not store.layers.info(layer).unrecorded or is_marked(blob.descriptor):
        return blob
    annotations = {**blob.descriptor.annotations, _OWNERS: _GUESSED}
    return replace(blob, descriptor=replace(blob.descriptor, annotations=annotations))


def warn_of_layer(store: Store, layer: LayerId, label: str, warn: Callable[[str], None]) -> None:
    """Warn of the files of a layer, then the directories, that leave without their set-id bits."""
    guessed = [(r.kind == "d", path) for path, r in store.layers.owners(layer).items() if r.guessed]
    warn_of_set_id([path for _, path in sorted(guessed)], lambda text: warn(f"{label}: {text}"))
    if guessed:
        warn(_REMEDY)


def warn_of_image(paths: Sequence[bytes], warn: Callable[[str], None]) -> None:
    """Warn of the files ``paths`` of an image, which leave without their set-id bits."""
    warn_of_set_id(paths, warn)
    if paths:
        warn(_REMEDY)


def warn_of_set_id(paths: Sequence[bytes], warn: Callable[[str], None]) -> None:
    """Warn of each of ``paths``; after twenty, once more of the number of the rest."""
    said = "set-id bits dropped, owner unknown: "
    for path in paths[:_SHOWN]:
        warn(f"{said}/{os.fsdecode(path)}")
    if (more := len(paths) - _SHOWN) > 0:
        warn(f"{said}{more} more")


def blob_to_leave(
    store: Store, layer: LayerId, packing: Packing, below: Sequence[LayerId] = ()
) -> LayerBlob:
    """Return the blob that ``pack`` makes; read the layer only if that blob is not known yet."""
    for blob in known_blobs(store, layer, packing):
        if blob.made or _kept(store, layer, blob):
            return blob
    packed = pack(store, layer, packing, below)
    packed.discard(store)
    return packed.blob


def pack(store: Store, layer: LayerId, packing: Packing, below: Sequence[LayerId] = ()) -> Packed:
    """Return a layer as a blob with its bytes; ``discard`` removes them where they are temporary.

    ``below`` are the layers of the image below it, bottom first.  Reads the layer and writes the
    blob once, unless the store has the blob.
    """
    for blob in known_blobs(store, layer, packing):
        kept = _kept(store, layer, blob)
        if kept:
            return Packed(blob, kept)
    with store.faults:
        place = store.scratch.name()
        trees = [] if packing.epoch is None else list(map(store.layers.tree, reversed(below)))
        packed = store.worker.call(pack_layer, store.layers.path(layer), place, packing, trees)
    packed = replace(packed, blob=_marked(store, layer, packed.blob))
    store.layers.add_blob(layer, packed.blob)
    if packing.epoch is None and packing.compression not in _HAS_MORE:
        store.layers.know_diff_id(layer, packed.blob.diff_id)
    return packed


def _kept(store: Store, layer: LayerId, blob: LayerBlob) -> bytes:
    """Return the path of the bytes of a layer's ``blob``, b"" if the store lacks them.

    The file of a layer that came by ``pull --lazy`` is the blob.
    """
    descriptor = blob.descriptor
    if store.blobs.has(descriptor.digest):
        return store.blobs.path(descriptor.digest)
    path = store.layers.directory(layer) + LAYER_FILE
    with suppress(OSError, ContentMismatch):
        if not blob.made and os.stat(path).st_size == descriptor.size:
            with open(path, "rb", buffering=0) as file:
                VerifiedReader.of_blob(file, descriptor).drain()
            return path
    return b""


def pack_layer(layer: LayerPath, place: bytes, packing: Packing, below: Sequence[bytes]) -> Packed:
    """Write a layer as a blob to the new file ``place``.  Runs in the tree worker.

    ``below`` are the trees of the layers below, the topmost first.
    Raises OSError, and ArchiveError where a name cannot be in an archive.
    """
    from sundog.base.record.owners import read_owners
    from sundog.image.layer.compressing import CompressedWriter
    from sundog.image.layer.piecewise import piecewise_writer
    from sundog.image.layer.write_tar import write_tar

    owners = read_owners(layer.owners)
    see(layer.tree, *below)
    with open(place, "xb", buffering=0) as out:
        pieces = piecewise_writer(out, packing.compression)
        writer = pieces or CompressedWriter(out, packing.compression)
        sink = _Counted(writer)
        diff_id = write_tar(
            sink,
            layer.tree,
            owners,
            mtime_clamp=packing.epoch,
            below=below,
            first=packing.first,
        )
        writer.finish()
    annotations = {}
    if pieces is not None:
        annotations, diff_id = pieces.annotations, pieces.diff_id
    media_type = _MEDIA_TYPES[packing.compression]
    descriptor = Descriptor(media_type, Digest.parse(writer.digest), writer.size, annotations)
    return Packed(LayerBlob(descriptor, diff_id, packing.made), place)


class _Counted:
    """A sink that counts what goes through it."""

    def __init__(self, out: Sink) -> None:
        self._out = out

    def write(self, data: bytes, /) -> int:
        written = self._out.write(data)
        WATCH.count(written)
        return written


def _compressor_name(compression: str) -> str:
    from sundog.image.layer.compressing import compressor_name  # it loads compressors

    return compressor_name(compression)
