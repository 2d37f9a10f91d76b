"""Commands that look like the exec form, but are in shell form: warn before anything runs.

Specification: the Dockerfile reference, “Exec form”: a JSON array, so its strings are in double
quotes.  Anything else is a shell's command, as ``[ -f /x ]`` is.
"""

from __future__ import annotations

import re

from sundog.image.dockerfile.instructions import CommandInstruction, Healthcheck

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sundog.image.builder.report import Report
    from sundog.image.dockerfile.instructions import Instruction
    from sundog.image.dockerfile.parse import Dockerfile

# The shell's own brackets have a blank inside, and no comma after a quoted word.
_LIKE_EXEC_FORM = re.compile(
    r"""\[[^\s\[] | \[\s+["'][^"']*["']\s*,.*\]\s*\Z""", re.VERBOSE | re.DOTALL
)
_SHOWN = 60  # characters


def warn_of_shell_form(
    dockerfile: Dockerfile, instructions: Iterable[Instruction], report: Report
) -> None:
    """Report each command that was probably meant as a JSON array and is none."""
    for instruction in instructions:
        text = _shell_command(instruction)
        if _LIKE_EXEC_FORM.match(text):
            shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
            report.warning(
                f"{dockerfile.path}:{instruction.line}: {instruction.name} is in shell form, "
                f"because this is not a JSON array of strings in double quotes: {shown}"
            )


def _shell_command(instruction: Instruction) -> str:
    match instruction:
        case CommandInstruction(is_exec=False, args=(text,)):
            return text
        case Healthcheck(test=("CMD-SHELL", text)):
            return text
    return ""
