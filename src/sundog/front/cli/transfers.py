"""Transfers on a terminal, one line each.  ``rich`` draws them and is imported for nothing else.

No thread draws by itself, because processes may be forked while the display is up.
"""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

_SECONDS = 0.1  # seconds between two drawings


class Display:
    """The lines of all running transfers.  The caller lets one thread in at a time."""

    def __init__(self, stream: TextIO) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            console=Console(file=stream),
            auto_refresh=False,
            transient=True,
        )
        self._active = 0
        self._drawn = 0.0

    @property
    def is_up(self) -> bool:
        """Tell whether there are lines on the terminal."""
        return self._active > 0

    def add(self, description: str, total: int | None) -> int:
        """Add a line and return its number."""
        if not self._active:
            self._progress.start()
        self._active += 1
        task = self._progress.add_task(description, total=total)
        self._progress.refresh()
        return task

    def advance(self, task: int, size: int) -> None:
        """Add ``size`` to a line; draw it unless the last drawing was a moment ago."""
        self._progress.advance(task, size)  # type: ignore[arg-type]
        now = time.monotonic()
        if now - self._drawn > _SECONDS:
            self._drawn = now
            self._progress.refresh()

    def remove(self, task: int) -> None:
        """Remove a line."""
        self._progress.remove_task(task)  # type: ignore[arg-type]
        self._progress.refresh()
        self._active -= 1
        if not self._active:
            self._progress.stop()

    def close(self) -> None:
        """Remove all lines."""
        self._active = 0
        self._progress.stop()

    def print(self, text: str) -> None:
        """Print above the lines."""
        self._progress.console.print(Text.from_ansi(text), soft_wrap=True)
