"""The files below /.singularity.d, by which an image tells Apptainer about itself.

Specification: Apptainer's user guide, "Environment and Metadata".
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field

from sundog.image.layer.whole_image import DIRECTORY, file_of, link_to, program_of
from sundog.image.sif.texts import ACTIONS, ENVIRONMENT, VARIABLES, runscript, variables_script
from sundog.image.store.metadata import encoded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.image.layer.whole_image import Addition
    from sundog.image.oci.config import ImageConfig

METADATA = b".singularity.d"
ENV_DIRECTORY = METADATA + b"/env"
DEFINITION = METADATA + b"/Singularity"
LABELS = METADATA + b"/labels.json"
RUNSCRIPT = METADATA + b"/runscript"
STARTSCRIPT = METADATA + b"/startscript"
TEST = METADATA + b"/test"
HELP = METADATA + b"/runscript.help"
RUN_ACTION = f"/{METADATA.decode()}/actions/run"  # it runs the runscript
CUSTOM_ENVIRONMENT = ENV_DIRECTORY + b"/90-environment.sh"
DOCKER_ENVIRONMENT = "10-docker2singularity.sh"
_DIRECTORIES = (METADATA, METADATA + b"/actions", ENV_DIRECTORY, METADATA + b"/libs")
# Singularity 2 had these names.
_LINKS = {
    **{
        b"." + name: METADATA + b"/actions/" + name for name in (b"exec", b"run", b"shell", b"test")
    },
    b"environment": CUSTOM_ENVIRONMENT,
    b"singularity": RUNSCRIPT,
}
_LABEL = "org.label-schema."
ARCHITECTURE_LABEL = f"{_LABEL}build-arch"
_USAGE = f"{_LABEL}usage.singularity.deffile."
_COMPATIBLE = "1.4.5"  # the version of Apptainer that writes such files


@dataclass(frozen=True, slots=True)
class Metadata:
    """The words of an image about itself.

    definition  the definition file
    variables   scripts of variables by name, besides those that each image has
    runscript, startscript, test
                these scripts; "" for none
    help        the text of ``run-help``; "" for none
    """

    definition: str
    labels: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    runscript: str = ""
    startscript: str = ""
    test: str = ""
    help: str = ""

    @classmethod
    def of_config(
        cls, config: ImageConfig, bootstrap: str, name: str, seconds: int | None
    ) -> Metadata:
        """Return what an image of a registry tells; ``seconds`` is the time of the build."""
        entrypoint, command = config.entrypoint or (), config.cmd or ()
        return cls(
            definition_of(bootstrap, name),
            labels={**config.labels, **build_labels(bootstrap, name, config.architecture, seconds)},
            variables={DOCKER_ENVIRONMENT: variables_script(config.environment)},
            runscript=runscript(entrypoint, command),
        )

    def additions(self) -> dict[bytes, Addition]:
        """Return the files by path; a directory comes before what is in it."""
        programs = {
            RUNSCRIPT: self.runscript,
            STARTSCRIPT: self.startscript,
            TEST: self.test,
            **{
                ENV_DIRECTORY + b"/" + encoded(name): text for name, text in self._scripts().items()
            },
            **{METADATA + b"/actions/" + encoded(name): text for name, text in ACTIONS.items()},
        }
        texts = {
            DEFINITION: self.definition,
            LABELS: json_text(dict(self.labels)),
            HELP: self.help,
        }
        return {
            **dict.fromkeys(_DIRECTORIES, DIRECTORY),
            **{path: program_of(encoded(text)) for path, text in programs.items() if text},
            **{path: file_of(encoded(text)) for path, text in texts.items() if text},
            **{path: link_to(target) for path, target in _LINKS.items()},
        }

    def _scripts(self) -> dict[str, str]:
        return {**VARIABLES, "90-environment.sh": ENVIRONMENT, **self.variables}


def definition_of(bootstrap: str, name: str) -> str:
    """Return the definition file of an image that is made of another one alone."""
    return f"bootstrap: {bootstrap}\nfrom: {name}\n\n"


def build_labels(
    bootstrap: str, name: str, architecture: str, seconds: int | None
) -> dict[str, str]:
    """Return the labels that each build sets; ``seconds`` is its time, None for the present."""
    return {
        ARCHITECTURE_LABEL: architecture,
        f"{_LABEL}build-date": time.strftime("%A_%d_%B_%Y_%H:%M:%S_UTC", time.gmtime(seconds)),
        f"{_LABEL}schema-version": "1.0",
        f"{_LABEL}usage.apptainer.version": _COMPATIBLE,
        f"{_USAGE}bootstrap": bootstrap,
        f"{_USAGE}from": name,
    }


def json_text(value: object) -> str:
    """Return JSON as Apptainer writes it."""
    return json.dumps(value, indent="\t", sort_keys=True) + "\n"
