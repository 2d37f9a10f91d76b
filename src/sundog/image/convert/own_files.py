"""The files below ``/ch`` that give a directory or a one-file image its configuration."""

from __future__ import annotations

from sundog.base.record.directory import OWN_COMMAND, OWN_VARIABLES, RECORDS_DIRECTORY
from sundog.base.record.stack import pack_command
from sundog.image.store.metadata import OWN_METADATA, encoded, environment_file, metadata_file
from sundog.image.store.volumes import volume_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.oci.config import ImageConfig


def own_files(config: ImageConfig) -> dict[bytes, bytes | None]:
    """Return the files by path; directories, those of VOLUME among them, have None.

    A directory comes before what is in it.
    """
    entrypoint, command = (
        [encoded(word) for word in words or ()] for words in (config.entrypoint, config.cmd)
    )
    files: dict[bytes, bytes | None] = {
        RECORDS_DIRECTORY: None,
        OWN_VARIABLES: environment_file(config),
        OWN_METADATA: metadata_file(config),
        OWN_COMMAND: pack_command(
            entrypoint, command, encoded(config.working_dir), user=encoded(config.user)
        ),
    }
    for volume in volume_paths(config.volumes):
        parts = volume.split(b"/")
        for depth in range(1, len(parts) + 1):
            files.setdefault(b"/".join(parts[:depth]), None)
    return files
