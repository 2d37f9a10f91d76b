"""OCI image layouts: a directory, or a tar of it, with blobs by digest and an index of images.

Specification: OCI image-spec v1.1, image-layout.md, and annotations.md for
``org.opencontainers.image.ref.name``; containerd and Docker write the full name of an image as
``io.containerd.image.name``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Protocol

from sundog.base.fields import Fields
from sundog.errors import ArchiveError, DocumentError, ManifestError, ReferenceSyntaxError
from sundog.image.convert.archived import ArchivedImage, ArchivedLayer
from sundog.image.convert.members import read_member, shown
from sundog.image.oci.config import ImageConfig
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.oci.index import Index
from sundog.image.oci.manifest import MANIFEST_SIZE_LIMIT, Manifest
from sundog.image.oci.media_types import (
    CONFIGS,
    FOREIGN_LAYERS,
    INDEXES,
    LAYERS,
    MANIFESTS,
    OCI_INDEX,
)
from sundog.image.oci.platform import Platform
from sundog.image.oci.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.convert.members import Members
    from sundog.image.transfer.documents import LeavingImage

LAYOUT = "oci-layout"
INDEX = "index.json"
REF_NAME = "org.opencontainers.image.ref.name"
FULL_NAME = "io.containerd.image.name"

CACHE_KEY = "sundog.cache.key"
_OTHER = frozenset(["vnd.docker.reference.type", CACHE_KEY])
_CONFIG_LIMIT = 16 << 20
_NESTING = 4


class Writer(Protocol):
    """Takes the files of a layout."""

    def put(self, name: str, content: bytes) -> None:
        """Write a small file."""

    def put_file(self, name: str, path: bytes, size: int) -> None:
        """Write ``size`` bytes from the file ``path``."""


def read_layout(members: Members, platform: Platform | None) -> list[ArchivedImage]:
    """Return the images of a layout; of an image for several platforms, that for ``platform``.

    None stands for all platforms whose manifests the layout has.  Raises ArchiveError,
    ManifestError, ImageConfigError, PlatformUnavailable.
    """
    index = read_index(members)
    # One image may have several names.
    names: dict[Digest, list[str]] = {}
    entries: dict[Digest, Descriptor] = {}
    for entry in index.manifests:
        if is_image(entry):
            entries.setdefault(entry.digest, entry)
            names.setdefault(entry.digest, []).extend(_names(entry))
    members.meter.check_images(len(entries))
    return [
        _image(members, entry, wanted, tuple(dict.fromkeys(names[digest])))
        for digest, entry in entries.items()
        for wanted in ((platform,) if platform else _platforms(members, entry))
    ]


def _platforms(members: Members, entry: Descriptor) -> Sequence[Platform]:
    """Return the platforms of an entry that the layout has; else this machine's, for errors."""
    found = []
    if entry.media_type in INDEXES:
        content = _document(members, entry, MANIFEST_SIZE_LIMIT)
        index = Index.from_json(content, entry.media_type)
        members.meter.check_images(len(index.platforms))
        for platform in index.platforms:
            if members.has(blob_name(index.select(platform).digest)):
                found.append(platform)
    return found or (Platform.of_host(),)


def read_one(
    members: Members, platform: Platform, tag: str = "", digest: str = ""
) -> ArchivedImage:
    """Return the image of a layout that a digest names, or else a tag, by default ``latest``.

    With neither, a single image may have any tag.  Raises what ``read_layout`` does.
    """
    entries = [entry for entry in read_index(members).manifests if is_image(entry)]
    if digest:
        found = _by_digest(members, entries, Digest.parse(digest))
    else:
        found = next((entry for entry in entries if (tag or "latest") in _tags(entry)), None)
        if found is None and not tag and len({entry.digest for entry in entries}) == 1:
            found = entries[0]
    if found is None:
        tags = dict.fromkeys(name for entry in entries for name in _tags(entry))
        if tags and not digest:
            raise ArchiveError(f"no image {tag or 'latest'}", f"tags in it: {', '.join(tags)}")
        what = f"no image with digest {digest}" if digest else f"no image {tag or 'latest'}"
        raise ArchiveError(what, "its index.json lists the digests")
    return _image(members, found, platform, ())


def read_named(members: Members, platform: Platform, tag: str) -> ArchivedImage:
    """Return the image of a layout with the tag or the whole name ``tag``, or else the only image.

    Raises what ``read_layout`` does.
    """
    entries = [entry for entry in read_index(members).manifests if is_image(entry)]
    found = [entry for entry in entries if not tag or tag in (*_tags(entry), *_texts(entry))]
    count = len({entry.digest for entry in found})
    if count == 1:
        names = dict.fromkeys(name for entry in found for name in _names(entry))
        return _image(members, found[0], platform, tuple(names))
    bare = dict.fromkeys(_texts(entry)[-1] for entry in found or entries)
    texts = ", ".join(map(shown, bare))
    if found:
        raise ArchiveError(f"it holds {count} images: {texts}", "name one: oci:PATH:TAG")
    if not entries:
        raise ArchiveError("it contains no image")
    raise ArchiveError(f"it holds no image {tag}", f"it holds: {texts}")


def _texts(entry: Descriptor) -> list[str]:
    """Return the names of an image as a user writes them; last, the one for a list of images."""
    names = [Reference.parse(name) for name in _names(entry)]
    texts = [text for name in names for text in (name.canonical, name.familiar)]
    return texts or _tags(entry) or [str(entry.digest)]


