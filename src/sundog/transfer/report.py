"""What transfers tell while they run; ``cli/`` shows it.

May be called from several threads.
"""

from __future__ import annotations

from typing import Protocol


class Transfer(Protocol):
    """One blob on its way."""

    def advance(self, size: int) -> None:
        """``size`` more bytes have been moved."""

    def end(self) -> None:
        """It is done, or given up."""


class Report(Protocol):
    """Where the messages of a pull or push go."""

    def info(self, text: str) -> None:
        """Tell what the user wants to see without asking."""

    def verbose(self, text: str) -> None:
        """Tell what helps at -v."""

    def warning(self, text: str) -> None:
        """Tell what may not be what the user expects."""

    def transfer(self, label: str, verb: str, total: int) -> Transfer:
        """Tell that a blob of ``total`` bytes is about to be moved: ``layer 1/2: downloading``."""
