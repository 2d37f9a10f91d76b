"""The files below /.singularity.d that a definition file asks for.

Specification: Apptainer's user guide, “Definition Files” and “Environment and Metadata”.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from sundog.image.builder.definition.additions import is_there
from sundog.image.builder.definition.apps import script_text
from sundog.image.builder.files.chown import account_file
from sundog.image.definition.parse import read_labels
from sundog.image.definition.values import Line
from sundog.image.layer.whole_image import file_of, program_of
from sundog.image.sif.metadata import (
    CUSTOM_ENVIRONMENT,
    DEFINITION,
    ENV_DIRECTORY,
    HELP,
    LABELS,
    METADATA,
    RUNSCRIPT,
    STARTSCRIPT,
    TEST,
    build_labels,
    json_text,
)
from sundog.image.sif.texts import ENVIRONMENT
from sundog.image.store.metadata import encoded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sundog.image.builder.keys import Field
    from sundog.image.definition.values import DefinitionStage
    from sundog.image.layer.whole_image import Addition

# The files that %post may write to.
POST_ENVIRONMENT = ENV_DIRECTORY + b"/91-environment.sh"
POST_LABELS = METADATA + b"/post-labels"
_HISTORY = METADATA + b"/bootstrap_history"
_LIMIT = 16 << 20  # bytes of a file of the image that is read
_HISTORY_LIMIT = 1000
_SCRIPTS = {"runscript": RUNSCRIPT, "startscript": STARTSCRIPT, "test": TEST}
_USAGE = "org.label-schema.usage"


@dataclass(frozen=True, slots=True)
class Finish:
    """The files at the end of a stage.

    ``sections`` are those that may be written; ``architecture`` and ``seconds`` (None: now) are for
    labels.  ``config_labels`` are those of an image of a registry.
    """

    stage: DefinitionStage
    sections: frozenset[str]
    architecture: str
    seconds: int | None
    config_labels: Mapping[str, str]

    def key(self) -> Field:
        """Return the text of the stage and the rest, but not the present time."""
        return (
            self.stage.text,
            tuple(sorted(self.sections)),
            self.architecture,
            self.seconds,
            dict(self.config_labels),
        )

    def of(self, root: int) -> tuple[Mapping[bytes, Addition], Sequence[bytes]]:
        """Return the files, and those that only %post needed."""
        files: dict[bytes, Addition] = {}
        old = account_file(root, DEFINITION, _LIMIT)
        if old:
            files[_next_name(root)] = file_of(old)
        files[DEFINITION] = file_of(encoded(self.stage.text))
        for name, path in _SCRIPTS.items():
            if text := self._text(name):
                files[path] = program_of(encoded(script_text(text)))
        if text := self._text("environment"):
            files[CUSTOM_ENVIRONMENT] = program_of(encoded(f"{ENVIRONMENT}\n{text}"))
        if text := self._text("help"):
            files[HELP] = file_of(encoded(text))
        files[LABELS] = file_of(encoded(json_text(self._labels(root))))
        return files, (POST_LABELS,)

    def _text(self, name: str) -> str:
        section = self.stage.section(name) if name in self.sections else None
        return "" if section is None else section.text

    def _labels(self, root: int) -> dict[str, str]:
        stage = self.stage
        labels = {**self.config_labels, **_read_labels(account_file(root, LABELS, _LIMIT))}
        bootstrap, origin = stage.header("bootstrap"), stage.header("from")
        labels |= build_labels(bootstrap, origin, self.architecture, self.seconds)
        if name := stage.header("stage"):
            labels[f"{_USAGE}.singularity.deffile.stage"] = name
        if self._text("help"):
            labels[_USAGE] = labels[f"{_USAGE}.apptainer.runscript.help"] = f"/{HELP.decode()}"
        section = stage.section("labels") if "labels" in self.sections else None
        if section is not None:
            labels |= read_labels(section.lines)
        added = account_file(root, POST_LABELS, _LIMIT).decode("utf-8", "replace")
        labels |= read_labels(Line(0, text) for text in added.split("\n"))
        return {_shown(name): _shown(text) for name, text in labels.items()}


def _shown(text: str) -> str:
    """Return ``text`` without what JSON can't hold."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _next_name(root: int) -> bytes:
    """Return a name in the history that the image does not have."""
    for number in range(_HISTORY_LIMIT):
        name = b"%b/Apptainer%d" % (_HISTORY, number)
        if not is_there(root, name):
            return name
    return b"%b/Apptainer%d" % (_HISTORY, _HISTORY_LIMIT)


def _read_labels(data: bytes) -> dict[str, str]:
    """Return the labels of the image; a damaged file has none."""
    try:
        value = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {name: text for name, text in value.items() if isinstance(text, str)}
