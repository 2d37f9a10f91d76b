"""``ch-convert``: from any format of an image to any other.

A source gives a tar of the whole image, or an image in a store.  A sink takes one of both.  So
there is one reader and one writer for each format, and none for a pair of formats.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import BinaryIO, cast

from sundog.base.record.guesses import GUESSES, LOST_GUESSES
from sundog.base.record.names import canonical_name
from sundog.errors import ArchiveError, NotInStorage, SundogError, UsageError
from sundog.image.convert.checks import check_input, check_output
from sundog.image.convert.engines import ENGINES
from sundog.image.convert.enroot_files import enroot_files
from sundog.image.convert.flow import Flow, full_chunks, produced, pump
from sundog.image.convert.formats import (
    ARCHIVES,
    CH_IMAGE,
    DIRECTORY,
    ENGINE_FORMATS,
    ENROOT,
    LAYERED,
    OCI_DIRECTORY,
    SIF,
    SQUASH,
    SQUASHES,
    TAR,
    Place,
    compression,
)
from sundog.image.convert.load import load_one
from sundog.image.convert.mounted_squash import StackedImage, mountable_root, squash_mounted
from sundog.image.convert.normal_tar import Survey, survey, write_normal
from sundog.image.convert.outputs import output_directory, output_file
from sundog.image.convert.own_files import own_files
from sundog.image.convert.pseudo_file import LATEST
from sundog.image.convert.save import DOCKER_ARCHIVE, save
from sundog.image.convert.squash import Maker, find_maker, squash_output, write_squash
from sundog.image.convert.temporary import TemporaryStore
from sundog.image.convert.unpacking import Rules, to_directory, to_store
from sundog.image.layer.below import LayerTree
from sundog.image.layer.compressing import CompressedWriter
from sundog.image.layer.compression import open_decompressed
from sundog.image.layer.flat_tar import write_directory, write_layers
from sundog.image.layer.guessing import guesses_of_image
from sundog.image.layer.import_directory import foreign_owners
from sundog.image.oci.platform import Platform
from sundog.image.oci.timestamps import timestamp
from sundog.image.store.run_force import was_unrecorded
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sundog.base.record.layer_path import LayerPath
    from sundog.image.convert.options import Options, Progress
    from sundog.image.layer.tar_writer import TarWriter
    from sundog.image.layer.whole_image import Added
    from sundog.image.store.images import Image
    from sundog.image.transfer.report import Transfer


_DAMAGED_HINT = "compare the input with its original, then copy it again or make it again"


def convert(source: Place, target: Place, options: Options, progress: Progress) -> None:
    """Convert ``source`` to ``target``.

    Raises UsageError for what does not fit together, and SundogError; then an output that was there
    is unchanged.
    """
    with ExitStack() as stack:
        work = _Conversion(source, target, options, progress, stack)
        work.check()
        if options.is_dry:
            return
        try:
            work.run()
        except ArchiveError as error:
            error.hint = error.hint or _DAMAGED_HINT
            raise


class _Conversion:
    """One conversion; what it opens is closed by ``stack``."""

    def __init__(
        self,
        source: Place,
        target: Place,
        options: Options,
        progress: Progress,
        stack: ExitStack,
    ) -> None:
        self._source = source
        self._target = target
        self._options = options
        self._progress = progress
        self._stack = stack
        self._storage: Store | None = None
        self._temporary: Store | None = None
        self._maker: Maker | None = None
        self._compression = "none"
        self._image: Image | None = None

    def check(self) -> None:
        """Find out whether the conversion is possible, before any work."""
        source, target = self._source, self._target
        check_input(source)
        if target.format == ENROOT and not self._has_layers:
            raise UsageError(
                f"format {source.format} has no configuration for Enroot: {source.text}",
                "bring the image into storage first: ch-image import",
            )
        if source.format == CH_IMAGE:
            self._image = self._stored(source.text)
        check_output(source, target, clobbers=self._options.clobbers, info=self._info)
        if target.format == CH_IMAGE:
            canonical_name(target.text)
            found = self._store.images.matching(target.text)[target.text]
            if found and not self._options.clobbers:
                raise SundogError(
                    "exists in ch-image storage, not deleting per --no-clobber: " + target.text
                )
        elif target.format in SQUASHES:
            self._maker = find_maker()
        elif target.format == TAR:
            self._compression = compression(target.text)
        elif target.format in ENGINE_FORMATS:
            canonical_name(target.text)

    def _stored(self, name: str) -> Image:
        try:
            return self._store.images.get(name)
        except NotInStorage as error:
            hint = f"./{name} is here: write ./{name} to convert it" if os.path.exists(name) else ""
            raise NotInStorage(
                f"source image not found in ch-image storage: {name}", hint or error.hint
            ) from None

    def run(self) -> None:
        """Convert."""
        sinks: dict[str, Callable[[], None]] = {
            CH_IMAGE: self._to_storage,
            DIRECTORY: self._to_directory,
            TAR: self._to_tar,
            **dict.fromkeys(SQUASHES, self._to_squash),
            **dict.fromkeys(ARCHIVES, self._to_archive),
            **dict.fromkeys(ENGINE_FORMATS, self._to_engine),
        }
        sinks[self._target.format]()

    def _info(self, text: str) -> None:
        self._progress.report.info(text)

    @property
    def _store(self) -> Store:
        """The user's storage directory."""
        if self._storage is None:
            self._storage = self._stack.enter_context(Store.open(self._options.storage))
        return self._storage

    @property
    def _scratch(self) -> Store:
        """A storage directory for this conversion alone, for what can't stream."""
        if self._temporary is None:
            place = TemporaryStore(self._options.temporary, self._options.storage)
            self._temporary = self._stack.enter_context(place)
        return self._temporary

    @property
    def _created(self) -> str:
        """The time of an image that is made: only the storage directory has the present one."""
        epoch = self._options.packing.epoch
        return timestamp(epoch) if epoch is not None or self._target.format == CH_IMAGE else ""

    # Sources

    @cached_property
    def _image_anywhere(self) -> Image:
        """The source as an image, in ``_store_of_image``."""
        return self._image or self._image_in(self._scratch)

    def _image_in(self, store: Store) -> Image:
        """Bring the source into ``store`` as an image without a name."""
        source = self._source
        if source.format in (*ARCHIVES, *ENGINE_FORMATS):
            return self._loaded(store)
        with self._unpackable() as (stream, rules), self._stage("importing") as transfer:
            return to_store(store, stream, rules, self._created, transfer)

    def _store_of_image(self) -> Store:
        return self._store if self._image is not None else self._scratch

    def _loaded(self, store: Store) -> Image:
        """Bring an image of an archive or an engine into ``store``."""
        source, report = self._source, self._progress.report
        platform = Platform.of_host()
        if source.format in ENGINES:
            self._info("exporting ...")
            with ENGINES[source.format].saved(source.text) as stream:
                what = f"{source.format} save {source.text}"
                return load_one(store, stream, what, "", platform=platform, report=report)
        self._info("importing ...")
        return load_one(
            store, source.text, source.text, source.tag, platform=platform, report=report
        )

    @contextmanager
    def _unpackable(self) -> Iterator[tuple[BinaryIO, Rules]]:
        """Give the source as a tar that is about to be unpacked."""
        keeps = self._options.keeps_xattrs
        if self._source.format != TAR:
            with self._flat(is_flat=True) as stream:
                yield stream, Rules(wraps=False, is_flat=True, keeps_xattrs=keeps)
            return
        with self._opened() as raw:
            rules = Rules(wraps=True, is_flat=False, keeps_xattrs=keeps)
            yield open_decompressed(raw), rules

    @contextmanager
    def _flat(self, *, is_flat: bool, latest: int | None = None) -> Iterator[BinaryIO]:
        """Give the source as a tar in normal form, which begins with its root.

        ``is_flat`` says that its reader knows no whiteouts, and ``latest`` is as in ``Flow``.
        """
        write, keep = self._writer()
        try:
            with produced(write, self._flow(is_flat, latest), self._warn, keep) as stream:
                yield stream
        finally:
            for fd in keep:
                os.close(fd)

    def _writer(self) -> tuple[Callable[[TarWriter], None], Sequence[int]]:
        """Return the function that writes the source, and the descriptors that it uses."""
        source = self._source
        if source.format == DIRECTORY:
            path = os.path.abspath(os.fsencode(source.text))
            foreign = foreign_owners(path)
            guessed = os.geteuid() != 0
            return (lambda out: write_directory(out, path, foreign, guessed=guessed)), ()
        if source.format in (SQUASH, SIF):
            from sundog.image.convert.from_squash import read_squash  # noqa: PLC0415 - seldom needed
            from sundog.runtime.squashfs.sif import squashfs_place  # noqa: PLC0415

            fd = os.open(source.text, os.O_RDONLY | os.O_CLOEXEC)
            offset = squashfs_place(fd, os.fsencode(source.text)) if source.format == SIF else 0
            return (lambda out: read_squash(out, fd, offset)), (fd,)
        if source.format == TAR and not source.is_stream and os.path.isfile(source.text):
            fd = os.open(source.text, os.O_RDONLY | os.O_CLOEXEC)
            with open(fd, "rb", buffering=0, closefd=False) as raw:
                found = self._survey(raw)
            if found.is_normal:
                return (lambda out: _write_tar(out, fd, found)), (fd,)
            os.close(fd)
        layers, added = self._layers_and_added()
        return (lambda out: write_layers(out, [LayerTree.read(x) for x in layers], added)), ()

    def _flow(self, is_flat: bool, latest: int | None = None) -> Flow:
        return Flow(self._options.packing.epoch, self._options.keeps_xattrs, is_flat, latest)

    def _layers_and_added(self) -> tuple[Sequence[LayerPath], Added]:
        """Return the layers of ``_image_anywhere``, and what its configuration adds to them.

        Marks of the layers become a list of files.
        """
        image = self._image_anywhere
        layers = self._store_of_image().layers.paths(image.layers)
        added: dict[bytes, bytes | None] = {}
        if self._has_layers:
            trees = [LayerTree.read(layer) for layer in layers]
            added = own_files(image.config)
            if self._target.format == ENROOT:
                added |= enroot_files(image.config, trees)
            guesses = guesses_of_image(trees)
            if guesses is None and was_unrecorded(image.config):
                guesses = LOST_GUESSES
            if guesses is not None:
                added[GUESSES] = guesses
        return layers, added

    @property
    def _has_layers(self) -> bool:
        """Tell whether the source is an image of layers, with its configuration in another file."""
        return self._source.format in LAYERED

    def _warn(self, text: str) -> None:
        self._progress.report.warning(text)

    def _survey(self, raw: BinaryIO) -> Survey:
        self._info("analyzing ...")
        return survey(raw)

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        file = 0 if self._source.is_stream else self._source.text
        with open(file, "rb", buffering=0, closefd=file != 0) as raw:
            yield cast("BinaryIO", raw)

    # Sinks

    @contextmanager
    def _stage(self, verb: str) -> Iterator[Transfer]:
        """Show a stage.  Enter this before ``_flat``: it may fork the store's worker.

        Otherwise the worker would keep the pipe of ``_flat`` open, and the process that writes into
        it would not see that nobody reads any more.
        """
        total = None
        if self._image is not None:
            total = self._store.images.size(self._image)
        transfer = self._progress.stage(verb, total)
        try:
            yield transfer
        finally:
            transfer.end()

    def _to_storage(self) -> None:
        store, target = self._store, self._target
        image = self._image_in(store)
        origin = f"ch-convert {self._source.text}"
        named = replace(
            image, reference=canonical_name(target.text), typed=target.text, origin=origin
        )
        store.images.put(named)

    def _to_directory(self) -> None:
        with self._stage("unpacking") as transfer, self._unpackable() as (stream, rules):
            to_directory(stream, self._target.text, rules, transfer)

    def _to_squash(self) -> None:
        maker = self._maker
        assert maker is not None
        with self._stage("packing") as transfer:
            image, flow = self._mountable(), self._flow(is_flat=True)
            with squash_output(self._target.text) as output:
                if image and squash_mounted(
                    image, flow, output, maker, transfer=transfer, warn=self._warn
                ):
                    return
                with self._flat(is_flat=True, latest=LATEST) as stream:
                    write_squash(stream, output, maker, transfer)

    def _mountable(self) -> StackedImage | None:
        """Return the source if it is an image of layers that can be mounted."""
        if not self._has_layers:
            return None
        root = mountable_root(self._store_of_image(), self._image_anywhere.layers)
        return StackedImage(root, *self._layers_and_added()) if root else None

    def _to_tar(self) -> None:
        with self._stage("packing") as transfer, self._flat(is_flat=False) as stream:
            if self._target.is_stream:
                with open(1, "wb", buffering=0, closefd=False) as out:
                    self._compress(stream, out, transfer)
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
        image = self._image_anywhere
        image = self._named(image, target.tag)
        if target.format == OCI_DIRECTORY:
            with output_directory(target.text) as draft:
                self._save(image, os.fsdecode(draft))
        elif target.is_stream:
            self._save(image, sys.stdout.buffer)
        else:
            self._save(image, target.text)

    def _to_engine(self) -> None:
        image = self._image_anywhere
        named = replace(image, reference=canonical_name(self._target.text))
        self._info("importing ...")
        with ENGINES[self._target.format].loading() as out:
            self._save(named, out, DOCKER_ARCHIVE)

    def _named(self, image: Image, tag: str) -> Image:
        """Give an image the name that it gets in an archive."""
        if tag:
            name = canonical_name(tag if "/" in tag or ":" in tag else f"image:{tag}")
        else:
            name = image.reference or canonical_name(_name_of(self._source.text))
        return replace(image, reference=name, typed=image.typed or self._source.text)

    def _save(self, image: Image, out: str | BinaryIO, form: str = "") -> None:
        save(
            self._store_of_image(),
            [image],
            out,
            form or self._target.format,
            packing=self._options.packing,
            report=self._progress.report,
        )


def _write_tar(out: TarWriter, fd: int, found: Survey) -> None:
    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd, "rb", buffering=0, closefd=False) as raw:
        write_normal(out, raw, found)


def _name_of(text: str) -> str:
    """Return a name for the image that came from the path ``text``."""
    stem = os.path.basename(os.path.abspath(text)).partition(".")[0].lower()
    kept = "".join(c for c in stem if c.isascii() and (c.isalnum() or c in "-_")).strip("-_")
    return kept or "image"
