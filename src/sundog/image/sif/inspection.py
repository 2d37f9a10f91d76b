"""The data of an image that ``inspect`` shows: what its files below /.singularity.d say.

Whoever made the image is a stranger: each file has a bound, and what is no text is not shown.
Specification: Apptainer's user guide, "Environment and Metadata".
"""

from __future__ import annotations

import json
import os
from fnmatch import fnmatchcase

from sundog.image.oci.platform import Platform
from sundog.image.sif.metadata import (
    ARCHITECTURE_LABEL,
    DEFINITION,
    ENV_DIRECTORY,
    HELP,
    LABELS,
    METADATA,
    RUNSCRIPT,
    STARTSCRIPT,
    TEST,
    json_text,
)
from sundog.runtime.container.image_files import FILES_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.layer.whole_image import Added
    from sundog.runtime.container.image_files import ImageFiles

APPS = b"scif/apps"
# Names of the scripts that set an image's own variables.
_VARIABLES = (b"10-docker*.sh", b"9*-environment.sh")
_TEXTS = {
    "deffile": DEFINITION,
    "helpfile": HELP,
    "runscript": RUNSCRIPT,
    "startscript": STARTSCRIPT,
    "test": TEST,
}
_APP_TEXTS = {"runscript": b"runscript", "helpfile": b"runscript.help", "test": b"test"}


class AddedFiles:
    """The files that are added to an image, and those of the image itself."""

    def __init__(self, added: Added, image: ImageFiles | None = None) -> None:
        self._added = added
        self._image = image

    def read(self, path: bytes) -> bytes | None:
        """Return a regular file; None if there is none."""
        if path in self._added:
            return self._added[path].content
        return self._image.read(path) if self._image else None

    def names(self, path: bytes) -> list[bytes]:
        """Return the names in a directory."""
        start = path + b"/"
        own = [
            each.removeprefix(start)
            for each in self._added
            if each.startswith(start) and b"/" not in each[len(start) :]
        ]
        found = self._image.names(path) if self._image else []
        return [*own, *(name for name in found if name not in own)][:FILES_LIMIT]


def has_metadata(files: ImageFiles) -> bool:
    """Tell whether an image has the files that Apptainer needs to start it."""
    return bool(files.names(METADATA + b"/env"))


def architecture_of(files: ImageFiles) -> str:
    """Return the architecture that an image's labels name, else this machine's."""
    named = _labels(files.read(LABELS)).get(ARCHITECTURE_LABEL, "")
    return named or Platform.of_host().architecture


def attributes(files: ImageFiles) -> dict[str, object]:
    """Return all data of an image by kind; what it lacks is left out."""
    found: dict[str, object] = {
        kind: text for kind, path in _TEXTS.items() if (text := _text(files.read(path)))
    }
    labels = _labels(files.read(LABELS))
    if labels:
        found["labels"] = labels
    if variables := _variables(files, ENV_DIRECTORY):
        found["environment"] = variables
    apps = {name: data for name in app_names(files) if (data := app_attributes(files, name))}
    if apps:
        found["apps"] = apps
    return found


def app_names(files: ImageFiles) -> list[str]:
    """Return the names of the image's apps of the Scientific Filesystem, sorted."""
    return sorted(os.fsdecode(name) for name in files.names(APPS))


def app_attributes(files: ImageFiles, name: str) -> dict[str, object]:
    """Return all data of an app by kind; what it lacks is left out."""
    place = APPS + b"/" + os.fsencode(name) + b"/scif/"
    found: dict[str, object] = {
        kind: text for kind, path in _APP_TEXTS.items() if (text := _text(files.read(place + path)))
    }
    labels = _labels(files.read(place + b"labels.json"))
    if labels:
        found["labels"] = labels
    if variables := _variables(files, place + b"env"):
        found["environment"] = variables
    return found


def document(data: dict[str, object]) -> str:
    """Return the JSON in which callers expect the data of an image."""
    return json_text({"data": {"attributes": data}, "type": "container"})


def _variables(files: ImageFiles, directory: bytes) -> dict[str, str]:
    """Return the texts of the scripts that set the image's own variables, by absolute path."""
    paths = [
        directory + b"/" + name
        for name in sorted(files.names(directory))
        if any(fnmatchcase(name, pattern) for pattern in _VARIABLES)
    ]
    texts = {f"/{path.decode('utf-8', 'replace')}": _text(files.read(path)) for path in paths}
    return {path: text for path, text in texts.items() if text}


def _text(data: bytes | None) -> str:
    return data.decode("utf-8", "replace").rstrip("\n") if data is not None else ""


def _labels(data: bytes | None) -> dict[str, str]:
    """Return the labels of a file of them; a damaged one has none."""
    try:
        value = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {str(name): text for name, text in value.items() if isinstance(text, str)}
