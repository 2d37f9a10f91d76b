"""Words of ``ch-image`` that are here because scripts for Charliecloud use them.

Some options have nothing to do: ``notes`` says which, and why.
docs/reference/compatibility.md has all options of Charliecloud.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sundog.front.cli.common_arguments import ImageArguments

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
