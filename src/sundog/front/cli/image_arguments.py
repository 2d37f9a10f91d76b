"""``ch-image``'s command line.

The common options may stand before or after the subcommand.  An option after it replaces the same
option before it.
"""

from __future__ import annotations

import argparse
import os

from sundog import __version__
from sundog.errors import UsageError
from sundog.front.cli.image_subcommands import ALIASES, SUBCOMMANDS
from sundog.front.cli.parser import OneOf, Parser, suggestion
from sundog.front.cli.reference_options import (
    ReferenceArguments,
    add_reference_options,
    check_pairs,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from typing import TextIO


class ImageArguments(ReferenceArguments):
    """The options as attributes: those of all subcommands, and the common ones."""

    subcommand: str | None = None
    storage: str | None = None
    verbose: int = 0
    quiet: int = 0
    cache: str | None = None
    debug: bool = False
    no_limits: bool = False
    always_download: bool = False
    arch: str = "host"
    auth: bool = False
    compression: str = "gzip"
    image: str | None = None
    images: Sequence[str]
    output: str
    password_many: bool = False
    tls_no_verify: bool = False

    bind: Sequence[str] = ()
    cdi_dirs: str | None = None
    device: Sequence[str] = ()
    build_arg: Sequence[str] = ()
    build_context: Sequence[str] = ()
    check: bool = False
    context: str
    dry_run: bool = False
    emulation_default: str | None = None
    file: str | None = None
    force: str | None
    force_cmd: Sequence[str] = ()
    no_fallback: bool = False
    parse_only: bool = False
    progress: str = "auto"
    real_sync: bool = False
    label: Sequence[str] = ()
    iidfile: str = ""
    metadata_file: str = ""
    secret: Sequence[str] = ()
    ssh: Sequence[str] = ()
    tag: Sequence[str] = ()
    target_stage: str = ""

    collect: bool = False
    command: Sequence[str] = ()
    format: str = "text"
    destination: str | None = None
    globs: Sequence[str]
    key: str
    last_layer: int | None = None
    long: bool
    password_stdin: bool = False
    path: str
    reference: str
    registry: str
    remote: bool = False
    reset: bool = False
    script: str | None = None
    shell: str | None = None
    target: str | None = None
    topic: str | None = None
    tree: bool = False
    username: str | None = None


def parse_arguments(argv: Sequence[str]) -> ImageArguments:
    """Read the command line; raise UsageError.  ``--help`` and ``--version`` exit."""
    parser = _parser(wanted=argv)
    arguments, unknown = parser.parse_known_args(argv, namespace=ImageArguments())
    if unknown:
        known = _subcommands(parser)
        raise known.get(arguments.subcommand or "", parser).unrecognized(unknown)
    if arguments.dependencies:
        return arguments
    if arguments.subcommand is None:
        raise UsageError("CMD not specified", "ch-image --help")
    if arguments.subcommand in ALIASES:
        arguments.subcommand = ALIASES[arguments.subcommand][0]
    if arguments.quiet and arguments.verbose:
        raise UsageError('"--quiet" incompatible with "--verbose"', "leave out one of them")
    check_pairs(arguments)
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
    for name, (summary, add_options) in summaries.items():
        if wanted is not None and name not in wanted:
            subcommands.add_parser(name, help=summary, add_help=False)
            continue
        subcommand = subcommands.add_parser(
            name, help=summary, description=f"{summary}.", parents=[common]
        )
        add_options(subcommand)
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
    """Return the options that may stand before or after the subcommand."""
    parser = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = parser.add_argument_group("common options, before or after CMD")

    def option(*names: str, help: str, **settings: object) -> None:  # noqa: A002 - argparse's word
        group.add_argument(
            *names,
            help=argparse.SUPPRESS if hidden else help,
            **settings,  # type: ignore[arg-type]
        )

    def cache_option(name: str, mode: str, help: str) -> None:  # noqa: A002
        option(name, dest="cache", action=OneOf, nargs=0, const=mode, help=help)

    cache_option("--cache", "enabled", "use the build cache (default; $CH_IMAGE_CACHE)")
    cache_option("--no-cache", "disabled", "neither read nor write the build cache")
    cache_option("--rebuild", "rebuild", "run all instructions again, and cache the results")
    option(
        "-a",
        "--arch",
        metavar="ARCH",
        help="architecture: host (default), arm64, arm/v7...; yolo takes what the registry gives",
    )
    option(
        "--always-download",
        action="store_true",
        help="fetch manifests again, even if they are in storage",
    )
    option(
        "--auth",
        action="store_true",
        help="log in to registries, ask for the password if need be ($CH_IMAGE_AUTH)",
    )
    option("--debug", action="store_true", help="show a stack trace with an error")
    option("--no-limits", action="store_true", help="unpack archives of any size (see the manual)")
    option("-q", "--quiet", action="count", help="say less (repeat for still less)")
    option("--password-many", action="store_true", help="ask for the password each time")
    option("-s", "--storage", metavar="DIR", help="storage directory ($CH_IMAGE_STORAGE)")
    option("--tls-no-verify", action="store_true", help="trust any registry's certificate")
    option("-v", "--verbose", action="count", help="say more (repeat for still more)")
    add_reference_options(option)
    return parser


def storage_path(arguments: ImageArguments) -> str | None:
    """Return the storage directory that the user asked for, None for the default."""
    if arguments.storage == "":
        raise UsageError("--storage: DIR is empty", "ch-image --help")
    return None if arguments.storage is None else os.path.abspath(arguments.storage)
