"""The files below ``/ch`` that give a directory or a one-file image its configuration."""

from __future__ import annotations

from sundog.base.record.directory import OWN_COMMAND, OWN_VARIABLES, RECORDS_DIRECTORY
from sundog.base.record.guesses import GUESSES, LOST_GUESSES
from sundog.base.record.stack import pack_command
from sundog.image.layer.guessing import guesses_of_image
from sundog.image.layer.whole_image import DIRECTORY, file_of
from sundog.image.store.metadata import OWN_METADATA, encoded, environment_file, metadata_file
from sundog.image.store.run_force import was_unrecorded
from sundog.image.store.volumes import volume_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.layer.below import LayerTree
    from sundog.image.layer.whole_image import Addition
    from sundog.image.oci.config import ImageConfig


def files_of_config(config: ImageConfig, trees: Sequence[LayerTree]) -> dict[bytes, Addition]:
    """Return what an image of layers has besides them: ``own_files``, and the layers' marks."""
    added = own_files(config)
    guesses = guesses_of_image(trees)
    if guesses is None and was_unrecorded(config):
        guesses = LOST_GUESSES
    if guesses is not None:
        added[GUESSES] = file_of(guesses)
    return added


def own_files(config: ImageConfig) -> dict[bytes, Addition]:
    """Return the files and directories by path, those of VOLUME among them.

    A directory comes before what is in it.
    """
    entrypoint, command = (
        [encoded(word) for word in words or ()] for words in (config.entrypoint, config.cmd)
    )
    files: dict[bytes, Addition] = {
        RECORDS_DIRECTORY: DIRECTORY,
        OWN_VARIABLES: file_of(environment_file(config)),
        OWN_METADATA: file_of(metadata_file(config)),
        OWN_COMMAND: file_of(
            pack_command(
                entrypoint, command, encoded(config.working_dir), user=encoded(config.user)
            )
        ),
    }
    for volume in volume_paths(config.volumes):
        parts = volume.split(b"/")
        for depth in range(1, len(parts) + 1):
            files.setdefault(b"/".join(parts[:depth]), DIRECTORY)
    return files
