"""An image as an archive holds it, and the way of its layers into the store.

Layers travel as blobs, as from a registry: load checks them, unpacks them while it copies them, and
keeps them as they came.  It compresses a layer that has no compression, or one that manifests have
no name for: ``docker save`` writes bare tars, which would take twice the room in the store.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial

from sundog.base.kernel.files import Closing
from sundog.image.convert.members import FileStream, shown
from sundog.image.layer.compressing import CompressedWriter
from sundog.image.layer.compression import GZIP_MAGIC, ZSTD_MAGIC, open_decompressed
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.oci.media_types import (
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    as_oci,
)
from sundog.image.oci.verified import VerifiedReader
from sundog.image.transfer.layers import RemoteLayer, Unpackers, pull_layers
from sundog.image.transfer.present import present_layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.convert.members import Members
    from sundog.image.layer.limits import Meter
    from sundog.image.oci.config import ImageConfig
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Report

_CHUNK = 256 << 10


@dataclass(frozen=True, slots=True)
class ArchivedLayer:
    """A layer: the name of its file, and the archive's descriptor of that blob, if it has one."""

    name: str
    diff_id: str
    descriptor: Descriptor | None = None


@dataclass(frozen=True)
class ArchivedImage:
    """An image in an archive.

    ``names`` are the archive's names for it.  ``documents`` are its manifest and configuration if
    their digests are known outside of the archive, else nothing.
    """

    names: tuple[str, ...]
    config: ImageConfig
    layers: tuple[ArchivedLayer, ...]
    documents: tuple[tuple[Digest, bytes], ...] = ()


def load_layers(
    store: Store, members: Members, layers: Sequence[ArchivedLayer], report: Report
) -> list[str]:
    """Bring the layers of an image, bottom first, into the store and return their IDs.

    Raises ArchiveError and ContentMismatch; then no layer is in place.
    """
    present = present_layers(store, [layer.diff_id for layer in layers])
    remote = [
        described_here(layer) if found else described_remote(store, members, layer)
        for layer, found in zip(layers, present, strict=True)
    ]
    counted = members.is_counted
    with Unpackers(members.meter, counts_arrivals=False) if counted else Unpackers() as unpackers:
        return pull_layers(store, remote, unpackers, report)


def described_here(layer: ArchivedLayer) -> RemoteLayer:
    """Describe a layer that the store has: nobody will read its blob."""
    bare = Descriptor(OCI_LAYER, Digest.parse(layer.diff_id), 0)
    return RemoteLayer(layer.descriptor or bare, layer.diff_id, ())


def described_remote(store: Store, members: Members, layer: ArchivedLayer) -> RemoteLayer:
    """Describe a layer that is to come.  Raises ArchiveError and ContentMismatch."""
    with Closing(members.open(layer.name)) as fd:
        descriptor = layer.descriptor or _described(fd)
        kept = as_oci(descriptor.media_type) in (OCI_LAYER_GZIP, OCI_LAYER_ZSTD)
        if kept:
            source = partial(_open_member, members, layer.name)
        else:
            if layer.descriptor is not None:
                _read_through(fd, descriptor)
            path, descriptor = _compressed(store, fd, layer, members.meter)
            source = partial(_open_file, path, members.source)
    return RemoteLayer(descriptor, layer.diff_id, [source])


def _open_member(members: Members, name: str, offset: int) -> FileStream:
    return FileStream(members.open(name), offset, members.source)


def _open_file(path: bytes, source: str, offset: int) -> FileStream:
    return FileStream(os.open(path, os.O_RDONLY | os.O_CLOEXEC), offset, source)


def _described(fd: int) -> Descriptor:
    """Read a blob without a descriptor; return a descriptor of it."""
    media_type = OCI_LAYER
    for magic, name in ((GZIP_MAGIC, OCI_LAYER_GZIP), (ZSTD_MAGIC, OCI_LAYER_ZSTD)):
        if os.pread(fd, len(magic), 0) == magic:
            media_type = name
    reader = _read_through(fd)
    return Descriptor(media_type, reader.digest, reader.size)


def _read_through(fd: int, expected: Descriptor | None = None) -> VerifiedReader:
    """Read a blob to its end; return the reader, which knows digest and size.

    Raises ContentMismatch.
    """
    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd, "rb", buffering=0, closefd=False) as file:
        reader = VerifiedReader.of_blob(file, expected) if expected else VerifiedReader(file)
        reader.drain()
    return reader


def _compressed(
    store: Store, fd: int, layer: ArchivedLayer, meter: Meter
) -> tuple[bytes, Descriptor]:
    """Compress a layer into a file of ``tmp/``; raise DigestMismatch if its diff_id is wrong."""
    os.lseek(fd, 0, os.SEEK_SET)
    with store.faults, open(fd, "rb", buffering=0, closefd=False) as raw:
        path = store.scratch.name()
        with open(path, "xb", buffering=0) as out:
            writer = CompressedWriter(out, "gzip")
            stream = VerifiedReader(
                open_decompressed(raw, meter),
                Digest.parse(layer.diff_id),
                what=f"layer {shown(layer.name)}, unpacked",
            )
            while data := stream.read(_CHUNK):
                writer.write(data)
            writer.finish()
    return path, Descriptor(OCI_LAYER_GZIP, Digest.parse(writer.digest), writer.size)
