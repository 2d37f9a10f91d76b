"""An image as an archive holds it, and the way of its layers into the store.

Layers travel as blobs, as from a registry: checked, unpacked while they are copied, and kept as
they came.  A layer that is not compressed, or in a way that manifests have no name for, is
compressed on the way in, since it is kept: as ``docker save`` writes it, it takes twice the room.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import partial

from sundog.convert.members import FileStream, shown
from sundog.errors import ArchiveError, DigestMismatch
from sundog.kernel.files import Closing
from sundog.layer.compressing import CompressedWriter
from sundog.layer.compression import open_decompressed
from sundog.oci.descriptor import Descriptor
from sundog.oci.digest import Digest
from sundog.oci.media_types import (
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    as_oci,
)
from sundog.transfer.layers import RemoteLayer, Unpackers, present_layers, pull_layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.convert.members import Members
    from sundog.layer.limits import Meter
    from sundog.oci.config import ImageConfig
    from sundog.store.store import Store
    from sundog.transfer.report import Report

_CHUNK = 256 << 10


@dataclass(frozen=True, slots=True)
class ArchivedLayer:
    """A layer: the name of its file, and what the archive says of the blob in it, if anything."""

    name: str
    diff_id: str
    descriptor: Descriptor | None = None


@dataclass(frozen=True)
class ArchivedImage:
    """An image in an archive.

    ``names`` are those that the archive gives it; ``documents`` its manifest and configuration
    where they have digests by which the world knows them, else nothing.
    """

    names: tuple[str, ...]
    config: ImageConfig
    layers: tuple[ArchivedLayer, ...]
    documents: tuple[tuple[Digest, bytes], ...] = ()


def load_layers(
    store: Store, members: Members, layers: Sequence[ArchivedLayer], report: Report
) -> list[str]:
    """Have the layers of an image, bottom first, in the store and return their IDs.

    Raises ArchiveError and DigestMismatch; then none of them is in place.
    """
    present = present_layers(store, [layer.diff_id for layer in layers])
    remote = [
        _here(layer) if found else _remote(store, members, layer)
        for layer, found in zip(layers, present, strict=True)
    ]
    counted = members.is_counted
    with Unpackers(members.meter, counts_arrivals=False) if counted else Unpackers() as unpackers:
        return pull_layers(store, remote, unpackers, report)


def _here(layer: ArchivedLayer) -> RemoteLayer:
    """Describe a layer that is in the store: nothing will be read of it."""
    bare = Descriptor(OCI_LAYER, Digest.parse(layer.diff_id), 0)
    return RemoteLayer(layer.descriptor or bare, layer.diff_id, ())


def _remote(store: Store, members: Members, layer: ArchivedLayer) -> RemoteLayer:
    with Closing(members.open(layer.name)) as fd:
        descriptor = layer.descriptor or _described(fd)
        kept = as_oci(descriptor.media_type) in (OCI_LAYER_GZIP, OCI_LAYER_ZSTD)
        if kept:
            source = partial(_open_member, members, layer.name)
        else:
            if layer.descriptor is not None:
                _check(fd, layer.descriptor)
            path, descriptor = _compressed(store, fd, layer, members.meter)
            source = partial(_open_file, path, members.source)
    return RemoteLayer(descriptor, layer.diff_id, [source])


def _open_member(members: Members, name: str, offset: int) -> FileStream:
    return FileStream(members.open(name), offset, members.source)


def _open_file(path: bytes, source: str, offset: int) -> FileStream:
    return FileStream(os.open(path, os.O_RDONLY | os.O_CLOEXEC), offset, source)


def _described(fd: int) -> Descriptor:
    """Return the descriptor of a blob of which nothing is known."""
    media_type = OCI_LAYER
    for magic, name in ((b"\x1f\x8b", OCI_LAYER_GZIP), (b"\x28\xb5\x2f\xfd", OCI_LAYER_ZSTD)):
        if os.pread(fd, len(magic), 0) == magic:
            media_type = name
    digest, size = _digest(fd)
    return Descriptor(media_type, digest, size)


def _check(fd: int, descriptor: Descriptor) -> None:
    digest, size = _digest(fd, descriptor.digest.algorithm)
    if size != descriptor.size:
        raise ArchiveError(
            f"blob {descriptor.digest}: {size} bytes, the manifest says {descriptor.size}"
        )
    if digest != descriptor.digest:
        raise DigestMismatch(
            f"blob {descriptor.digest}: content has digest {digest}, expected {descriptor.digest}"
        )


def _digest(fd: int, algorithm: str = "sha256") -> tuple[Digest, int]:
    state, size = hashlib.new(algorithm, usedforsecurity=False), 0
    while data := os.pread(fd, _CHUNK, size):
        state.update(data)
        size += len(data)
    return Digest(algorithm, state.hexdigest()), size


def _compressed(
    store: Store, fd: int, layer: ArchivedLayer, meter: Meter
) -> tuple[bytes, Descriptor]:
    """Compress a layer into a file of ``tmp/``; raise DigestMismatch when it is not the one."""
    os.lseek(fd, 0, os.SEEK_SET)
    state = hashlib.sha256()
    with store.faults, open(fd, "rb", buffering=0, closefd=False) as raw:
        path = store.scratch.name()
        with open(path, "xb", buffering=0) as out:
            writer = CompressedWriter(out, "gzip")
            stream = open_decompressed(raw, meter)
            while data := stream.read(_CHUNK):
                state.update(data)
                writer.write(data)
            writer.finish()
    diff_id = f"sha256:{state.hexdigest()}"
    if diff_id != layer.diff_id:
        raise DigestMismatch(
            f"layer {shown(layer.name)}: it has digest {diff_id}, "
            f"the configuration says {layer.diff_id}"
        )
    return path, Descriptor(OCI_LAYER_GZIP, Digest.parse(writer.digest), writer.size)
