"""The messages of a running build, and their form; ``cli/`` prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

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

    def watched(self, text: str, total: int | None = None) -> AbstractContextManager[None]:
        """Show on a terminal how many bytes child processes move in the context."""

    def note(self, text: str) -> None:
        """Report progress on a terminal only."""


def instruction_line(line: int, status: str, text: str) -> str:
    """Return the announcement of an instruction: number of its line, status, text."""
    return f"{line:3d}{status} {text}"
