"""Archives as ``docker save`` writes them: ``manifest.json``, configurations and layers.

Specification: Docker's "Image Specification v1.2", "Combined Image JSON + Filesystem Changeset
Format".  Layers are bare tars; reading accepts compressed ones, as Docker does.
"""

from __future__ import annotations

import json

from sundog.base.fields import Fields, parse_json
from sundog.errors import ArchiveError, DockerArchiveError
from sundog.image.convert.archived import ArchivedImage, ArchivedLayer
from sundog.image.convert.members import read_member
from sundog.image.oci.config import ImageConfig
from sundog.image.oci.digest import Digest
from sundog.image.oci.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.convert.members import Members
    from sundog.image.convert.oci_layout import Writer
    from sundog.image.transfer.documents import LeavingImage

MANIFEST = "manifest.json"
_LIMIT = 16 << 20


def read_archive(members: Members) -> list[ArchivedImage]:
    """Return the images of an archive; raise ArchiveError, DocumentError, ReferenceSyntaxError."""
    value = parse_json(read_member(members, MANIFEST, _LIMIT), MANIFEST, DockerArchiveError)
    if not isinstance(value, list):
        raise DockerArchiveError(f"{MANIFEST}: expected a list")
    members.meter.check_images(len(value))
    return [_image(members, entry) for entry in value]


def write_archive(
    writer: Writer, images: Sequence[tuple[LeavingImage, Sequence[Reference]]]
) -> None:
    """Write all files of an archive except its layers; their names are ``layer_name``'s."""
    entries = []
    written = set()
    for image, references in images:
        config = f"{image.manifest.config.digest.encoded}.json"
        if config not in written:
            writer.put(config, image.config)
            written.add(config)
        entries.append(
            {
                "Config": config,
                "RepoTags": [reference.canonical for reference in references],
                "Layers": [layer_name(diff_id) for diff_id in image.diff_ids],
            }
        )
    writer.put(MANIFEST, json.dumps(entries).encode())


def layer_name(diff_id: str) -> str:
    """Return the name of a layer's file in an archive."""
    return f"{Digest.parse(diff_id).encoded}.tar"


def _image(members: Members, value: object) -> ArchivedImage:
    fields = Fields(value, MANIFEST, DockerArchiveError)
    config = ImageConfig.from_json(read_member(members, fields.string("Config"), _LIMIT))
    layers = fields.strings("Layers") or ()
    if len(layers) != len(config.diff_ids):
        raise ArchiveError(
            f"{MANIFEST} names {len(layers)} layers, the configuration {len(config.diff_ids)}"
        )
    return ArchivedImage(
        tuple(Reference.parse(name).canonical for name in fields.strings("RepoTags") or ()),
        config,
        tuple(
            ArchivedLayer(name, str(Digest.parse(diff_id)))
            for name, diff_id in zip(layers, config.diff_ids, strict=True)
        ),
    )
