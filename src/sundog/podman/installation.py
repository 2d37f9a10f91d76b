"""Where the other commands of this installation are, and how ``ch-run`` is asked for statuses."""

from __future__ import annotations

import os
import sys

# So that ch-run ends with podman's exit statuses: launcher/statuses.py.
PODMAN_STATUSES = {"SUNDOG_STATUSES": "podman"}


def ch_run() -> list[str]:
    """Return the command ``ch-run`` as the first words of an argv."""
    program = installed("ch-run")
    return [sys.executable, "-m", "sundog.launcher"] if program is None else [program]


def installed(name: str) -> str | None:
    """Return the path of a command of this installation, None if it is not there.

    It is beside the interpreter (a virtual environment), in the ``bin`` of the prefix to which the
    package belongs, or beside ``sundog`` itself.
    """
    own = os.path.realpath(sys.argv[0] if sys.argv else "")
    prefix = os.path.join(os.path.dirname(__file__), *[os.pardir] * 5)
    places = [os.path.dirname(sys.executable), os.path.join(os.path.normpath(prefix), "bin")]
    if os.path.basename(own) == "sundog":
        places.insert(0, os.path.dirname(own))
    for place in places:
        program = os.path.join(place, name)
        if os.access(program, os.X_OK):
            return program
    return None
