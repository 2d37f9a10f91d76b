"""The messages of a running build, and their form; ``cli/`` prints them."""

from __future__ import annotations

from typing import Protocol

HIT = "*"
MISS = "."
NOT_APPLICABLE = " "


class Report(Protocol):
    """The receiver of a build's messages."""

    def info(self, text: str) -> None:
        """Report what users want to see without asking."""

    def verbose(self, text: str) -> None:
        """Report what helps at -v."""

    def warning(self, text: str) -> None:
        """Report what users may not expect."""


def instruction_line(line: int, status: str, text: str) -> str:
    """Return the announcement of an instruction: number of its line, status, text."""
    return f"{line:3d}{status} {text}"
