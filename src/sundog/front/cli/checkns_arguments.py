"""``ch-checkns``'s command line."""

from __future__ import annotations

import argparse

from sundog.errors import UsageError
from sundog.front.cli.option_rows import add_rows, counted, flag, option, repeated
from sundog.front.cli.parser import SmallParser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_DESCRIPTION = """\
Try each step that a container needs on this machine.  Print ok, or what is
refused, why, and the command that repairs it.
"""


class CheckArguments(argparse.Namespace):
    """The command line."""

    help: bool
    version: bool
    all: bool = flag("--all", "try every feature, not only what each container needs")
    apparmor_profile: bool = flag(
        "--apparmor-profile",
        "print an AppArmor profile that lets these commands make user namespaces",
    )
    json: bool = flag("--json", "print the outcomes as JSON")
    registry: list[str] = repeated(
        "--registry",
        "HOST",
        "a registry that --all tries, instead of those in the user's settings; repeatable",
    )
    storage: str | None = option("-s --storage", "DIR", "the storage directory that --all looks at")
    verbose: int = counted("-v --verbose", "print each step")


def make_parser() -> SmallParser:
    """Return the parser of the command line."""
    parser = SmallParser("ch-checkns", "", _DESCRIPTION)
    add_rows(CheckArguments, parser.add_argument)
    parser.add_last_options()
    return parser


def parse(argv: Sequence[str]) -> CheckArguments:
    """Parse the command line; raise UsageError."""
    arguments = CheckArguments(**vars(make_parser().parse_args(argv)))
    for name, value in (("--registry", arguments.registry), ("--storage", arguments.storage)):
        if value and not arguments.all:
            raise UsageError(f"{name}: only --all looks at that", f"ch-checkns --all {name} …")
    return arguments
