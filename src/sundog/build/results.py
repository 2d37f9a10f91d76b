"""Files that tell other programs what a build made: ``--iidfile`` and ``--metadata-file``.

Specification: the reference of ``docker buildx build``.
"""

from __future__ import annotations

import json
import os

from sundog.errors import BuildError
from sundog.store.leaving import image_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.build.options import BuildOptions
    from sundog.oci.config import ImageConfig
    from sundog.store.store import Store


def write_results(
    store: Store, options: BuildOptions, config: ImageConfig, layers: Sequence[str]
) -> None:
    """Write the files that ``options`` ask for; raise BuildError where that cannot be done."""
    if not options.iidfile and not options.metadata_file:
        return
    identity = image_id(store, config, layers)
    if options.iidfile:
        _write(options.iidfile, identity)
    if options.metadata_file:
        metadata = {
            "containerimage.config.digest": identity,
            "image.name": ",".join(options.tags),
        }
        _write(options.metadata_file, json.dumps(metadata, indent=2) + "\n")


def _write(path: str, text: str) -> None:
    """Write a file as a whole, or not at all."""
    import tempfile  # noqa: PLC0415 - seldom needed

    directory = os.path.dirname(path) or "."
    try:
        fd, making = tempfile.mkstemp(dir=directory, prefix=".sundog-")
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(making, 0o644)
        os.replace(making, path)
    except OSError as error:
        raise BuildError(f"can't write {path}: {error.strerror}") from error