def read_index(members: Members) -> Index:
    """Return the index of a layout; raise ArchiveError for an unknown version."""
    layout = Fields.parse(read_member(members, LAYOUT, MANIFEST_SIZE_LIMIT), LAYOUT, DocumentError)
    version = layout.string("imageLayoutVersion")
    if version.partition(".")[0] != "1":
        raise ArchiveError(f"{LAYOUT}: version {version!r} is not supported")
    return Index.from_json(read_member(members, INDEX, MANIFEST_SIZE_LIMIT), OCI_INDEX)


def is_image(entry: Descriptor) -> bool:
    """Tell whether an entry of an index is an image, and nothing about one, or of a build cache."""
    is_other = not _OTHER.isdisjoint(entry.annotations)
    return entry.media_type in INDEXES | MANIFESTS and not is_other


def _by_digest(
    members: Members, entries: Sequence[Descriptor], digest: Digest
) -> Descriptor | None:
    """Return the entry with a digest, from ``entries`` or from an index among them."""
    for entry in entries:
        if entry.digest == digest:
            return entry
    for entry in entries:
        if entry.media_type in INDEXES:
            content = _document(members, entry, MANIFEST_SIZE_LIMIT)
            for inner in Index.from_json(content, entry.media_type).manifests:
                if inner.digest == digest and is_image(inner):
                    return inner
    return None


def write_layout(
    writer: Writer,
    images: Sequence[tuple[LeavingImage, Sequence[Reference]]],
    more: Sequence[Descriptor] = (),
) -> None:
    """Write all files of a layout except its layers; their names are ``blob_name``'s.

    Images for several platforms under one name become an index.  The index of the layout has the
    entries ``more``, too, whose files are there.
    """
    named: dict[str, list[Descriptor]] = {}
    documents: dict[Digest, bytes] = {}
    for image, references in images:
        documents[image.manifest.config.digest] = image.config
        documents[image.descriptor.digest] = image.content
        for reference in references:
            named.setdefault(reference.canonical, []).append(image.descriptor)
    entries = [*more]
    for name, found in named.items():
        entry = found[0]
        if len(found) > 1:
            content = Index(tuple(sorted(found, key=lambda each: str(each.platform)))).to_bytes()
            entry = Descriptor(OCI_INDEX, Digest.of(content), len(content))
            documents[entry.digest] = content
        entries.append(replace(entry, annotations={FULL_NAME: name, REF_NAME: name}))
    for digest, content in documents.items():
        writer.put(blob_name(digest), content)
    writer.put(INDEX, Index(tuple(entries)).to_bytes())
    writer.put(LAYOUT, json.dumps({"imageLayoutVersion": "1.0.0"}).encode())


def blob_name(digest: Digest) -> str:
    """Return the name of a blob's file in a layout."""
    return f"blobs/{digest.algorithm}/{digest.encoded}"


def _names(entry: Descriptor) -> list[str]:
    """Return the name of an image in a list; [] if it has none that says more than a tag."""
    for key in (FULL_NAME, REF_NAME):
        name = entry.annotations.get(key, "")
        if key == FULL_NAME or "/" in name or ":" in name:
            try:
                return [Reference.parse(name).canonical]
            except ReferenceSyntaxError:
                continue
    return []


def _tags(entry: Descriptor) -> list[str]:
    """Return the tags of an image: bare ones, and those at the end of its names."""
    name = entry.annotations.get(REF_NAME, "")
    tags = [] if not name or "/" in name or ":" in name else [name]
    references = [Reference.parse(name) for name in _names(entry)]
    return tags + [reference.tag for reference in references if reference.tag]


def _image(
    members: Members, entry: Descriptor, platform: Platform, names: tuple[str, ...]
) -> ArchivedImage:
    documents = []
    for _ in range(_NESTING):
        content = _document(members, entry, MANIFEST_SIZE_LIMIT)
        documents.append((entry.digest, content))
        if entry.media_type not in INDEXES:
            break
        entry = Index.from_json(content, entry.media_type).select(platform)
    else:
        raise ManifestError(f"indexes in indexes, more than {_NESTING} deep")
    manifest = Manifest.from_json(content, entry.media_type)
    if manifest.config.media_type not in CONFIGS:
        raise ManifestError(
            f"not an image: its configuration has type {manifest.config.media_type}"
        )
    content = _document(members, manifest.config, _CONFIG_LIMIT)
    documents.append((manifest.config.digest, content))
    config = ImageConfig.from_json(content)
    if len(config.diff_ids) != len(manifest.layers):
        raise ManifestError(
            f"the manifest has {len(manifest.layers)} layers, "
            f"the configuration names {len(config.diff_ids)}"
        )
    layers = []
    for number, (layer, diff_id) in enumerate(
        zip(manifest.layers, config.diff_ids, strict=True), 1
    ):
        if layer.media_type not in LAYERS:
            raise ManifestError(f"layer {number}: type {layer.media_type} is not supported")
        name = blob_name(layer.digest)
        if layer.media_type in FOREIGN_LAYERS and not members.has(name):
            raise ArchiveError(
                f"layer {number} is not in the archive: only other hosts have it",
                "pull the image instead",
            )
        layers.append(ArchivedLayer(name, str(Digest.parse(diff_id)), layer))
    return ArchivedImage(names, config, tuple(layers), tuple(documents))


def _document(members: Members, descriptor: Descriptor, limit: int) -> bytes:
    """Return a document, checked against its descriptor."""
    return read_member(members, blob_name(descriptor.digest), limit, descriptor)
