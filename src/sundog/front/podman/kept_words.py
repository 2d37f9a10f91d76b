"""The words of ``sundog run`` that a container is started with, and started again with.

They are complete: variables have their values, and sources of volumes are absolute.
"""

from __future__ import annotations

import os

from sundog.front.options import scan
from sundog.front.podman import variables
from sundog.front.podman.run_options import RUN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.options import Line
    from sundog.front.podman.run_line import Caller

# Options that concern the making of a container, or one start of it; and variables.
_LEFT_OUT = frozenset(
    {"name", "detach", "rm", "pull", "platform", "arch", "tls-verify", "quiet", "cidfile"}
)
_VARIABLES = frozenset({"env", "env-file", "env-host"})
_SOURCES = ("source", "src")


def kept_words(line: Line, caller: Caller) -> list[str]:
    """Return the words that stand for the scanned ``line``.  Raises as ``variables.chosen``."""
    words = []
    for option, value in line.found:
        if option.name in _LEFT_OUT or option.name in _VARIABLES:
            continue
        if option.name == "volume":
            value = _absolute_volume(value)  # noqa: PLW2901
        elif option.name == "mount":
            value = ",".join(map(_absolute_field, value.split(",")))  # noqa: PLW2901
        words.append(f"--{option.name}={value}")
    chosen = variables.chosen(line, caller.environment, variables.read_environment_file)
    words += [f"--env={name}={value}" for name, value in chosen.items()]
    return [*words, "--", *line.operands]


def kept_line(words: list[str]) -> Line:
    """Return the line that the words stand for.  Raises UsageError."""
    return scan(words, RUN, command="run", permute=False)


def _absolute_volume(text: str) -> str:
    source, colon, rest = text.partition(":")
    is_path = "/" in source or source in (".", "..")
    return f"{os.path.abspath(source)}:{rest}" if colon and is_path else text


def _absolute_field(text: str) -> str:
    name, equals, value = text.partition("=")
    return f"{name}={os.path.abspath(value)}" if equals and name in _SOURCES else text
