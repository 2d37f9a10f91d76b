"""Write a SIF of an image in a store, or of a file system that is SquashFS already."""

from __future__ import annotations

import json
import os
import stat
from contextlib import contextmanager

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.errors import SundogError
from sundog.image.convert.mounted_squash import squash_layers
from sundog.image.convert.own_files import files_of_config
from sundog.image.convert.squash import GZIP, squash_output
from sundog.image.layer.below import Below, LayerTree
from sundog.image.sif.inspection import AddedFiles, attributes, document
from sundog.image.sif.metadata import DEFINITION, METADATA
from sundog.image.sif.renewal import renewed
from sundog.image.sif.writer import (
    PAGE,
    definition_object,
    json_object,
    partition_place,
    write_head,
)
from sundog.image.store.metadata import encoded
from sundog.runtime.container.image_files import FILE_LIMIT, FILES_LIMIT
from sundog.runtime.squashfs.source import SquashfsSource
from sundog.runtime.squashfs.superblock import Superblock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sundog.image.convert.mounted_squash import Work
    from sundog.image.convert.squash import Output
    from sundog.image.layer.whole_image import Addition
    from sundog.image.oci.config import ImageConfig
    from sundog.image.sif.metadata import Metadata
    from sundog.image.sif.writer import SifObject
    from sundog.image.store.image_files import Image
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Transfer
    from sundog.runtime.container.image_files import ImageFiles

_CHUNK = 1 << 20


def write_sif(store: Store, image: Image, metadata: Metadata, destination: str, work: Work) -> None:
    """Write the SIF ``destination`` of an image, whose layers ``store`` has.

    The program of ``work`` must take an offset, and its ``flow.epoch`` is the time of the SIF; None
    for the present one.  An old ``destination`` is there until the new one is complete.  Raises
    SundogError.
    """
    added = sif_additions(store, image, metadata)
    with LayerFiles.of(store, image) as files:
        objects = sif_objects(AddedFiles(added, files), image.config)
    with sif_output(destination, objects, image.config.architecture, work.flow.epoch) as output:
        squash_layers(store, image.layers, added, output, work)


def sif_additions(store: Store, image: Image, metadata: Metadata) -> dict[bytes, Addition]:
    """Return what a SIF of an image has besides its layers.  Raises SundogError.

    What the image has below /.singularity.d is its own, and stays, unless it is ``renewed``.
    """
    trees = [LayerTree.read(layer) for layer in store.layers.readable(image.layers)]
    needed = metadata.additions()
    with Below(trees) as view:
        new = renewed(image.config, LayerFiles(view).read)
        for path, addition in list(needed.items()):
            found = view.lookup(path)
            if found is None:
                continue
            if path in new:
                needed[path] = new[path]
            else:
                del needed[path]
            if path.startswith(METADATA) and found.is_directory != addition.is_directory:
                raise SundogError(
                    f"/{printable(path)} of the image is {'a' if found.is_directory else 'no'}"
                    " directory: Apptainer would not find the image's scripts",
                    "ch-convert -o squash makes a file for ch-run",
                )
    return files_of_config(image.config, trees) | needed


class LayerFiles:
    """The files of an image of layers.  No link is followed."""

    def __init__(self, view: Below) -> None:
        self._view = view

    @classmethod
    @contextmanager
    def of(cls, store: Store, image: Image) -> Iterator[LayerFiles]:
        """Give the files of an image in ``store``."""
        trees = [LayerTree.read(layer) for layer in store.layers.readable(image.layers)]
        with Below(trees) as view:
            yield cls(view)

    def read(self, path: bytes) -> bytes | None:
        """Return a regular file; None if there is none, or if it is over FILE_LIMIT bytes."""
        try:
            file = self._view.open_file(path)
        except OSError:
            return None
        if file is None:
            return None
        with Closing(file):
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode) or status.st_size > FILE_LIMIT:
                return None
            return os.read(file, FILE_LIMIT)

    def names(self, path: bytes) -> list[bytes]:
        """Return the names in a directory, up to FILES_LIMIT."""
        try:
            found = self._view.lookup(path)
            entries = self._view.entries(path) if found and found.is_directory else []
        except OSError:
            return []
        return [name for name, _ in entries[:FILES_LIMIT]]


def sif_objects(files: ImageFiles, config: ImageConfig | None = None) -> list[SifObject]:
    """Return the small objects of the SIF of an image with these files."""
    objects = [
        definition_object(files.read(DEFINITION) or b""),
        json_object("inspect-metadata.json", encoded(document(attributes(files)))),
    ]
    if config is not None:
        text = json.dumps(config.to_json(), ensure_ascii=False)
        objects.append(json_object("oci-config.json", encoded(text)))
    return objects


@contextmanager
def sif_output(
    destination: str, objects: Sequence[SifObject], architecture: str, seconds: int | None
) -> Iterator[Output]:
    """Give the file in which the SquashFS of a SIF is to be made."""
    with squash_output(destination, GZIP, partition_place(objects)) as output:
        yield output
        write_head(output.file, objects, architecture, seconds)


def copy_squash(source: int, start: int, output: Output, transfer: Transfer) -> None:
    """Copy the SquashFS at ``start`` of ``source`` to ``output``.

    Raises SundogError for a damaged one.
    """
    size = Superblock(SquashfsSource(source, start)).bytes_used
    end, place = start + size, output.offset
    while start < end:
        data = os.pread(source, min(_CHUNK, end - start), start)
        if not data:
            raise SundogError(f"can't write {output.destination}: the source has become shorter")
        os.pwrite(output.file, data, place)
        start, place = start + len(data), place + len(data)
        transfer.advance(len(data))
    os.ftruncate(output.file, -(-place // PAGE) * PAGE)
