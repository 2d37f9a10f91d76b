"""The directory of an image, before it is renamed into place: all of its files, see ``images``."""

from __future__ import annotations

import json
import os

from sundog.base.kernel.drafts import write_new_file
from sundog.base.record.guesses import OWNERS_KNOWN, OWNERS_LOST
from sundog.base.record.stack import ImageStack, pack_stack
from sundog.image.store.metadata import encoded, metadata_files
from sundog.image.store.run_force import was_unrecorded
from sundog.image.store.volumes import volume_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.fields import JsonObject
    from sundog.image.oci.config import ImageConfig
    from sundog.image.store.drivers import Driver
    from sundog.image.store.image_files import Image
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.layers import Layers


def write_image(
    directory: bytes, image: Image, description: JsonObject, layers: Layers, driver: Driver
) -> None:
    """Write the files of an image to an empty directory.

    Raises StoreError for an image that ``ch-run`` could not mount.
    """
    driver.check_runnable(image.layers)
    volumes = volume_paths(image.config.volumes)
    visible = layers.visible(image.layers)
    stack = ImageStack(
        [layer.encode() for layer in visible],
        driver.tree_of_image(image.layers, volumes),
        [encoded(word) for word in image.config.entrypoint or ()],
        [encoded(word) for word in image.config.cmd or ()],
        encoded(image.config.working_dir),
        user=encoded(image.config.user),
        guesses=_guesses(image.config, visible, layers),
        has_files=any(map(layers.is_file, visible)),
    )
    files = {
        b"image.json": json.dumps(description).encode(),
        b"config.json": json.dumps(image.config.to_json()).encode(),
        b"stack": pack_stack(stack),
    }
    files |= {b"root" + path: data for path, data in metadata_files(image.config).items()}
    os.makedirs(os.path.join(directory, b"root/ch"))
    for name, data in files.items():
        write_new_file(os.path.join(directory, name), data, 0o644)
    os.chmod(os.path.join(directory, b"root/ch"), 0o755)
    os.chmod(os.path.join(directory, b"root"), layers.root_mode(image.layers))
    driver.add_volumes(image.layers, volumes, os.path.join(directory, b"root"))


def _guesses(config: ImageConfig, visible: Sequence[LayerId], layers: Layers) -> bytes:
    """Return the marks of the layers that show, as in ``ImageStack``."""
    letters = b"".join(map(layers.guesses, visible))
    if letters.strip(OWNERS_KNOWN):
        return letters
    return OWNERS_LOST if was_unrecorded(config) else b""
