"""Paths of this installation's commands.  It imports nothing that takes milliseconds."""

from __future__ import annotations

import os
import sys

COMMANDS = (
    *("ch-checkns", "ch-convert", "ch-fromhost", "ch-image", "ch-run", "ch-run-oci", "ch-test"),
    *("sundog", "sundog-fakeroot", "sundog-pyxis-importer"),
)
# In a checkout: the program of an interpreter whose arguments are the directory of the package, and
# those of ``sundog.start``.
START = (
    "import sys; sys.path.append(sys.argv[1]); from sundog.start import start; start(*sys.argv[2:])"
)
_PACKAGE = "/sundog/"  # between the packages' directory and a module of this one
# From PREFIX/lib/pythonX.Y/site-packages, where pip puts packages, to the commands.
_PROGRAMS = "../../../bin"
# From the C programs to the scripts that start Python: native_header.
_STUBS = "../share/sundog"


def own_command(name: str) -> list[str]:
    """Return the words that start a command of this installation: its path, or an interpreter's."""
    path = installed(name)
    if path is not None:
        return [path]
    packages, _, _ = os.path.abspath(__file__).rpartition(_PACKAGE)
    return [sys.executable, "-I", "-S", "-c", START, packages, name, ""]


def compiled(name: str) -> str | None:
    """Return the path of a command of this installation, None unless it is the C program."""
    path = installed(name)
    is_stub = path is None or not os.path.exists(os.path.join(os.path.dirname(path), _STUBS, name))
    return None if is_stub else path


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
