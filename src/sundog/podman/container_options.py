"""The options of the subcommands for containers with a name.

Specification: podman-ps(1), podman-stop(1), podman-kill(1), podman-rm(1), podman-logs(1).
"""

from __future__ import annotations

from sundog.podman.image_options import HELP
from sundog.podman.options import HELD, REFUSED, TAKEN, Option, one_of

_FILTER = Option(
    "--filter -f", "FILTER", REFUSED, "sundog can't filter", "sundog ps --format json | jq"
)

PS = (
    Option("--all -a", "", TAKEN, "also detached containers that have ended"),
    Option("--quiet -q", "", TAKEN, "print names only"),
    Option("--noheading", "", TAKEN, "print no header"),
    Option("--no-trunc", "", TAKEN, "do not cut commands"),
    Option("--format", "json", TAKEN, "for scripts"),
    _FILTER,
    HELP,
)

STOP = (
    Option("--time -t", "SECONDS", TAKEN, "until it is killed (default: 10)"),
    HELP,
)

KILL = (
    Option("--signal -s", "SIGNAL", TAKEN, "name or number (default: KILL)"),
    HELP,
)

RM = (
    Option("--force -f", "", TAKEN, "kill it if it runs"),
    Option("--volumes -v", "", HELD, "containers keep no volumes"),
    HELP,
)

LOGS = (
    Option("--follow -f", "", TAKEN, "wait for more"),
    Option("--tail -n", "NUMBER", REFUSED, "sundog prints all lines", "sundog logs NAME | tail",
           harmless=one_of("all", "-1")),
    Option("--timestamps -t", "", REFUSED, "output has no times", "leave it out"),
    Option("--since", "TIME", REFUSED, "output has no times", "leave it out"),
    HELP,
)  # fmt: skip
