"""Files below /.singularity.d that an image's configuration makes anew.

The layers of an image of a definition file have such files.  A Dockerfile that begins with that
image changes the configuration, and not the files.  As in a SIF that Apptainer makes of an image of
a registry, ENTRYPOINT, CMD and ENV count, and labels are added.
"""

from __future__ import annotations

import json
import re

from sundog.image.layer.whole_image import file_of, program_of
from sundog.image.sif.metadata import (
    DOCKER_ENVIRONMENT,
    ENV_DIRECTORY,
    LABELS,
    RUN_ACTION,
    RUNSCRIPT,
    json_text,
)
from sundog.image.sif.texts import runscript, variables_script
from sundog.image.store.metadata import encoded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sundog.image.layer.whole_image import Addition
    from sundog.image.oci.config import ImageConfig

_VARIABLES = ENV_DIRECTORY + b"/" + DOCKER_ENVIRONMENT.encode()
_EXPORT = re.compile(r"^export ([A-Za-z_][A-Za-z0-9_]*)=", re.MULTILINE)


def renewed(config: ImageConfig, read: Callable[[bytes], bytes | None]) -> dict[bytes, Addition]:
    """Return the files, by path, that take the place of those of an image.

    ``read`` returns a regular file of the image, or None.  The runscript stays if it is ENTRYPOINT,
    or if there is neither that nor CMD.
    """
    files: dict[bytes, Addition] = {}
    entrypoint, command = config.entrypoint or (), config.cmd or ()
    if (entrypoint or command) and entrypoint != (RUN_ACTION,):
        files[RUNSCRIPT] = program_of(encoded(runscript(entrypoint, command)))
    if (old := read(_VARIABLES)) is not None:
        text = old.decode("utf-8", "surrogateescape")
        files[_VARIABLES] = program_of(encoded(_with_variables(text, config.environment)))
    labels = _labels(read(LABELS))
    if labels is not None:
        files[LABELS] = file_of(encoded(json_text({**config.labels, **labels})))
    return files


def _with_variables(text: str, variables: Mapping[str, str]) -> str:
    """Return a script that sets ``variables``, and those of the script ``text`` beside them.

    A SIF that was the base has variables that no configuration has.
    """
    names = {*_EXPORT.findall(text)}
    if names <= variables.keys():
        return variables_script(variables)
    more = {name: value for name, value in variables.items() if name not in names}
    return f"{text}\n{variables_script(more)}"


def _labels(data: bytes | None) -> dict[str, object] | None:
    try:
        value = json.loads(data or b"")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
