"""``ch-checkns``'s command line."""

from __future__ import annotations

import argparse

from sundog.errors import UsageError
from sundog.front.cli.parser import SmallParser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_DESCRIPTION = """\
Try each step that a container needs on this machine.  Print ok, or what is
refused, why, and the command that repairs it.
"""


class CheckArguments(argparse.Namespace):
    """The options as attributes."""

    help: bool = False
    version: bool = False
    all: bool = False
    apparmor_profile: bool = False
    json: bool = False
    registry: list[str]
    storage: str | None = None
    verbose: int = 0


def make_parser() -> SmallParser:
    """Return the parser of the command line."""
    parser = SmallParser("ch-checkns", "", _DESCRIPTION)
    add = parser.add_argument
    add("--all", action="store_true", help="try every feature, not only what each container needs")
    add(
        "--apparmor-profile",
        action="store_true",
        help="print an AppArmor profile that lets these commands make user namespaces",
    )
    add("--json", action="store_true", help="print the outcomes as JSON")
    add(
        "--registry",
        metavar="HOST",
        action="append",
        default=[],
        help="a registry that --all tries, instead of those in the user's settings; repeatable",
    )
    add("-s", "--storage", metavar="DIR", help="the storage directory that --all looks at")
    add("-v", "--verbose", action="count", default=0, help="print each step")
    parser.add_last_options()
    return parser


def parse(argv: Sequence[str]) -> CheckArguments:
    """Parse the command line; raise UsageError."""
    arguments = make_parser().parse_args(argv, CheckArguments())
    for option, value in (("--registry", arguments.registry), ("--storage", arguments.storage)):
        if value and not arguments.all:
            raise UsageError(f"{option}: only --all looks at that", f"ch-checkns --all {option} …")
    return arguments
