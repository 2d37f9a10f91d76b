"""Where the commands of this installation are.  It imports nothing that takes milliseconds."""

from __future__ import annotations

import os
import sys

COMMANDS = (
    *("ch-checkns", "ch-convert", "ch-fromhost", "ch-image", "ch-run", "ch-run-oci", "ch-test"),
    *("sundog", "sundog-fakeroot", "sundog-pyxis-importer"),
)
# In a checkout, commands are modules.
_MODULES = {
    "ch-checkns": "sundog.cli.checkns",
    "ch-convert": "sundog.cli.convert",
    "ch-image": "sundog.cli.image",
    "ch-run": "sundog.launcher",
    "sundog-fakeroot": "sundog.fakeroot.command",
}
_PACKAGE = "/sundog/"  # between the packages' directory and a module of this one
# From PREFIX/lib/pythonX.Y/site-packages, where pip puts packages, to the commands.
_PROGRAMS = "../../../bin"


def own_command(name: str) -> list[str]:
    """Return the words that start a command of this installation: its path, or a module."""
    path = installed(name)
    return [sys.executable, "-m", _MODULES[name]] if path is None else [path]


def installed(name: str) -> str | None:
    """Return the path of a command of this installation, None if it is not there.

    It is beside the command that runs, beside the interpreter (a virtual environment), or in the
    ``bin`` of the prefix to which the package belongs.
    """
    running = os.path.realpath(sys.argv[0] if sys.argv else "")
    packages, _, _ = os.path.abspath(__file__).rpartition(_PACKAGE)
    programs = os.path.normpath(os.path.join(packages, _PROGRAMS))
    places = [os.path.dirname(sys.executable), programs]
    if os.path.basename(running) in COMMANDS:
        places.insert(0, os.path.dirname(running))
    for place in places:
        program = os.path.join(place, name)
        if os.access(program, os.X_OK):
            return program
    return None
