"""The formats of ``ch-convert``, and which of them a word on its command line means.

An option decides first, then a prefix such as ``oci-archive:``, then the name, and for an input
that exists, the content.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from sundog.base.record.magic import IMAGE_HEAD, SQUASHFS_IMAGE, image_kind
from sundog.errors import ArchiveError, UsageError
from sundog.image.layer.compression import open_decompressed
from sundog.image.layer.limits import Meter
from sundog.image.layer.tar import TarReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

CH_IMAGE, DIRECTORY, TAR, SQUASH, SIF = "ch-image", "dir", "tar", "squash", "sif"
OCI_ARCHIVE, OCI_DIRECTORY, DOCKER_ARCHIVE = "oci-archive", "oci-dir", "docker-archive"
DOCKER, PODMAN = "docker", "podman"
ENROOT = "enroot"  # a SquashFS file with files that Enroot reads
SANDBOX = "sandbox"  # a directory with files that Apptainer reads; no option names it
_BOTH = (
    *(CH_IMAGE, DIRECTORY, DOCKER, DOCKER_ARCHIVE),
    *(OCI_ARCHIVE, OCI_DIRECTORY, PODMAN, SQUASH, TAR),
)
INPUTS = (*_BOTH, SIF)
OUTPUTS = (*_BOTH, ENROOT, SIF)
SQUASHES = (SQUASH, ENROOT)
ARCHIVES = (OCI_ARCHIVE, OCI_DIRECTORY, DOCKER_ARCHIVE)
ENGINE_FORMATS = (DOCKER, PODMAN)
# Their images are made of layers, and have a configuration apart from their files.
LAYERED = (CH_IMAGE, *ARCHIVES, *ENGINE_FORMATS)
STANDARD_STREAM = "-"
# The words of a definition file for a source.
BOOTSTRAPS = {
    CH_IMAGE: "docker",
    OCI_ARCHIVE: "oci-archive",
    OCI_DIRECTORY: "oci",
    DOCKER_ARCHIVE: "docker-archive",
    DOCKER: "docker-daemon",
}

# The prefixes of skopeo and podman.
_PREFIXES = {
    "oci:": OCI_DIRECTORY,
    "oci-archive:": OCI_ARCHIVE,
    "docker-archive:": DOCKER_ARCHIVE,
    "docker-daemon:": DOCKER,
    "containers-storage:": PODMAN,
}
_PATTERNS: tuple[tuple[str, Sequence[str]], ...] = (
    (SQUASH, ("*.sqfs", "*.squash", "*.squashfs", "*.squishy", "*.sqsh")),
    (SIF, ("*.sif",)),
    (OCI_ARCHIVE, ("*.oci.tar", "*.oci.tar.*")),
    (DOCKER_ARCHIVE, ("*.docker.tar", "*.docker.tar.*")),
    (TAR, ("*.tar", "*.t?z", "*.tzst", "*.tbz2", "*.tar.?", "*.tar.??", "*.tar.???")),
    (DIRECTORY, ("/*", "./*", "../*", ".", "..")),
)
_LAYOUT = "oci-layout"
# The name of the first member of an archive of images.
_OCI_FIRST = re.compile(rb"(\./)?(blobs(/.*)?|oci-layout|index\.json)")
_DOCKER_FIRST = re.compile(rb"(\./)?(manifest\.json|repositories|[0-9a-f]{64}(\.json|\.tar|/.*)?)")

_COMPRESSIONS = {
    "none": ("*.tar", STANDARD_STREAM),
    "gzip": ("*.tar.gz", "*.tgz"),
    "zstd": ("*.tar.zst", "*.tzst"),
    "xz": ("*.tar.xz", "*.txz"),
    "bzip2": ("*.tar.bz2", "*.tbz", "*.tbz2"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """An input or output: its format, its path or name, and the tag of an image in it.

    ``known_as`` is the name that a definition file gives an input; "" stands for ``text``.
    """

    format: str
    text: str
    tag: str = ""
    known_as: str = ""

    @property
    def is_stream(self) -> bool:
        """Tell whether it is standard input or output."""
        return self.text == STANDARD_STREAM and self.format in (TAR, OCI_ARCHIVE, DOCKER_ARCHIVE)


def input_place(text: str, named: str | None) -> Place:
    """Return what ``text`` means as the input; ``named`` is the option's format.

    Raises UsageError.
    """
    place = _place(text, named, INPUTS)
    if named is None and not _has_prefix(text):
        return Place(_by_content(place), place.text, place.tag)
    return place


def output_place(text: str, named: str | None) -> Place:
    """Return what ``text`` means as the output, see ``input_place``."""
    return _place(text, named, OUTPUTS)


def compression(text: str) -> str:
    """Return the compression of a tar to be written, by its name; raise UsageError."""
    for name, patterns in _COMPRESSIONS.items():
        if any(fnmatchcase(text, pattern) for pattern in patterns):
            return name
    raise UsageError(
        f"unknown extension: {text}", "use .tar, .tar.gz, .tar.zst, .tar.xz or .tar.bz2"
    )


def _has_prefix(text: str) -> bool:
    return any(text.startswith(prefix) for prefix in _PREFIXES)


def _place(text: str, named: str | None, known: Sequence[str]) -> Place:
    if text.startswith("docker://"):
        raise UsageError(
            f"an image in a registry: {text}", "ch-image pull brings it into the storage directory"
        )
    if named is not None and named not in known:
        raise UsageError(f"invalid format: {named}", f"one of: {', '.join(known)}")
    for prefix, form in _PREFIXES.items():
        if text.startswith(prefix) and named in (None, form):
            rest = text.removeprefix(prefix)
            return _tagged(form, rest) if form in ARCHIVES else Place(form, rest)
    if named is not None:
        return Place(named, text)
    if text == STANDARD_STREAM:
        return Place(TAR, text)
    for form, patterns in _PATTERNS:
        if any(fnmatchcase(text, pattern) for pattern in patterns):
            return Place(form, text)
    return Place(CH_IMAGE, text)


def _tagged(form: str, text: str) -> Place:
    """Split PATH[:TAG]; a path that exists as it is has no tag."""
    path, colon, tag = text.partition(":")
    if colon and not os.path.lexists(text):
        return Place(form, path, tag)
    return Place(form, text)


def _by_content(place: Place) -> str:
    """Return the format of an input that exists, as its content says."""
    if place.format == CH_IMAGE or place.is_stream:
        return place.format
    if os.path.isdir(place.text):
        layout = os.path.join(place.text, _LAYOUT)
        return OCI_DIRECTORY if os.path.exists(layout) else DIRECTORY
    if not os.path.isfile(place.text):
        return place.format
    try:
        with open(place.text, "rb", buffering=0) as raw:
            kind = image_kind(raw.read(IMAGE_HEAD))
            if kind:
                return SQUASH if kind == SQUASHFS_IMAGE else SIF
            raw.seek(0)
            first = next(iter(TarReader(open_decompressed(raw, Meter()))))
    except (ArchiveError, OSError, StopIteration):
        return place.format  # reading it will tell why
    if _OCI_FIRST.fullmatch(first.name):
        return DOCKER_ARCHIVE if place.format == DOCKER_ARCHIVE else OCI_ARCHIVE
    if _DOCKER_FIRST.fullmatch(first.name):
        return DOCKER_ARCHIVE
    return TAR if place.format == DIRECTORY else place.format
