"""The apps of a definition file: their directories below /scif, and their scripts.

Specification: Apptainer's user guide, “SCIF Apps”; the Scientific Filesystem, scif-format 1.0.
Pure.
"""

from __future__ import annotations

import re

from sundog.image.definition.parse import read_labels
from sundog.image.layer.whole_image import DIRECTORY, file_of, program_of
from sundog.image.sif.metadata import ENV_DIRECTORY, json_text
from sundog.image.store.metadata import encoded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.definition.values import DefinitionStage
    from sundog.image.layer.whole_image import Addition

SHEBANG = "#!/bin/sh\n"
_APPS, _DATA = "/scif/apps", "/scif/data"
# With --app NAME, $APPTAINER_APPNAME names an app.
_CHOICE = """\
#!/bin/sh
if [ -n "${APPTAINER_APPNAME:-}" ]; then
    app="/scif/apps/$APPTAINER_APPNAME"
    PATH="$app/bin:$app:$PATH"
    LD_LIBRARY_PATH="$app/lib:${LD_LIBRARY_PATH:-/.singularity.d/libs}"
    export PATH LD_LIBRARY_PATH
    for script in "$app"/scif/env/*.sh; do
        if [ -f "$script" ]; then . "$script"; fi
    done
    unset app script
fi
"""
_SCRIPTS = {"runscript": "apprun", "startscript": "appstart", "test": "apptest"}


def app_place(name: str) -> str:
    """Return the directory of an app."""
    return f"{_APPS}/{name}"


def app_files(stage: DefinitionStage) -> dict[bytes, Addition]:
    """Return the files of all apps of a stage by path; parents come first."""
    files: dict[bytes, Addition] = {}
    exports = [SHEBANG]
    for name in stage.apps:
        files |= _files_of(stage, name)
        exports += _exports(stage, name)
    if stage.apps:
        files[ENV_DIRECTORY + b"/94-appsbase.sh"] = program_of(encoded("".join(exports)))
        files[ENV_DIRECTORY + b"/95-apps.sh"] = program_of(encoded(_CHOICE))
    return files


def script_text(text: str) -> str:
    """Return the text of a script, with the line of ``#!`` that it may lack."""
    lines = text.split("\n")
    while lines and not lines[0].strip():
        del lines[0]
    if lines and lines[0].lstrip().startswith("#!"):
        return "\n".join([lines[0].strip(), *lines[1:]])
    return f"{SHEBANG}\n{text}"


def _files_of(stage: DefinitionStage, name: str) -> dict[bytes, Addition]:
    place = encoded(app_place(name).lstrip("/"))
    data = encoded(f"{_DATA}/{name}".lstrip("/"))
    directories = (place, place + b"/bin", place + b"/lib", place + b"/scif", place + b"/scif/env")
    files = dict.fromkeys((*directories, data, data + b"/input", data + b"/output"), DIRECTORY)
    files[place + b"/scif/env/01-base.sh"] = program_of(encoded(_base_script(name)))
    if section := stage.section("appenv", name):
        files[place + b"/scif/env/90-environment.sh"] = program_of(encoded(section.text))
    for file, key in _SCRIPTS.items():
        if section := stage.section(key, name):
            files[place + b"/scif/" + encoded(file)] = program_of(
                encoded(script_text(section.text))
            )
    if section := stage.section("apphelp", name):
        files[place + b"/scif/runscript.help"] = file_of(encoded(section.text))
    labels = {"SCIF_APP_NAME": name}
    if section := stage.section("applabels", name):
        labels |= read_labels(section.lines)
    files[place + b"/scif/labels.json"] = file_of(encoded(json_text(labels)))
    return files


def _base_script(name: str) -> str:
    values = {
        "NAME": name,
        "ROOT": app_place(name),
        "META": f"{app_place(name)}/scif",
        "DATA": f"{_DATA}/{name}",
        "INPUT": f"{_DATA}/{name}/input",
        "OUTPUT": f"{_DATA}/{name}/output",
    }
    lines = [f'export SCIF_APP{key}="{value}"\n' for key, value in values.items()]
    return "".join([SHEBANG, f'export SCIF_DATA="{_DATA}"\n', *lines])


def _exports(stage: DefinitionStage, name: str) -> list[str]:
    """Return the lines by which each app sees the places of an app."""
    place = app_place(name)
    values = {
        "DATA": f"{_DATA}/{name}",
        "META": f"{place}/scif",
        "ROOT": place,
        "BIN": f"{place}/bin",
        "LIB": f"{place}/lib",
        "LABELS": f"{place}/scif/labels.json",
    }
    for key, file, section in (
        ("ENV", "env/90-environment.sh", "appenv"),
        ("RUN", "runscript", "apprun"),
        ("START", "startscript", "appstart"),
    ):
        if stage.section(section, name):
            values[key] = f"{place}/scif/{file}"
    suffix = re.sub("[^A-Za-z0-9_]", "_", name)
    return [f'export SCIF_APP{key}_{suffix}="{value}"\n' for key, value in values.items()]
