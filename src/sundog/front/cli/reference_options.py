"""The options of ``ch-image`` that are here because scripts for Charliecloud use them.

Some do what they say, and some have nothing to do: ``notes`` says why.
docs/reference/compatibility.md has all options of Charliecloud.
"""

from __future__ import annotations

import argparse
import math

from sundog.errors import UsageError
from sundog.front.cli.common_arguments import CommonArguments
from sundog.front.cli.option_rows import flag, option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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


class ImageArguments(CommonArguments):
    """The common options with those of them that are here; each subcommand has its own class."""

    break_at: tuple[str, int] | None = option(
        "--break",
        "MODULE:LINE",
        "stop in Python's debugger before that line (for developers)",
        type=_place,
    )
    cache_large: float = option(
        "--cache-large",
        "MIB",
        "accepted: the build cache needs no special place for large files",
        type=_size,
        default=0,
    )
    dependencies: bool = flag(
        "--dependencies", "print which programs for further features are missing, and exit"
    )
    no_lock: bool = flag("--no-lock", "accepted: no command locks the storage for long")
    profile: bool = flag(
        "--profile", "write a profile to ./profile.p and ./profile.txt (for developers)"
    )
    xattrs: bool = flag("--xattrs", "accepted: layers keep extended attributes")
    no_xattrs: bool = flag("--no-xattrs", "accepted: layers keep extended attributes")

    def check(self) -> None:
        """Raise UsageError for options that exclude each other."""
        super().check()
        if self.xattrs and self.no_xattrs:
            raise UsageError('"--xattrs" incompatible with "--no-xattrs"', "leave out one of them")


def notes(arguments: ImageArguments) -> Iterator[str]:
    """Yield a line for each option that has nothing to do."""
    for name, (shown, reason) in _NOTHING_TO_DO.items():
        if getattr(arguments, name):
            yield f"{shown}: nothing to do: {reason}"


def notes_on_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each variable that has nothing to do."""
    for name, reason in _VARIABLES.items():
        if environment.get(name):
            yield f"${name}: nothing to do: {reason}"
