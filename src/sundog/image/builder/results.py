"""Files that tell other programs about a build's result: ``--iidfile`` and ``--metadata-file``.

Specification: the reference of ``docker buildx build``.  The digests are those of the image as
``push`` and ``save`` write it by default.  To compute them, this module reads layers whose digests
are unknown.
"""

from __future__ import annotations

import json
import os

from sundog.base.kernel.drafts import replace_file
from sundog.errors import BuildError
from sundog.image.oci.reference import Reference
from sundog.image.transfer.documents import image_id, leaving_image
from sundog.image.transfer.packing import Packing, blob_to_leave

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.builder.options import BuildOptions
    from sundog.image.oci.config import ImageConfig
    from sundog.image.store.store import Store


def write_results(
    store: Store, options: BuildOptions, config: ImageConfig, layers: Sequence[str]
) -> None:
    """Write the files that ``options`` ask for; raise BuildError if that fails."""
    packing = Packing.choose("gzip", options.environment)
    if not options.metadata_file and packing.epoch is None:
        _write(options.iidfile, image_id(store, config, layers))
        return
    blobs = [
        blob_to_leave(store, layer, packing, layers[:number]) for number, layer in enumerate(layers)
    ]
    leaving = leaving_image(config, blobs, packing.epoch, options.annotations)
    identity = str(leaving.manifest.config.digest)
    metadata = {
        "containerimage.config.digest": identity,
        "containerimage.descriptor": leaving.descriptor.to_json(),
        "containerimage.digest": str(leaving.descriptor.digest),
    }
    if options.tags:
        names = (Reference.parse(tag).canonical for tag in options.tags)
        metadata["image.name"] = ",".join(names)
    if options.metadata_file:
        _write(options.metadata_file, json.dumps(metadata, indent=2) + "\n")
    if options.iidfile:
        _write(options.iidfile, identity)


def _write(path: str, text: str) -> None:
    """Write a whole file, or nothing."""
    try:
        replace_file(os.fsencode(path), text.encode(), mode=0o644)
    except OSError as error:
        raise BuildError(f"can't write {path}: {error.strerror}") from error
