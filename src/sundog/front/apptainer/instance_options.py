"""The options of ``sundog apptainer instance``: of each of its subcommands.

Specification: the help of Apptainer 1.4.
"""

from __future__ import annotations

from sundog.front.apptainer.action_options import RUN
from sundog.front.apptainer.shared_options import HELP
from sundog.front.options import HELD, TAKEN, Option

_JSON = Option("--json -j", "", TAKEN, "print JSON")
_USER = Option("--user -u", "NAME", TAKEN, "the user whose instances are meant: you alone")

INSTANCE_START = (
    *RUN,
    Option("--pid-file", "FILE", TAKEN, "write the process ID of the instance to FILE"),
)
LIST = (
    HELP,
    _JSON,
    Option("--logs -l", "", TAKEN, "print the paths of the logs"),
    Option("--all -a", "", HELD, "all instances are yours"),
    _USER,
)
STOP = (
    HELP,
    Option("--all -a", "", TAKEN, "stop all your instances"),
    Option("--force -F", "", TAKEN, "send SIGKILL at once"),
    Option("--signal -s", "SIGNAL", TAKEN, "send this signal first; default: INT"),
    Option("--timeout -t", "SECONDS", TAKEN, "send SIGKILL after this time; default: 10"),
    _USER,
)
STATS = (
    HELP,
    _JSON,
    Option("--no-stream", "", TAKEN, "print one look, and end"),
    _USER,
)
INSTANCE_TABLES = {
    "instance start": INSTANCE_START,
    "instance run": INSTANCE_START,
    "instance list": LIST,
    "instance stop": STOP,
    "instance stats": STATS,
}
