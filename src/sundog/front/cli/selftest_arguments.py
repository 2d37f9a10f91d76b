"""``ch-test``'s command line."""

from __future__ import annotations

import argparse

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
    """The options as attributes."""

    help: bool = False
    version: bool = False
    format: str = "text"
    registry: str | None = None
    slurm: bool = False
    storage: str | None = None


def make_parser() -> SmallParser:
    """Return the parser of the command line."""
    parser = SmallParser("ch-test", "", _DESCRIPTION, _EPILOGUE)
    add = parser.add_argument
    add("--format", choices=("text", "json"), default="text", help="what to print")
    add("--registry", metavar="HOST[/IMAGE]", help="ask a registry, and pull IMAGE from it")
    add("--slurm", action="store_true", help="also run containers by srun")
    add("-s", "--storage", metavar="DIR", help="the storage directory to try the file system of")
    parser.add_last_options()
    return parser


def parse(argv: Sequence[str]) -> SelfTestArguments:
    """Parse the command line; raise UsageError."""
    return make_parser().parse_args(argv, SelfTestArguments())
