"""Checks that ``ch-convert`` makes before it begins: a missing input, an output in the way."""

from __future__ import annotations

import os
import sys

from sundog.base.record.directory import OWN_RECORDS
from sundog.errors import SundogError, UsageError
from sundog.image.convert.engines import ENGINES
from sundog.image.convert.formats import (
    CH_IMAGE,
    DIRECTORY,
    LAYERED,
    OCI_DIRECTORY,
    SANDBOX,
    SIF,
    Place,
)
from sundog.image.sif.inspection import has_metadata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.image.convert.engines import Engine
    from sundog.image.convert.source import Source

# A directory with all of these looks like an image.
_USUAL = ("bin", "dev", "usr")
_LAYOUT = "oci-layout"
_METADATA = ".singularity.d"


def check_input(source: Place) -> None:
    """Raise SundogError if the input is not there; storage is checked elsewhere."""
    if source.format in ENGINES:
        engine = _engine(source)
        if not engine.has(source.text):
            raise SundogError(f"source not found in {engine.title} storage: {source.text}")
    elif source.format in (DIRECTORY, OCI_DIRECTORY):
        if not os.path.isdir(source.text):
            raise SundogError(f"not a directory: {source.text}")
    elif source.format != CH_IMAGE and not source.is_stream and not os.path.exists(source.text):
        raise SundogError(f"not found: {source.text}")


def check_output(
    source: Place, target: Place, *, clobbers: bool, info: Callable[[str], None]
) -> None:
    """Raise SundogError if the output is in the way or can't be made; storage is checked elsewhere.

    Raises UsageError if both formats are the same, and not SIF: that gets a new head.
    """
    if source.format == target.format != SIF:
        raise UsageError(
            "input and output formats must be different",
            "the name decides; -i FMT and -o FMT decide otherwise, such as -o dir",
        )
    if target.is_stream:
        if sys.stdout.isatty():
            raise UsageError("standard output is a terminal", "name a file, or redirect it")
        return
    if target.format == CH_IMAGE:
        return
    if target.format in ENGINES:
        engine = _engine(target)
        if not clobbers and engine.has(target.text):
            raise SundogError(
                f"exists in {engine.title} storage, not deleting per --no-clobber: {target.text}"
            )
        return
    _check_path(source, target, clobbers=clobbers, info=info)


def check_arch(source: Source, target: Place) -> None:
    """Raise UsageError if --arch would have no effect: nothing is chosen, and OUT says none."""
    if source.has_layers or target.format in LAYERED:
        return
    if target.format != SIF:
        raise UsageError(
            f"--arch: format {target.format} has no architecture: {target.text}",
            "leave it out; ch-image import --arch says it when OUT becomes an image",
        )
    with source.files() as files:
        if files is not None and has_metadata(files):
            raise UsageError(
                f"--arch: the labels of {source.place.text} say its architecture", "leave it out"
            )


def check_xattrs(source: Place, target: Place) -> None:
    """Raise UsageError if --no-xattrs would have no effect: layers go on as they are."""
    if source.format in LAYERED and target.format in LAYERED:
        raise UsageError(
            f"--no-xattrs: from {source.format} to {target.format}, layers stay as they are",
            f"drop them on the way: ch-convert --no-xattrs {source.text} X.tar, and X.tar to OUT",
        )


def _engine(place: Place) -> Engine:
    engine = ENGINES[place.format]
    if not engine.is_here:
        raise UsageError(
            f"format {place.format} invalid: {place.format} not found",
            f"docker-archive:FILE is what `{place.format} save -o FILE NAME` writes elsewhere, and"
            f" what `{place.format} load` reads",
        )
    return engine


_OTHER_NAME = "remove it, or name another output; -o chooses the format"


def _check_path(
    source: Place, target: Place, *, clobbers: bool, info: Callable[[str], None]
) -> None:
    path = target.text
    parent = os.path.dirname(os.path.abspath(path))
    if not path or not os.path.isdir(parent):
        raise SundogError(f"not a directory: {parent}", "make it first")
    if source.format in (DIRECTORY, OCI_DIRECTORY) and not source.is_stream:
        inside = os.path.commonpath([os.path.realpath(source.text), os.path.realpath(path)])
        if inside == os.path.realpath(source.text):
            raise SundogError(f"the output is inside of the input: {path}", "write it elsewhere")
    wants_directory = target.format in (DIRECTORY, OCI_DIRECTORY, SANDBOX)
    if not os.path.lexists(path):
        return
    if wants_directory:
        if not os.path.isdir(path) or os.path.islink(path.rstrip("/")):
            raise SundogError(f"exists but not a directory: {path}", _OTHER_NAME)
        if not os.listdir(path):
            info(f"using empty directory: {path}")
            return
        if not _looks_like_one(target):
            raise SundogError(
                f"exists but does not appear to be an image and is not empty: {path}",
                "it is not replaced, because its files may be needed: remove it, or name a new one",
            )
    elif os.path.isdir(path):
        raise SundogError(f"exists but is a directory: {path}", _OTHER_NAME)
    if not clobbers:
        raise SundogError(
            f"exists, not deleting per --no-clobber: {path}",
            "name another output, or leave out --no-clobber to replace it",
        )
    if wants_directory:
        info(f"deleting existing image: {path}")


def _looks_like_one(target: Place) -> bool:
    if target.format == OCI_DIRECTORY:
        return os.path.exists(os.path.join(target.text, _LAYOUT))
    if target.format == SANDBOX and os.path.isdir(os.path.join(target.text, _METADATA)):
        return True
    if os.path.isfile(os.path.join(os.fsencode(target.text), OWN_RECORDS)):
        return True  # an image without these made it
    return all(os.path.isdir(os.path.join(target.text, name)) for name in _USUAL)
