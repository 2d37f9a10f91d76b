"""Save: images of the store as an archive or a layout.

The file or directory gets its name when it is complete and on the device.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from contextlib import contextmanager, suppress
from typing import BinaryIO, cast

from sundog.errors import UsageError
from sundog.image.convert import docker_archive, oci_layout
from sundog.image.convert.outputs import output_directory, output_file
from sundog.image.layer.compression import open_decompressed
from sundog.image.oci.media_types import OCI_LAYER, as_oci
from sundog.image.oci.reference import Reference
from sundog.image.transfer.documents import as_it_came, leaving_image
from sundog.image.transfer.packing import Packing, pack, warn_of_layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from _typeshed import ReadableBuffer

    from sundog.image.convert.oci_layout import Writer
    from sundog.image.oci.descriptor import Descriptor
    from sundog.image.store.image_files import Image
    from sundog.image.store.layer_info import LayerBlob
    from sundog.image.store.store import Store
    from sundog.image.transfer.documents import LeavingImage
    from sundog.image.transfer.report import WatchingReport

OCI_DIRECTORY, DOCKER_ARCHIVE = "oci-dir", "docker-archive"
_CHUNK = 1 << 20


class _Forward(io.RawIOBase):
    """A writer to ``out``, which may be a pipe, that knows its position.

    ``tarfile``'s own stream would write its rest even after an error.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._position = 0

    def tell(self) -> int:
        return self._position

    def write(self, data: ReadableBuffer, /) -> int:
        written = self._out.write(data)
        self._position += written
        return written


class ArchiveWriter:
    """A tar on its way to ``out``; equal contents give equal bytes."""

    def __init__(self, out: BinaryIO, epoch: int | None) -> None:
        self._tar = tarfile.TarFile(
            fileobj=cast("BinaryIO", _Forward(out)), mode="w", format=tarfile.PAX_FORMAT
        )
        self._mtime = epoch or 0
        self._directories = {""}

    def put(self, name: str, content: bytes) -> None:
        """Write a small file."""
        self._tar.addfile(self._header(name, len(content)), io.BytesIO(content))

    def put_file(self, name: str, path: bytes, size: int) -> None:
        """Write ``size`` bytes from the file ``path``."""
        with open(path, "rb") as file:
            self._tar.addfile(self._header(name, size), file)

    def close(self) -> None:
        """Write the end of the archive."""
        self._tar.close()

    def _header(self, name: str, size: int) -> tarfile.TarInfo:
        self._make_directory(os.path.dirname(name))
        header = tarfile.TarInfo(name)
        header.size, header.mode, header.mtime = size, 0o644, self._mtime
        return header

    def _make_directory(self, name: str) -> None:
        # A program that makes missing directories itself may try to make them root's, and fail.
        if name not in self._directories:
            self._directories.add(name)
            self._make_directory(os.path.dirname(name))
            header = tarfile.TarInfo(name)
            header.type, header.mode, header.mtime = tarfile.DIRTYPE, 0o755, self._mtime
            self._tar.addfile(header)


