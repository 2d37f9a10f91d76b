"""RUN with heredocs: the command that they make, and the script if there is one.

Specification: the Dockerfile reference, “Here-Documents”.  ``RUN <<EOF`` alone runs the body: as a
file of its own if it begins with ``#!``, else by the shell.  If the line has more, the shell gets
the whole unchanged.  Nothing is substituted in it.  A text that is too long for an argument becomes
a file, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sundog.base.kernel.process import STRING_LIMIT
from sundog.errors import SubstitutionError
from sundog.image.builder.tree_step import encoded
from sundog.image.dockerfile.heredocs import parse_marker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.dockerfile.heredocs import Heredoc
    from sundog.image.dockerfile.instructions import Run

SCRIPT_DIRECTORY = "/run/.heredocs"
_SHOWN = 200  # characters
_LONG = "command"  # the name of the script that is a long command


@dataclass(frozen=True, slots=True)
class Script:
    """A heredoc that runs as a file: its ``name`` in SCRIPT_DIRECTORY."""

    name: str
    text: str


def run_command(instruction: Run, shell: Sequence[str]) -> tuple[tuple[str, ...], Script | None]:
    """Return the argument vector of a RUN, and the script that it needs, if any."""
    if not instruction.heredocs:
        return tuple(instruction.argv(shell)), None
    (line,) = instruction.args
    if not _is_marker(line):
        bodies = (f"\n{heredoc.content}{heredoc.name}" for heredoc in instruction.heredocs)
        return (*shell, line + "".join(bodies)), None
    heredoc = instruction.heredocs[0]
    if not heredoc.body.startswith("#!"):
        return (*shell, heredoc.body), None
    name = heredoc.name.replace("/", "%") or "script"
    return (*shell, f"{SCRIPT_DIRECTORY}/{name}"), Script(name, heredoc.body)


def from_file(argv: tuple[str, ...]) -> tuple[tuple[str, ...], Script | None]:
    """If a command text is too long for an argument, return a command that reads it from a file.

    For the shell form of RUN.  If the shell's last option is not ``-c``, or a group of options that
    ends with it, the command stays unchanged.
    """
    *shell, text = argv
    if len(encoded(text)) < STRING_LIMIT or not re.fullmatch("-[a-zA-Z]*c", shell[-1]):
        return argv, None
    option = shell.pop().removesuffix("c")
    options = [] if option == "-" else [option]
    return (*shell, *options, f"{SCRIPT_DIRECTORY}/{_LONG}"), Script(_LONG, text)


def heredoc_text(instruction: Run) -> str:
    """Return the text that announces a RUN with heredocs: its line, and the first body's start."""
    (line,) = instruction.args
    return f"{line} ({_beginning(instruction.heredocs[0])})"


def _beginning(heredoc: Heredoc) -> str:
    lines = [line.strip() for line in heredoc.body.splitlines() if line.strip()]
    first = lines[0] if lines else ""
    return first[:_SHOWN] + ("..." if len(lines) > 1 or len(first) > _SHOWN else "")


def _is_marker(line: str) -> bool:
    try:
        return parse_marker(line.strip()) is not None
    except SubstitutionError:
        return False
