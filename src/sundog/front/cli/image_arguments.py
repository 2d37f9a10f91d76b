"""``ch-image``'s command line.

The common options may stand before or after the subcommand.  An option after it replaces the same
option before it.
"""

from __future__ import annotations

import argparse

from sundog import __version__
from sundog.errors import UsageError
from sundog.front.cli.build_arguments import PULL_ALWAYS
from sundog.front.cli.common_arguments import ImageArguments
from sundog.front.cli.image_subcommands import ALIASES, SUBCOMMANDS
from sundog.front.cli.option_rows import add_rows
from sundog.front.cli.parser import Parser, suggestion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from typing import TextIO


def parse_arguments(argv: Sequence[str]) -> ImageArguments:
    """Return the command line as an object of its subcommand's class.

    With --dependencies the subcommand may be missing.  Raises UsageError.  ``--help`` and
    ``--version`` exit.
    """
    # A policy is attached: "build --pull ." has a context.
    argv = [PULL_ALWAYS if word == "--pull" else word for word in argv]
    parser = _parser(wanted=argv)
    found, unknown = parser.parse_known_args(argv)
    if unknown:
        raise _subcommands(parser).get(found.subcommand or "", parser).unrecognized(unknown)
    if found.dependencies:
        return ImageArguments(**vars(found))
    if found.subcommand is None:
        raise UsageError("CMD not specified", "ch-image --help")
    if found.subcommand in ALIASES:
        found.subcommand = ALIASES[found.subcommand][0]
    _, kind = SUBCOMMANDS[found.subcommand]
    arguments = kind(**vars(found))
    arguments.check()
    return arguments


def print_help(stream: TextIO, subcommand: str | None = None) -> None:
    """Print the help of ``ch-image``, or of a subcommand; raise UsageError if there is none."""
    parser = _parser()
    if subcommand is not None:
        known = _subcommands(parser)
        if subcommand not in known:
            raise UsageError(
                f"not a subcommand: {subcommand}", suggestion(subcommand, known) + "ch-image --help"
            )
        parser = known[subcommand]
    parser.print_help(stream)


def _parser(wanted: Container[str] | None = None) -> Parser:
    """Return the parser, with the options of the subcommands that are ``wanted``.

    None stands for all subcommands, as the manual needs them.  The others get a name but no
    options: adding those takes milliseconds.
    """
    parser = Parser(
        prog="ch-image",
        description="Build and manage images, completely unprivileged.",
        parents=[_common_options(hidden=False)],
    )
    parser.add_argument(
        "--version", action="version", version=__version__, help="print the version and exit"
    )
    subcommands = parser.add_subparsers(
        prog=parser.prog, dest="subcommand", metavar="CMD", title="subcommands"
    )
    common = _common_options(hidden=True)
    summaries = {
        **SUBCOMMANDS,
        **{alias: (summary, SUBCOMMANDS[name][1]) for alias, (name, summary, _) in ALIASES.items()},
    }
    for name, (summary, kind) in summaries.items():
        if wanted is not None and name not in wanted:
            subcommands.add_parser(name, help=summary, add_help=False)
            continue
        subcommand = subcommands.add_parser(
            name, help=summary, description=f"{summary}.", parents=[common]
        )
        add_rows(kind, subcommand.add_argument, beyond=ImageArguments)
        if name in ALIASES:
            subcommand.set_defaults(**ALIASES[name][2])
    return parser


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, Parser]:
    """Return the parsers of the subcommands by name."""
    return next(
        dict(action.choices)
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
    )


def _common_options(*, hidden: bool) -> Parser:
    """Return the options that may stand before or after the subcommand.

    Those after it are hidden.
    """
    parser = Parser(add_help=False)
    group = parser.add_argument_group("common options, before or after CMD")
    add_rows(ImageArguments, group.add_argument, hidden=hidden)
    return parser