class _DirectoryWriter:
    """A layout's directory while it is made."""

    def __init__(self, path: bytes) -> None:
        self._path = path

    def put(self, name: str, content: bytes) -> None:
        """Write a small file."""
        with open(self._made(name), "wb") as file:
            file.write(content)

    def put_file(self, name: str, path: bytes, size: int) -> None:  # noqa: ARG002 - for archives
        """Write a copy of the file ``path``."""
        shutil.copyfile(path, self._made(name))

    def _made(self, name: str) -> bytes:
        path = os.path.join(self._path, os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path


def save(
    store: Store,
    images: Sequence[Image],
    destination: str | BinaryIO,
    form: str,
    *,
    packing: Packing,
    report: WatchingReport,
) -> None:
    """Write ``images`` in the format ``form`` to a path or, for an archive, to a stream.

    Raises UsageError if the destination does not fit, or OSError; then a path is unchanged.
    """
    if form == OCI_DIRECTORY:
        if not isinstance(destination, str):
            raise UsageError(f"--format={form} needs a directory to write to", "give one with -o")
        with _new_directory(destination) as path:
            writer: Writer = _DirectoryWriter(path)
            write_images(store, images, writer, form, packing=packing, report=report)
        return
    with opened_output(destination) as out:
        archive = ArchiveWriter(out, packing.epoch)
        write_images(store, images, archive, form, packing=packing, report=report)
        archive.close()


def write_images(
    store: Store,
    images: Sequence[Image],
    writer: Writer,
    form: str,
    *,
    packing: Packing,
    report: WatchingReport,
    more: Sequence[Descriptor] = (),
) -> None:
    """Write images and the index of their archive; ``more`` is as of ``write_layout``."""
    put_layer: Callable[[Store, Sequence[str], Packing, Writer, set[str]], LayerBlob]
    put_layer = _put_bare_layer if form == DOCKER_ARCHIVE else _put_blob
    written: set[str] = set()
    blobs: dict[str, LayerBlob] = {}
    leaving: list[tuple[LeavingImage, list[Reference]]] = []
    for image in images:
        report.info(f"saving image:    {image.typed}")
        for number, layer in enumerate(image.layers, 1):
            label = f"layer {number}/{len(image.layers)}"
            warn_of_layer(store, layer, label, report.warning)
            if layer not in blobs:
                with report.watched(f"{label}: packing", store.layers.size(layer)):
                    layers = image.layers[:number]
                    blobs[layer] = put_layer(store, layers, packing, writer, written)
                report.info(f"{label}: {blobs[layer].descriptor.digest.encoded[:7]}: written")
        own = [blobs[layer] for layer in image.layers]
        came = as_it_came(store, image, own) if form != DOCKER_ARCHIVE else None
        if came is None or not came.is_oci:
            came = leaving_image(image.config, own, packing.epoch, image.annotations)
        leaving.append((came, [Reference.parse(image.reference)]))
    if form == DOCKER_ARCHIVE:
        docker_archive.write_archive(writer, leaving)
    else:
        oci_layout.write_layout(writer, leaving, more)


def _put_blob(
    store: Store, layers: Sequence[str], packing: Packing, writer: Writer, written: set[str]
) -> LayerBlob:
    """Write the topmost of ``layers`` as a blob, and return the blob."""
    packed = pack(store, layers[-1], packing, layers[:-1])
    try:
        name = oci_layout.blob_name(packed.blob.descriptor.digest)
        if name not in written:
            writer.put_file(name, packed.path, packed.blob.descriptor.size)
            written.add(name)
    finally:
        packed.discard(store)
    return packed.blob


def _put_bare_layer(
    store: Store, layers: Sequence[str], packing: Packing, writer: Writer, written: set[str]
) -> LayerBlob:
    """Write the topmost of ``layers`` as a bare tar: decompressed from its blob, or made."""
    packed = pack(store, layers[-1], Packing("none", packing.epoch), layers[:-1])
    place = packed.path
    try:
        if as_oci(packed.blob.descriptor.media_type) != OCI_LAYER:
            place = store.scratch.name()
            with (
                store.faults,
                open(packed.path, "rb", buffering=0) as raw,
                open(place, "xb") as out,
            ):
                shutil.copyfileobj(open_decompressed(raw), out, _CHUNK)
        name = docker_archive.layer_name(packed.blob.diff_id)
        if name not in written:
            writer.put_file(name, place, os.stat(place).st_size)
            written.add(name)
    finally:
        packed.discard(store)
        if place != packed.path:
            with suppress(FileNotFoundError):
                os.unlink(place)
    return packed.blob


@contextmanager
def opened_output(destination: str | BinaryIO) -> Iterator[BinaryIO]:
    """Open a file that replaces ``destination`` on success; a stream is used as it is."""
    if not isinstance(destination, str):
        yield destination
        destination.flush()
        return
    if os.path.isdir(destination):
        raise UsageError(f"{destination} is a directory", "--format=oci-dir writes one")
    with output_file(destination) as draft, open(draft, "xb") as out:
        yield out


@contextmanager
def _new_directory(destination: str) -> Iterator[bytes]:
    """Make a directory that gets the name ``destination`` on success."""
    if os.path.lexists(destination) and (not os.path.isdir(destination) or os.listdir(destination)):
        raise UsageError(f"{destination} exists and is not an empty directory", "name another one")
    with output_directory(destination) as making:
        os.mkdir(making)
        yield making
