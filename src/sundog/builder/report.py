"""What a build tells while it runs, and in which form; ``cli/`` prints it."""

from __future__ import annotations

from typing import Protocol

HIT = "*"
MISS = "."
NOT_APPLICABLE = " "


class Report(Protocol):
    """Where the messages of a build go."""

    def info(self, text: str) -> None:
        """Tell what the user wants to see without asking."""

    def verbose(self, text: str) -> None:
        """Tell what helps at -v."""

    def warning(self, text: str) -> None:
        """Tell what may not be what the user expects."""


def instruction_line(line: int, status: str, text: str) -> str:
    """Return the announcement of an instruction: number of its line, status, text."""
    return f"{line:3d}{status} {text}"
