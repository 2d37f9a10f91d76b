"""``build-cache --export`` and ``--import``: results of builds in one file, without a network.

The file is a tar of an OCI layout with an entry for each result, as in a shared cache, and with the
images that the stages began from.  What is taken from one stays in ``imported/`` of the storage
directory, a layout, which each build asks like a shared cache.

Specification: OCI image-spec v1.1, image-layout.md.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain

from sundog.errors import (
    ArchiveError,
    BuildError,
    NotInStorage,
    ReferenceSyntaxError,
    StoreError,
)
from sundog.image.builder.explanation import LastBuild
from sundog.image.builder.keys import is_promised, portable_digest
from sundog.image.builder.retry import COMMENT, note_digest
from sundog.image.builder.shared.directory_place import DirectoryPlace
from sundog.image.builder.shared.entry import (
    CONFIG_LIMIT,
    EMPTY_BLOB,
    EMPTY_LAYER,
    Result,
    entry_documents,
    read_entry,
    read_manifest,
)
from sundog.image.convert.load import FAULTS, load_images, open_members
from sundog.image.convert.members import read_member
from sundog.image.convert.oci_layout import (
    CACHE_KEY,
    REF_NAME,
    blob_name,
    is_image,
    read_index,
    read_layout,
)
from sundog.image.convert.save import ArchiveWriter, opened_output, write_images
from sundog.image.oci.manifest import MANIFEST_SIZE_LIMIT
from sundog.image.oci.platform import Platform
from sundog.image.transfer.packing import pack, warn_of_layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from sundog.image.builder.explanation import StageRecord
    from sundog.image.convert.members import Members
    from sundog.image.oci.descriptor import Descriptor
    from sundog.image.store.image_files import Image
    from sundog.image.store.store import Store
    from sundog.image.transfer.packing import Packing
    from sundog.image.transfer.report import Report, WatchingReport

_ARCHIVE = "oci-archive"


@dataclass(frozen=True, slots=True)
class Exported:
    """Counts of an export: results in it, and results whose layers are not in storage."""

    results: int
    missing: int


def export_cache(
    store: Store,
    destination: str | BinaryIO,
    names: Sequence[str],
    stages: Sequence[str],
    *,
    packing: Packing,
    report: WatchingReport,
) -> Exported:
    """Write the results of the last builds of images, by default of all, as an archive.

    ``stages`` are the names or numbers of their stages, by default all.  Raises NotInStorage, and
    BuildError if there is no such result.
    """
    store.hold()
    images = [store.images.get(name) for name in names] if names else store.images.list()
    found = [stage for image in images for stage in _stages(store, image, is_named=bool(names))]
    if stages:
        found = [stage for stage in found if stage.name in stages]
    with opened_output(destination) as out:
        export = _Export(store, packing, report, ArchiveWriter(out, packing.epoch))
        for stage in found:
            export.add(stage)
        if not export.entries:
            raise BuildError(
                "no results to export",
                "build an image first; this writes the results of the last builds of images",
            )
        export.finish(_bases(store, found, report))
    return Exported(len(export.entries), export.missing)


def _stages(store: Store, image: Image, *, is_named: bool) -> Sequence[StageRecord]:
    last = LastBuild.of(store, [image.reference]).stages
    if last is None and is_named:
        raise BuildError(f"nothing is known of a build of {image.typed}", "build it, then export")
    return [*(last or {}).values()]


def _bases(store: Store, stages: Sequence[StageRecord], report: Report) -> Sequence[Image]:
    """Return the images that the stages began from, as far as they are here."""
    bases: dict[str, Image] = {}
    for stage in stages:
        if not stage.image:
            continue
        try:
            image = store.images.get(stage.image)
        except (NotInStorage, StoreError, ReferenceSyntaxError):
            image = None
        if image is None or image.layers != stage.layers:
            report.warning(f"not in storage any more, so not exported: {stage.image}")
        else:
            bases[image.reference] = image
    return [*bases.values()]


class _Export:
    """An archive on its way: its ``entries`` so far, and how many results were ``missing``."""

    def __init__(
        self, store: Store, packing: Packing, report: WatchingReport, writer: ArchiveWriter
    ) -> None:
        self.entries: dict[str, Descriptor] = {}
        self.missing = 0
        self._store = store
        self._packing = packing
        self._report = report
        self._writer = writer
        self._written: set[str] = set()

    def add(self, stage: StageRecord) -> None:
        """Write the results of a stage."""
        layers = stage.layers
        for step in stage.steps:
            above = (*layers, step.layer) if step.layer else layers
            stacks = [layers if step.is_above else (), *step.stacks]
            if self._is_here(step.layer) and all(map(self._has_name, chain(*stacks))):
                named = [[*map(self._portable_id, stack)] for stack in stacks]
                key = portable_digest(step.template, named, stage.platform)
                result = Result(key, step.layer or None, step.text, Platform.parse(stage.platform))
                if key not in self.entries:
                    self._write(result)
                if step.tried:
                    note = note_digest(portable_digest(step.tried, named, stage.platform))
                    self._write(replace(result, key=note, layer=None, text=COMMENT))
            else:
                self.missing += 1
            layers = above

    def finish(self, bases: Sequence[Image]) -> None:
        """Write the bases, the index, and the end of the archive."""
        write_images(
            self._store,
            bases,
            self._writer,
            _ARCHIVE,
            packing=self._packing,
            report=self._report,
            more=[*self.entries.values()],
        )
        self._writer.close()

    def _is_here(self, layer: str) -> bool:
        return not layer or (not is_promised(layer) and self._store.layers.exists(layer))

    def _has_name(self, layer: str) -> bool:
        return is_promised(layer) or self._store.layers.exists(layer)

    def _portable_id(self, layer: str) -> str:
        return layer if is_promised(layer) else self._store.layers.portable_id(layer)

    def _write(self, result: Result) -> None:
        store, blob, guessed = self._store, EMPTY_BLOB, False
        if result.layer is None:
            self._put(EMPTY_BLOB.descriptor, EMPTY_LAYER)
        else:
            warn_of_layer(store, result.layer, result.text, self._report.warning)
            packed = pack(store, result.layer, self._packing)
            try:
                described = packed.blob.descriptor
                if str(described.digest) not in self._written:
                    self._written.add(str(described.digest))
                    self._writer.put_file(blob_name(described.digest), packed.path, described.size)
            finally:
                packed.discard(store)
            blob, guessed = packed.blob, store.layers.info(result.layer).guessed
        leaving = entry_documents(result, blob, guessed=guessed)
        self._put(leaving.manifest.config, leaving.config)
        self._put(leaving.descriptor, leaving.content)
        annotations = {REF_NAME: result.key, CACHE_KEY: result.key}
        self.entries[result.key] = replace(leaving.descriptor, annotations=annotations)

    def _put(self, descriptor: Descriptor, content: bytes) -> None:
        if str(descriptor.digest) not in self._written:
            self._written.add(str(descriptor.digest))
            self._writer.put(blob_name(descriptor.digest), content)


def import_cache(store: Store, source: str, *, platform: Platform, report: Report) -> int:
    """Take over the results in an archive, a layout's directory or ``-``; return their number.

    Images in it that storage lacks are loaded.  Raises ArchiveError if the archive is wrong; then
    nothing of it can be found.
    """
    store.hold()
    try:
        members = open_members(store, source)
        index = read_index(members)
        found = {
            entry.annotations[CACHE_KEY]: entry
            for entry in index.manifests
            if CACHE_KEY in entry.annotations
        }
        if not found:
            raise ArchiveError("it contains no results of builds")
        blobs = [each for key, entry in found.items() for each in _checked(members, key, entry)]
        bases = []
        if any(map(is_image, index.manifests)):
            bases = read_layout(members, platform)
        with store.faults:
            opened = ((each, _opened(members, each)) for each in blobs)
            DirectoryPlace.imported(store, report.warning).take(found, opened)
    except FAULTS as error:
        hint = error.hint or "give a file of ch-image build-cache --export"
        raise ArchiveError(f"can't import {source}: {error.message}", hint) from error
    lacking = []
    for base in bases:
        names = tuple(name for name in base.names if not _has(store, name))
        for name in base.names:
            if name not in names:
                report.info(f"in storage already: {name}")
        if names:
            lacking.append(replace(base, names=names))
    load_images(store, source, members, lacking, report=report)
    return len(found)


def _has(store: Store, name: str) -> bool:
    with suppress(NotInStorage):
        store.images.get(name)
        return True
    return False


def _checked(members: Members, key: str, entry: Descriptor) -> Iterator[Descriptor]:
    """Yield the descriptors of an entry's blobs; raise DocumentError if it is none."""
    content = read_member(members, blob_name(entry.digest), MANIFEST_SIZE_LIMIT, entry)
    manifest = read_manifest(key, content, entry.media_type)
    config = read_member(members, blob_name(manifest.config.digest), CONFIG_LIMIT, manifest.config)
    read_entry(key, manifest, config)
    yield from (manifest.layers[0], manifest.config, entry)


def _opened(members: Members, described: Descriptor) -> BinaryIO:
    return open(members.open(blob_name(described.digest)), "rb", buffering=0)
