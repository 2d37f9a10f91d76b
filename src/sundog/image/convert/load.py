"""Load: the images of an archive or a layout into the store.

All layers of all images are in the store before the first image gets its name.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass

from sundog.base.record.names import canonical_name
from sundog.errors import (
    ArchiveError,
    ContentMismatch,
    DigestSyntaxError,
    DocumentError,
    PlatformUnavailable,
    ReferenceSyntaxError,
    RegistryError,
    SundogError,
    UsageError,
)
from sundog.image.convert import docker_archive, oci_layout
from sundog.image.convert.archived import load_layers
from sundog.image.convert.members import ArchiveMembers, DirectoryMembers
from sundog.image.oci.platform import Platform
from sundog.image.oci.reference import Reference
from sundog.image.store.image_files import Image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    from sundog.image.convert.archived import ArchivedImage, ArchivedLayer
    from sundog.image.convert.members import Members
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Report

    BringLayers = Callable[[Store, Members, Sequence[ArchivedLayer], Report], list[str]]

STANDARD_INPUT = "-"
_HINT = "give a complete OCI layout (a directory or a tar), or an archive of docker save"
# Errors that a layout or an archive causes.
FAULTS = (
    ArchiveError,
    DocumentError,
    ContentMismatch,
    DigestSyntaxError,
    PlatformUnavailable,
    ReferenceSyntaxError,
    RegistryError,
)


def load(
    store: Store, source: str, name: str | None, *, platform: Platform | None, report: Report
) -> list[Image]:
    """Load the images in ``source``, an archive, a layout's directory or ``-``; return them.

    ``name`` replaces the name of a single image.  An image for several platforms is loaded for all
    of them, or only for ``platform``.  Raises ArchiveError if the archive is wrong,
    UsageError if the names do not fit; then the store has no new image.
    """
    store.hold()
    try:
        members = open_members(store, source)
        images = _read(members, platform)
    except FAULTS as error:
        raise _failed(source, error) from error
    return load_images(store, source, members, images, name, report=report)


def load_images(
    store: Store,
    source: str,
    members: Members,
    images: Sequence[ArchivedImage],
    name: str | None = None,
    *,
    report: Report,
) -> list[Image]:
    """Load ``images``, which are in ``members``, as ``load`` does, and raise as it."""
    count = len({image.documents[0][0] if image.documents else id(image) for image in images})
    names = [_names(source, image, name, count) for image in images]
    for text in (text for own in names for text in own):
        canonical_name(text)  # refuse a bad name before the work
    loaded = []
    for image, own in zip(images, names, strict=True):
        platforms = f" ({_platform(image)})" if len(images) > count else ""
        report.info(f"loading image:   {' '.join(own)}{platforms}")
        try:
            layers = load_layers(store, members, image.layers, report)
        except FAULTS as error:
            raise _failed(source, error) from error
        for digest, content in image.documents:
            store.blobs.put(content, digest)
        blobs = tuple(str(digest) for digest, _ in image.documents)
        loaded += [
            Image(canonical_name(text), text, image.config, tuple(layers), f"load {source}", blobs)
            for text in own
        ]
    store.images.put(*loaded)
    return loaded


def load_one(
    store: Store,
    source: str | BinaryIO,
    what: str,
    tag: str,
    *,
    platform: Platform | None,
    report: Report,
) -> Image:
    """Load one image of an archive, a layout's directory, ``-`` or a stream; give it no name.

    ``what`` names the source in messages.  Without ``tag``, there has to be only one.  If it is for
    several platforms, None stands for this machine's.  Raises ArchiveError.
    """
    chosen = platform or Platform.of_host()
    found = FoundImage.find(store, source, what, tag, platform=chosen)
    there = _platform(found.image)
    if platform is not None and there not in platform.runnable():
        raise ArchiveError(
            f"can't read {what}: requested arch unavailable: {platform}", f"available: {there}"
        )
    return found.load(report)


@dataclass(frozen=True, slots=True)
class FoundImage:
    """One image of an archive or a layout, read except for its layers."""

    store: Store
    members: Members
    image: ArchivedImage
    what: str

    @classmethod
    def find(
        cls, store: Store, source: str | BinaryIO, what: str, tag: str, *, platform: Platform
    ) -> FoundImage:
        """Find the image, see ``load_one``.  Raises ArchiveError."""
        store.hold()
        with _faults(what):
            if isinstance(source, str):
                members = open_members(store, source)
            else:
                members = ArchiveMembers.read(store, source, what)
            if members.has(oci_layout.LAYOUT):
                image = oci_layout.read_named(members, platform, tag)
            else:
                image = _one(_read(members, platform), tag)
            return cls(store, members, image, what)

    def load(self, report: Report, bring: BringLayers = load_layers) -> Image:
        """Bring the image into the store, and give it no name; ``bring`` does so with its layers.

        Raises ArchiveError.
        """
        image = self.image
        with _faults(self.what):
            layers = bring(self.store, self.members, image.layers, report)
        for digest, content in image.documents:
            self.store.blobs.put(content, digest)
        blobs = tuple(str(digest) for digest, _ in image.documents)
        return Image("", "", image.config, tuple(layers), "", blobs)


@contextmanager
def _faults(what: str) -> Iterator[None]:
    """Turn what is wrong with the source ``what`` into an ArchiveError."""
    try:
        yield
    except FAULTS as error:
        raise ArchiveError(f"can't read {what}: {error.message}", error.hint or _HINT) from error


def _one(images: Sequence[ArchivedImage], tag: str) -> ArchivedImage:
    """Return the image with the name or the tag ``tag``, or else the only one."""
    names = [name for image in images for name in image.names]
    texts = ", ".join(Reference.parse(name).familiar for name in names) or "without names"
    if not tag:
        if len(images) == 1:
            return images[0]
        raise ArchiveError(
            f"it holds {len(images)} images: {texts}", "name one: docker-archive:PATH:TAG"
        )
    for image in images:
        for name in image.names:
            if tag in (name, Reference.parse(name).familiar, Reference.parse(name).tag):
                return image
    raise ArchiveError(f"it holds no image {tag}", f"it holds: {texts}")


def open_members(store: Store, source: str) -> Members:
    """Return the files of an archive, a layout's directory or ``-``; raise SundogError."""
    if source == STANDARD_INPUT:
        return ArchiveMembers.read(store, sys.stdin.buffer, "standard input")
    path = os.path.abspath(os.fsencode(source))
    try:
        if os.path.isdir(path):
            return DirectoryMembers(source, path)
        raw = open(path, "rb", buffering=0)  # noqa: SIM115 - closed below
    except OSError as error:
        raise SundogError(f"can't load {source}: {(error.strerror or '').lower()}") from error
    with raw:
        return ArchiveMembers.read(store, raw, source)


