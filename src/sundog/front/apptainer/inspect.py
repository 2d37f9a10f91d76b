"""The options of ``sundog apptainer inspect`` and ``run-help``, and the text of ``inspect``.

Specification: the help of Apptainer 1.4, and its user guide.
"""

from __future__ import annotations

from sundog.front.apptainer.shared_options import HELP
from sundog.front.options import TAKEN, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sundog.front.options import Line

_APP = Option("--app", "NAME", TAKEN, "of an app of the image, not of the image")

RUN_HELP = (HELP, _APP)
INSPECT = (
    HELP,
    _APP,
    Option("--all", "", TAKEN, "all data, as JSON"),
    Option("--deffile -d", "", TAKEN, "the definition file"),
    Option("--environment -e", "", TAKEN, "the scripts of variables"),
    Option("--helpfile -H", "", TAKEN, "the text of run-help"),
    Option("--json -j", "", TAKEN, "as JSON"),
    Option("--labels -l", "", TAKEN, "the labels (the default)"),
    Option("--list-apps", "", TAKEN, "the names of the apps"),
    Option("--runscript -r", "", TAKEN, "the runscript"),
    Option("--startscript -s", "", TAKEN, "the startscript"),
    Option("--test -t", "", TAKEN, "the test script"),
)

# The kinds of data that an option asks for, in the order in which a text shows them.
KINDS = ("deffile", "runscript", "startscript", "test", "helpfile", "environment", "labels")
_LIST = "list-apps"


def chosen(line: Line, found: dict[str, Any]) -> dict[str, Any]:
    """Return what the options ask for of all that is ``found``."""
    if line.is_set("all"):
        return found
    kinds = [kind for kind in KINDS if line.is_set(kind)]
    if not kinds and not line.is_set(_LIST):
        kinds = ["labels"]
    app, apps = line.last("app"), found.get("apps", {})
    if not app:
        data = {kind: found[kind] for kind in kinds if kind in found}
        return data | ({"apps": apps} if line.is_set(_LIST) and apps else {})
    own = apps.get(app, {})
    shown = {app: {kind: own[kind] for kind in kinds if kind in own}} if own else {}
    listed: dict[str, Any] = {name: {} for name in apps} if line.is_set(_LIST) else {}
    data = {"deffile": found["deffile"]} if "deffile" in kinds and "deffile" in found else {}
    return data | ({"apps": listed | shown} if listed or shown else {})


def text_lines(line: Line, data: dict[str, Any]) -> Iterator[str]:
    """Yield the text of ``data``, as ``chosen`` returns it."""
    apps = data.get("apps", {})
    if line.is_set(_LIST):
        yield from sorted(apps)
    app = line.last("app")
    found = data | apps.get(app, {}) if app else data
    for kind in KINDS:
        value = found.get(kind)
        if not value:
            continue
        if kind == "labels":
            yield from (f"{name}: {value[name]}" for name in sorted(value))
        elif kind == "environment":
            for path in sorted(value):
                yield from (f"=== {path} ===", value[path], "")
        else:
            yield value
