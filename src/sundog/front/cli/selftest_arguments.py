"""``ch-test``'s command line."""

from __future__ import annotations

import argparse

from sundog.front.cli.option_rows import add_rows, flag, option
from sundog.front.cli.parser import SmallParser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_DESCRIPTION = """\
Find out what works on this machine: namespaces, the file system of the storage
directory, root emulation, and every way to build, run and convert an image.
"""
_EPILOGUE = """\
Each line says ok, failed (with cause and hint), or not here (with the reason).
The image is made of a few programs of this machine, so no network is needed.
All files are in a directory of their own beside the storage directory, which
ch-test removes.  Exit status: 0; 1 if anything failed.
"""


class SelfTestArguments(argparse.Namespace):
    """The command line."""

    help: bool
    version: bool
    format: str = option(
        "--format", None, "what to print", choices=("text", "json"), default="text"
    )
    registry: str | None = option(
        "--registry", "HOST[/IMAGE]", "ask a registry, and pull IMAGE from it"
    )
    slurm: bool = flag("--slurm", "also run containers by srun")
    storage: str | None = option(
        "-s --storage", "DIR", "the storage directory to try the file system of"
    )


def make_parser() -> SmallParser:
    """Return the parser of the command line."""
    parser = SmallParser("ch-test", "", _DESCRIPTION, _EPILOGUE)
    add_rows(SelfTestArguments, parser.add_argument)
    parser.add_last_options()
    return parser


def parse(argv: Sequence[str]) -> SelfTestArguments:
    """Parse the command line; raise UsageError."""
    return SelfTestArguments(**vars(make_parser().parse_args(argv)))