def _platform(image: ArchivedImage) -> Platform:
    return Image("", "", image.config, ()).platform


def _read(members: Members, platform: Platform | None) -> list[ArchivedImage]:
    if members.has(oci_layout.LAYOUT):
        images = oci_layout.read_layout(members, platform)
    elif members.has(docker_archive.MANIFEST):
        images = docker_archive.read_archive(members)
    else:
        raise ArchiveError(
            "neither an OCI layout nor an archive of docker save",
            "ch-image import reads a tar of a root file system",
        )
    members.meter.check_images(sum(len(image.names) for image in images))
    if not images:
        raise ArchiveError("it contains no image")
    return images


def _names(source: str, image: ArchivedImage, name: str | None, count: int) -> Sequence[str]:
    if name is not None:
        if count > 1:
            raise UsageError(
                f"{source} holds {count} images, and one name was given",
                "leave out the name: the images have their own",
            )
        return (name,)
    if not image.names:
        raise UsageError(
            f"{source} does not name {'its image' if count == 1 else 'all its images'}",
            f"ch-image load {source} NAME",
        )
    return [Reference.parse(name).familiar for name in image.names]


def _failed(source: str, error: SundogError) -> ArchiveError:
    return ArchiveError(f"can't load {source}: {error.message}", error.hint or _HINT)
