"""Reports of transfers while they run; ``cli/`` shows them.

Several threads may report at once.
"""

from __future__ import annotations

from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Transfer(Protocol):
    """One blob on its way."""

    def advance(self, size: int) -> None:
        """Count ``size`` more bytes that have moved."""

    def end(self) -> None:
        """End the display: the transfer is complete or was given up."""


class Report(Protocol):
    """Takes the messages of a pull or push."""

    def info(self, text: str) -> None:
        """Show ``text`` unless the user asked for quiet."""

    def verbose(self, text: str) -> None:
        """Show ``text`` at -v."""

    def warning(self, text: str) -> None:
        """Warn of what the user may not expect."""

    def transfer(self, label: str, verb: str, total: int) -> Transfer:
        """Show that a blob of ``total`` bytes begins to move: ``layer 1/2: downloading``."""


class WatchingReport(Report, Protocol):
    """A report that also shows what child processes do."""

    def watched(self, text: str, total: int | None = None) -> AbstractContextManager[None]:
        """Show on a terminal how many bytes child processes move in the context."""
