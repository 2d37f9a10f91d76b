"""The options of the subcommands for containers.

Specification: podman-ps(1), podman-stop(1), podman-kill(1), podman-rm(1), podman-logs(1) and the
other pages of these names.
"""

from __future__ import annotations

from sundog.front.options import HELD, REFUSED, TAKEN, Option, one_of
from sundog.front.podman.image_options import HELP

_FILTER = Option(
    "--filter -f",
    "KEY=VALUE",
    TAKEN,
    "id, name, label, status, exited, ancestor, before, since, until or volume",
)
_TIME = Option("--time -t", "SECONDS", TAKEN, "until it is killed (default: 10)")
_ALL = Option("--all -a", "", TAKEN, "all containers")
_IGNORE = Option("--ignore -i", "", TAKEN, "do not mind a container that does not exist")

PS = (
    Option("--all -a", "", TAKEN, "also containers that do not run"),
    Option("--quiet -q", "", TAKEN, "print IDs only"),
    Option("--noheading", "", TAKEN, "print no header"),
    Option("--no-trunc", "", TAKEN, "do not cut IDs and commands"),
    Option("--format", "json|TEMPLATE", TAKEN, "JSON, or a Go template such as {{.Names}}"),
    Option("--size -s", "", TAKEN, "how large the changes are"),
    Option("--last -n", "NUMBER", TAKEN, "the NUMBER containers made last"),
    Option("--latest -l", "", TAKEN, "the container made last"),
    _FILTER,
    Option("--external", "", HELD, "nothing else makes containers in the storage"),
    HELP,
)

STOP = (_TIME, _ALL, _IGNORE, HELP)

KILL = (
    Option("--signal -s", "SIGNAL", TAKEN, "name or number (default: KILL)"),
    _ALL,
    HELP,
)

RM = (
    Option("--force -f", "", TAKEN, "kill it if it runs; do not mind one that does not exist"),
    _ALL,
    _IGNORE,
    Option("--volumes -v", "", HELD, "containers keep no volumes"),
    HELP,
)

LOGS = (
    Option("--follow -f", "", TAKEN, "wait for more"),
    Option("--tail -n", "NUMBER", TAKEN, "the last NUMBER lines (default: all)"),
    Option("--timestamps -t", "", TAKEN, "print the time of each line"),
    Option("--since", "TIME", TAKEN, "what came after TIME, or in the last 10m"),
    Option("--until", "TIME", TAKEN, "what came before TIME"),
    HELP,
)

TOP = (HELP,)

WAIT = (
    _IGNORE,
    Option("--interval", "TIME", HELD, "the end is seen at once"),
    HELP,
)

START = (
    Option("--attach -a", "", TAKEN, "in the foreground: become its command"),
    Option("--interactive -i", "", TAKEN, "keep standard input open"),
    Option("--sig-proxy", "", HELD, "signals reach the command"),
    HELP,
)

RESTART = (_TIME, HELP)

COMMIT = (
    Option("--author -a", "NAME", TAKEN, "who made the image"),
    Option("--message -m", "TEXT", TAKEN, "a comment in its history"),
    Option("--change -c", "INSTRUCTION", TAKEN, "CMD, ENV, … as in a Dockerfile; repeatable"),
    Option("--quiet -q", "", HELD, "nothing but the ID is printed"),
    Option("--pause -p", "", HELD, "the container has ended"),
    Option(
        "--format -f",
        "FORMAT",
        REFUSED,
        "an image has the format of OCI or of docker",
        "leave it out: images have no format until they leave",
        harmless=one_of("oci", "docker"),
    ),
    HELP,
)

DIFF = (
    Option("--format", "json", TAKEN, "for scripts"),
    HELP,
)

EXISTS = (
    Option("--external", "", HELD, "there are no containers of other programs"),
    HELP,
)

CP = (
    Option("--archive -a", "", HELD, "owners in the container are its own"),
    Option("--overwrite", "", TAKEN, "let a file replace a directory, and the reverse"),
    Option("--pause", "", HELD, "nothing is paused"),
    HELP,
)

CONTAINER_PRUNE = (
    Option("--force -f", "", TAKEN, "do not ask"),
    Option("--filter", "KEY=VALUE", TAKEN, "until=TIME, label=KEY[=VALUE]"),
    HELP,
)
