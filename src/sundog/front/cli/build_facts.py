"""Options of ``build`` that say facts of the image: ``--annotation`` and ``--timestamp``."""

from __future__ import annotations

import re

from sundog.errors import UsageError
from sundog.image.oci.timestamps import EPOCH_VARIABLE, parse_epoch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sundog.front.cli.build_arguments import BuildArguments

# The documents that buildx can annotate, before the name.
_LEVEL = re.compile(r"((?:manifest|index)(?:-descriptor)?)(\[[^]]*\])?:")
_MANIFEST = "manifest"


def chosen_annotations(texts: Sequence[str]) -> dict[str, str]:
    """Return the annotations of ``--annotation [manifest:]NAME=VALUE``; raise UsageError."""
    found = {}
    for text in texts:
        level = _LEVEL.match(text)
        if level is not None and (level[1] != _MANIFEST or level[2]):
            raise UsageError(
                f"--annotation: {text}: only the manifest is annotated",
                f"write --annotation {text[level.end() :]}",
            )
        name, equals, value = text[level.end() if level else 0 :].partition("=")
        if not name or not equals:
            fault = "no value" if name else "no name"
            raise UsageError(f"--annotation: {text}: {fault}", "write --annotation NAME=VALUE")
        found[name] = value
    return found


def environment_of(
    arguments: BuildArguments, build_args: Mapping[str, str], environment: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the variables of the build, with ``--timestamp`` as $SOURCE_DATE_EPOCH.

    Raises UsageError.
    """
    seconds = arguments.timestamp
    if seconds is None:
        return environment
    if parse_epoch(seconds, "--timestamp") is None:
        raise UsageError("--timestamp: no number of seconds", "as date +%s prints it; 0 is 1970")
    if build_args.get(EPOCH_VARIABLE, seconds) != seconds:
        raise UsageError(
            f"--timestamp {seconds}, but --build-arg {EPOCH_VARIABLE} says another time",
            "leave out one of them",
        )
    return {**environment, EPOCH_VARIABLE: seconds}
