"""``ch-image help``: the help of ``ch-image``, or of a subcommand."""

from __future__ import annotations

import sys

from sundog.front.cli.image_arguments import print_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import HelpArguments
    from sundog.front.cli.report import Report


def run(arguments: HelpArguments, report: Report) -> int:  # noqa: ARG001 - as all subcommands
    """Print the help on standard output."""
    print_help(sys.stdout, arguments.topic)
    return 0
