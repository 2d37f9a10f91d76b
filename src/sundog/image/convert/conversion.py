"""``ch-convert``: from any format of an image to any other.

A ``source`` gives a tar of the whole image, or an image in a store.  A sink takes one of both.  So
there is one reader and one writer for each format, and none for a pair of formats.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import BinaryIO

from sundog.base.record.names import canonical_name
from sundog.errors import ArchiveError, SundogError, UsageError
from sundog.image.convert.checks import check_arch, check_input, check_output, check_xattrs
from sundog.image.convert.engines import ENGINES
from sundog.image.convert.flow import full_chunks, pump
from sundog.image.convert.formats import (
    ARCHIVES,
    CH_IMAGE,
    DIRECTORY,
    ENGINE_FORMATS,
    ENROOT,
    OCI_DIRECTORY,
    SANDBOX,
    SIF,
    SQUASHES,
    TAR,
    Place,
    compression,
)
from sundog.image.convert.mounted_squash import Work, squash_layers
from sundog.image.convert.outputs import output_directory, output_file
from sundog.image.convert.pseudo_file import LATEST
from sundog.image.convert.save import DOCKER_ARCHIVE, save
from sundog.image.convert.sif_file import copy_squash, sif_objects, sif_output, write_sif
from sundog.image.convert.source import Source
from sundog.image.convert.squash import Maker, find_maker, squash_output, write_squash
from sundog.image.convert.unpacking import to_directory
from sundog.image.layer.compressing import CompressedWriter
from sundog.image.sif.inspection import architecture_of, has_metadata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.image.convert.options import Options, Progress
    from sundog.image.store.image_files import Image
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Transfer


_STDOUT = "/dev/stdout"
_DAMAGED_HINT = "compare the input with its original, then copy it again or make it again"


def convert(source: Place, target: Place, options: Options, progress: Progress) -> None:
    """Convert ``source`` to ``target``.

    Raises UsageError for what does not fit together, and SundogError; then an output that was there
    is unchanged.
    """
    check_input(source)
    with ExitStack() as stack:
        found = Source(source, options, progress, stack, target=target.format)
        work = _Conversion(found, target, options, progress)
        work.check()
        if options.is_dry:
            return
        try:
            work.run()
        except ArchiveError as error:
            error.hint = error.hint or _DAMAGED_HINT
            if source.format != TAR:  # readers of other formats name what they read
                raise
            name = "standard input" if source.is_stream else source.text
            raise ArchiveError(f"can't read {name}: {error.message}", error.hint) from error


def convert_built(
    store: Store,
    image: Image,
    names: Sequence[str],
    target: Place,
    *,
    options: Options,
    progress: Progress,
) -> None:
    """Convert ``image`` in ``store``, which need not have a name there, to ``target``.

    ``names`` are those that it gets in an archive.  Raises as ``convert``.
    """
    with ExitStack() as stack:
        place = Place(CH_IMAGE, names[0])
        found = Source(place, options, progress, stack, target=target.format, stored=(store, image))
        work = _Conversion(found, target, options, progress, names)
        work.check()
        work.run()


class _Conversion:
    """One conversion: the sinks; ``names`` are those of the image in an archive, if it has any."""

    def __init__(
        self,
        source: Source,
        target: Place,
        options: Options,
        progress: Progress,
        names: Sequence[str] = (),
    ) -> None:
        self._source = source
        self._target = target
        self._options = options
        self._progress = progress
        self._names = names
        self._maker: Maker | None = None
        self._compression = "none"

    def check(self) -> None:
        """Find out whether the conversion is possible, before any work."""
        source, target = self._source.place, self._target
        if target.format == ENROOT and not self._source.has_layers:
            raise UsageError(
                f"format {source.format} has no configuration for Enroot: {source.text}",
                "bring the image into storage first: ch-image import",
            )
        check_output(source, target, clobbers=self._options.clobbers, info=self._source.info)
        if self._options.platform is not None:
            check_arch(self._source, target)
        if not self._options.keeps_xattrs:
            check_xattrs(source, target)
        if target.format == CH_IMAGE:
            canonical_name(target.text)
            found = self._source.store.images.matching(target.text)[target.text]
            if found and not self._options.clobbers:
                raise SundogError(
                    "exists in ch-image storage, not deleting per --no-clobber: " + target.text
                )
        elif target.format in SQUASHES or target.format == SIF:
            self._maker = find_maker(has_offset=target.format == SIF)
        elif target.format == TAR:
            self._compression = compression(target.text)
        elif target.format in ENGINE_FORMATS:
            canonical_name(target.text)

    def run(self) -> None:
        """Convert."""
        if self._options.complete and self._target.format in (*ARCHIVES, *ENGINE_FORMATS):
            source = self._source
            self._options.complete(source.store_of_image(), [source.image], self._progress.report)
        sinks: dict[str, Callable[[], None]] = {
            CH_IMAGE: self._to_storage,
            DIRECTORY: self._to_directory,
            SANDBOX: self._to_directory,
            TAR: self._to_tar,
            **dict.fromkeys(SQUASHES, self._to_squash),
            SIF: self._to_sif,
            **dict.fromkeys(ARCHIVES, self._to_archive),
            **dict.fromkeys(ENGINE_FORMATS, self._to_engine),
        }
        sinks[self._target.format]()

    def _to_storage(self) -> None:
        store, target = self._source.store, self._target
        image = self._source.image_in(store)
        origin = f"ch-convert {self._source.place.text}"
        named = replace(
            image, reference=canonical_name(target.text), typed=target.text, origin=origin
        )
        store.images.put(named)

    def _to_directory(self) -> None:
        with (
            self._source.stage("unpacking") as transfer,
            self._source.unpackable() as (stream, rules),
        ):
            to_directory(stream, self._target.text, rules, transfer)

    def _to_squash(self) -> None:
        maker = self._maker
        assert maker is not None
        source = self._source
        with source.stage("packing") as transfer:
            if source.has_layers:
                work = Work(maker, source.flow(is_flat=True), transfer, source.warn)
                store, layers = source.store_of_image(), source.image.layers
                _, added = source.layers_and_added()
                with squash_output(self._target.text) as output:
                    squash_layers(store, layers, added, output, work)
                return
            with (
                squash_output(self._target.text) as output,
                source.flat(is_flat=True, latest=LATEST) as stream,
            ):
                write_squash(stream, output, maker, transfer)

    def _to_sif(self) -> None:
        maker = self._maker
        assert maker is not None
        source, target = self._source, self._target.text
        with source.stage("packing") as transfer, source.files() as files:
            flow = source.flow(is_flat=True)
            if files is None or not has_metadata(files):
                work = Work(maker, flow, transfer, source.warn)
                write_sif(source.store_of_image(), source.image, source.metadata, target, work)
                return
            with sif_output(
                target, sif_objects(files), architecture_of(files), flow.epoch
            ) as output:
                if source.place.format == DIRECTORY or not self._options.keeps_xattrs:
                    with source.flat(is_flat=True, latest=LATEST) as stream:
                        write_squash(stream, output, maker, transfer)
                    return
                with source.squash() as (file, start):
                    copy_squash(file, start, output, transfer)

    def _to_tar(self) -> None:
        with self._source.stage("packing") as transfer, self._source.flat(is_flat=False) as stream:
            if self._target.is_stream:
                try:
                    with open(1, "wb", buffering=0, closefd=False) as out:
                        self._compress(stream, out, transfer)
                except OSError as error:  # name it, so that no other file is suspected
                    error.filename = error.filename or _STDOUT
                    raise
                return
            with output_file(self._target.text) as draft, open(draft, "xb", buffering=0) as file:
                self._compress(stream, file, transfer)

    def _compress(self, stream: BinaryIO, out: BinaryIO, transfer: Transfer) -> None:
        if self._compression == "none":
            pump(stream, out.fileno(), transfer)
            return
        writer = CompressedWriter(out, self._compression, hashes=False)
        for data in full_chunks(stream):
            writer.write(data)
            transfer.advance(len(data))
        writer.finish()

    def _to_archive(self) -> None:
        target = self._target
        image = self._source.image
        images = [
            replace(image, reference=canonical_name(name), typed=name) for name in self._names
        ]
        images = images or [self._named(image, target.tag)]
        if target.format == OCI_DIRECTORY:
            with output_directory(target.text) as draft:
                self._save(images, os.fsdecode(draft))
        elif target.is_stream:
            self._save(images, sys.stdout.buffer)
        else:
            self._save(images, target.text)

    def _to_engine(self) -> None:
        image = self._source.image
        named = replace(image, reference=canonical_name(self._target.text))
        self._source.info("importing ...")
        with ENGINES[self._target.format].loading() as out:
            self._save([named], out, DOCKER_ARCHIVE)

    def _named(self, image: Image, tag: str) -> Image:
        """Give an image the name that it gets in an archive."""
        if tag:
            name = canonical_name(tag if "/" in tag or ":" in tag else f"image:{tag}")
        else:
            name = image.reference or canonical_name(_name_of(self._source.place.text))
        return replace(image, reference=name, typed=image.typed or self._source.place.text)

    def _save(self, images: Sequence[Image], out: str | BinaryIO, form: str = "") -> None:
        save(
            self._source.store_of_image(),
            images,
            out,
            form or self._target.format,
            packing=self._options.packing,
            report=self._progress.report,
        )


def _name_of(text: str) -> str:
    """Return a name for the image that came from the path ``text``."""
    stem = os.path.basename(os.path.abspath(text)).partition(".")[0].lower()
    kept = "".join(c for c in stem if c.isascii() and (c.isalnum() or c in "-_")).strip("-_")
    return kept or "image"
