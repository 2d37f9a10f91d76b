"""The options of ``ch-image`` that are here because scripts for Charliecloud use them.

Some do what they say, and some have nothing to do: ``notes`` says why.
docs/reference/compatibility.md has all options of Charliecloud.
"""

from __future__ import annotations

import argparse
import math

from sundog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

GESTALT = {
    "bucache": "exit with 0, because there is always a build cache",
    "bucache-dot": "exit with 0 if --dot of build-cache can make a PDF",
    "storage-path": "print where images are kept",
    "python-path": "print the Python that runs this program",
    "logging": "print a message at each level",
}
DOT_DEFAULT = "build-cache"

_WHOLE_CACHE = "the build cache keeps files of every size as they are"
_ALL_XATTRS = "layers always keep their extended attributes"
_NOTHING_TO_DO = {
    "no_lock": ("--no-lock", "commands share a storage directory, and lock it only in passing"),
    "xattrs": ("--xattrs", _ALL_XATTRS),
    "no_xattrs": (
        "--no-xattrs",
        f"{_ALL_XATTRS}, file capabilities too; ch-convert --no-xattrs makes an image without them",
    ),
    "cache_large": ("--cache-large", _WHOLE_CACHE),
}
_VARIABLES = {
    "CH_XATTRS": _ALL_XATTRS,
    "CH_IMAGE_CACHE_LARGE": _WHOLE_CACHE,
}


class ReferenceArguments(argparse.Namespace):
    """These options as attributes."""

    break_at: tuple[str, int] | None = None
    cache_large: float = 0
    dependencies: bool = False
    dot: str | None = None
    fail: bool = False
    interactive: bool = False
    no_lock: bool = False
    no_xattrs: bool = False
    profile: bool = False
    undeletable: bool = False
    xattrs: bool = False


def add_reference_options(option: Callable[..., None]) -> None:
    """Add those of the common options."""
    option(
        "--break",
        dest="break_at",
        metavar="MODULE:LINE",
        type=_place,
        help="stop in Python's debugger before that line (for developers)",
    )
    option(
        "--cache-large",
        metavar="MIB",
        type=_size,
        help="accepted: the build cache needs no special place for large files",
    )
    option(
        "--dependencies",
        action="store_true",
        help="print which programs for further features are missing, and exit",
    )
    option("--no-lock", action="store_true", help="accepted: no command locks the storage for long")
    option(
        "--profile",
        action="store_true",
        help="write a profile to ./profile.p and ./profile.txt (for developers)",
    )
    option("--xattrs", action="store_true", help="accepted: layers keep extended attributes")
    option("--no-xattrs", action="store_true", help="accepted: layers keep extended attributes")


def add_gestalt_options(parser: argparse.ArgumentParser) -> None:
    """Add the argument of ``gestalt``, and the option of ``gestalt logging``."""
    parser.add_argument(
        "key",
        metavar="KEY",
        choices=GESTALT,
        help="; ".join(f"{key}: {meaning}" for key, meaning in GESTALT.items()),
    )
    parser.add_argument("--fail", action="store_true", help="logging: fail at the end")


def add_dot_option(parser: argparse.ArgumentParser) -> None:
    """Add the option of ``build-cache`` that draws the tree."""
    parser.add_argument(
        "--dot",
        metavar="PATH",
        nargs="?",
        const=DOT_DEFAULT,
        help=f"write the tree to PATH.gv, and to PATH.pdf by dot(1) (default: {DOT_DEFAULT})",
    )


def add_undeletable_option(parser: argparse.ArgumentParser) -> None:
    """Add the option of ``list`` that shows deleted images."""
    parser.add_argument(
        "-u",
        "--undeletable",
        "--undeleteable",
        action="store_true",
        help="list the deleted images that undelete can restore",
    )


def add_undelete_options(parser: argparse.ArgumentParser) -> None:
    """Add the argument of ``undelete``."""
    parser.add_argument("reference", metavar="IMAGE", help="name of the deleted image")


def check_pairs(arguments: ReferenceArguments) -> None:
    """Raise UsageError for options that exclude each other."""
    if arguments.xattrs and arguments.no_xattrs:
        raise UsageError('"--xattrs" incompatible with "--no-xattrs"', "leave out one of them")
    if arguments.fail and getattr(arguments, "key", "") != "logging":
        raise UsageError("--fail is for logging", "ch-image gestalt logging --fail")


def notes(arguments: ReferenceArguments) -> Iterator[str]:
    """Yield a line for each option that has nothing to do."""
    for name, (option, reason) in _NOTHING_TO_DO.items():
        if getattr(arguments, name):
            yield f"{option}: nothing to do: {reason}"


def notes_on_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each variable that has nothing to do."""
    for name, reason in _VARIABLES.items():
        if environment.get(name):
            yield f"${name}: nothing to do: {reason}"


def _size(text: str) -> float:
    """Return a number of MiB, 0 for no limit."""
    try:
        size = float(text)
    except ValueError:
        size = math.nan
    if math.isnan(size):
        raise argparse.ArgumentTypeError(f"not a number: {text}")
    return max(size, 0)


def _place(text: str) -> tuple[str, int]:
    """Return the module and the line of ``--break``."""
    module, colon, line = text.rpartition(":")
    if not (colon and module and line.isascii() and line.isdigit() and int(line)):
        raise argparse.ArgumentTypeError(f"not MODULE:LINE: {text}")
    return module, int(line)
