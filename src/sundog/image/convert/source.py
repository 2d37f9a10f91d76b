"""The source of a conversion: as a tar of the whole image, or as an image in a store."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import cached_property
from typing import BinaryIO, cast

from sundog.base.kernel.files import Closing
from sundog.errors import NotInStorage
from sundog.image.convert.adopt import stored_or_shared
from sundog.image.convert.engines import ENGINES
from sundog.image.convert.enroot_files import enroot_files
from sundog.image.convert.flow import Flow, produced
from sundog.image.convert.formats import (
    ARCHIVES,
    BOOTSTRAPS,
    CH_IMAGE,
    DIRECTORY,
    ENGINE_FORMATS,
    ENROOT,
    LAYERED,
    SANDBOX,
    SIF,
    SQUASH,
    TAR,
    Place,
)
from sundog.image.convert.load import load_one
from sundog.image.convert.normal_tar import Survey, survey, write_normal
from sundog.image.convert.own_files import files_of_config
from sundog.image.convert.sif_file import sif_additions
from sundog.image.convert.temporary import TemporaryStore
from sundog.image.convert.unpacking import Rules, to_store
from sundog.image.layer.below import LayerTree
from sundog.image.layer.compression import open_decompressed
from sundog.image.layer.flat_tar import write_directory, write_layers
from sundog.image.layer.import_directory import foreign_owners
from sundog.image.oci.timestamps import timestamp
from sundog.image.sif.metadata import Metadata
from sundog.image.store.store import Store
from sundog.runtime.container.image_files import DirectoryFiles
from sundog.runtime.container.squashfs_files import SquashfsFiles
from sundog.runtime.squashfs.image import SquashfsImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import ExitStack

    from sundog.base.record.layer_path import LayerPath
    from sundog.image.convert.options import Options, Progress
    from sundog.image.layer.tar_writer import TarWriter
    from sundog.image.layer.whole_image import Added, Addition
    from sundog.image.store.image_files import Image
    from sundog.image.transfer.report import Transfer
    from sundog.runtime.container.image_files import ImageFiles


class Source:
    """The image at a ``place``; ``stack`` closes what it opens.

    ``target`` is the format that it is to become.
    """

    def __init__(
        self,
        place: Place,
        options: Options,
        progress: Progress,
        stack: ExitStack,
        *,
        target: str,
        stored: tuple[Store, Image] | None = None,
    ) -> None:
        """Find the image, if it is one in storage.  Raises NotInStorage.

        ``stored`` is an image without a name in an open store: it is the source, and ``place`` says
        what to call it.
        """
        self.place = place
        self._options = options
        self._progress = progress
        self._stack = stack
        self._target = target
        self._open = stored[0] if stored else None
        self._given = stored[1] if stored else None
        if stored is None and place.format == CH_IMAGE:
            self._given = self._stored(place.text)

    def info(self, text: str) -> None:
        """Tell the user how far the conversion is."""
        self._progress.report.info(text)

    def warn(self, text: str) -> None:
        """Warn the user."""
        self._progress.report.warning(text)

    def _stored(self, name: str) -> Image:
        shared, report = self._options.shared, self._progress.report
        try:
            if shared is not None:
                return stored_or_shared(self.store, name, shared, report, self._options.platform)
            return self.store.images.get(name, self._options.platform)
        except NotInStorage as error:
            hint = f"./{name} is here: write ./{name} to convert it" if os.path.exists(name) else ""
            raise NotInStorage(
                f"source image not found in ch-image storage: {name}", hint or error.hint
            ) from None

    @cached_property
    def store(self) -> Store:
        """The user's storage directory."""
        return self._open or self._stack.enter_context(
            Store.open(self._options.storage, tell=self._progress.report.info)
        )

    @cached_property
    def _scratch(self) -> Store:
        """A storage directory for this conversion alone, for what can't stream."""
        place = TemporaryStore(self._options.temporary, self._options.storage)
        return self._stack.enter_context(place)

    @property
    def has_layers(self) -> bool:
        """Tell whether the source is an image of layers, with its configuration in another file."""
        return self.place.format in LAYERED

    @cached_property
    def image(self) -> Image:
        """The source as an image, in ``store_of_image``."""
        return self._given or self.image_in(self._scratch, stays=False)

    def store_of_image(self) -> Store:
        """Return the store that has ``image``."""
        return self.store if self._given is not None else self._scratch

    def image_in(self, store: Store, *, stays: bool = True) -> Image:
        """Bring the source into ``store`` as an image without a name."""
        if self.place.format in (*ARCHIVES, *ENGINE_FORMATS):
            return self._loaded(store)
        epoch = self._options.packing.epoch
        # Only an image that stays has the present time.
        created = "" if epoch is None and not stays else timestamp(epoch)
        with self.unpackable() as (stream, rules), self.stage("importing") as transfer:
            chosen = self._options.platform
            return to_store(
                store, stream, rules, created, transfer, platform=chosen, warn=self.warn
            )

    def _loaded(self, store: Store) -> Image:
        """Bring an image of an archive or an engine into ``store``."""
        source, report = self.place, self._progress.report
        platform = self._options.platform
        if source.format in ENGINES:
            self.info("exporting ...")
            with ENGINES[source.format].saved(source.text) as stream:
                what = f"{source.format} save {source.text}"
                return load_one(store, stream, what, "", platform=platform, report=report)
        self.info("importing ...")
        return load_one(
            store, source.text, source.text, source.tag, platform=platform, report=report
        )

    @contextmanager
    def stage(self, verb: str) -> Iterator[Transfer]:
        """Show a stage.  Enter this before ``flat``: it may fork the store's worker.

        Otherwise the worker would keep the pipe of ``flat`` open, and the process that writes into
        it would not see that nobody reads any more.
        """
        total = None
        if self._given is not None:
            total = self.store.images.size(self._given)
        transfer = self._progress.stage(verb, total)
        try:
            yield transfer
        finally:
            transfer.end()

    @contextmanager
    def unpackable(self) -> Iterator[tuple[BinaryIO, Rules]]:
        """Give the source as a tar that is about to be unpacked."""
        keeps = self._options.keeps_xattrs
        if self.place.format != TAR:
            with self.flat(is_flat=True) as stream:
                yield stream, Rules(wraps=False, is_flat=True, keeps_xattrs=keeps)
            return
        with self._opened() as raw:
            rules = Rules(wraps=True, is_flat=False, keeps_xattrs=keeps)
            yield open_decompressed(raw), rules

    @contextmanager
    def flat(self, *, is_flat: bool, latest: int | None = None) -> Iterator[BinaryIO]:
        """Give the source as a tar in normal form, which begins with its root.

        ``is_flat`` says that its reader knows no whiteouts, and ``latest`` is as in ``Flow``.
        """
        write, keep, trees = self._writer()
        try:
            flow = self.flow(is_flat, latest)
            with produced(write, flow, self.warn, keep, trees=trees) as stream:
                yield stream
        finally:
            for fd in keep:
                os.close(fd)

    def _writer(self) -> tuple[Callable[[TarWriter], None], Sequence[int], Sequence[bytes]]:
        """Return the function that writes the source, and the descriptors and trees it uses."""
        source = self.place
        if source.format == DIRECTORY:
            path = os.path.abspath(os.fsencode(source.text))
            foreign = foreign_owners(path)
            guessed = os.geteuid() != 0
            return (lambda out: write_directory(out, path, foreign, guessed=guessed)), (), ()
        if source.format in (SQUASH, SIF):
            from sundog.image.convert.from_squash import read_squash  # noqa: PLC0415 - seldom needed

            fd, offset = self._opened_squash()
            return (lambda out: read_squash(out, fd, offset)), (fd,), ()
        if source.format == TAR and not source.is_stream and os.path.isfile(source.text):
            fd = os.open(source.text, os.O_RDONLY | os.O_CLOEXEC)
            with open(fd, "rb", buffering=0, closefd=False) as raw:
                found = self._survey(raw)
            if found.is_normal:
                return (lambda out: _write_tar(out, fd, found)), (fd,), ()
            os.close(fd)
        layers, added = self.layers_and_added()
        trees = [layer.tree for layer in layers]
        return (
            lambda out: write_layers(out, [LayerTree.read(x) for x in layers], added),
            (),
            trees,
        )

    def _opened_squash(self) -> tuple[int, int]:
        """Return the descriptor of a file with SquashFS, and where that begins."""
        from sundog.runtime.squashfs.sif import squashfs_place  # noqa: PLC0415 - seldom needed

        fd = os.open(self.place.text, os.O_RDONLY | os.O_CLOEXEC)
        if self.place.format == SQUASH:
            return fd, 0
        return fd, squashfs_place(fd, os.fsencode(self.place.text))

    @contextmanager
    def squash(self) -> Iterator[tuple[int, int]]:
        """Give the file of a source that is SquashFS or a SIF, and where SquashFS begins in it."""
        fd, start = self._opened_squash()
        with Closing(fd):
            yield fd, start

    @contextmanager
    def files(self) -> Iterator[ImageFiles | None]:
        """Give the small files of a source that is a directory or has SquashFS; None for others."""
        if self.place.format == DIRECTORY:
            with Closing(os.open(self.place.text, os.O_PATH | os.O_DIRECTORY)) as root:
                yield DirectoryFiles(root)
        elif self.place.format in (SQUASH, SIF):
            with self.squash() as (fd, start):
                yield SquashfsFiles(SquashfsImage(fd, start))
        else:
            yield None

    @property
    def metadata(self) -> Metadata:
        """The data about ``image`` that Apptainer reads."""
        bootstrap = BOOTSTRAPS.get(self.place.format, "localimage")
        epoch = self._options.packing.epoch
        name = self.place.known_as or self.place.text
        return Metadata.of_config(self.image.config, bootstrap, name, epoch)

    def flow(self, is_flat: bool, latest: int | None = None) -> Flow:
        """Return the rules for a tar of the source; see ``flat``."""
        return Flow(self._options.packing.epoch, self._options.keeps_xattrs, is_flat, latest)

    def layers_and_added(self) -> tuple[Sequence[LayerPath], Added]:
        """Return the layers of ``image``, and what its configuration adds to them.

        Marks of the layers become a list of files.
        """
        image = self.image
        layers = self.store_of_image().layers.paths(image.layers)
        added: dict[bytes, Addition] = {}
        if self.has_layers:
            readable = self.store_of_image().layers.readable(image.layers)
            trees = [LayerTree.read(layer) for layer in readable]
            added = files_of_config(image.config, trees)
            if self._target == ENROOT:
                added |= enroot_files(image.config, trees)
            elif self._target == SANDBOX:
                added = sif_additions(self.store_of_image(), image, self.metadata)
        return layers, added

    def _survey(self, raw: BinaryIO) -> Survey:
        self.info("analyzing ...")
        return survey(raw)

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        file = 0 if self.place.is_stream else self.place.text
        with open(file, "rb", buffering=0, closefd=file != 0) as raw:
            yield cast("BinaryIO", raw)


def _write_tar(out: TarWriter, fd: int, found: Survey) -> None:
    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd, "rb", buffering=0, closefd=False) as raw:
        write_normal(out, raw, found)
