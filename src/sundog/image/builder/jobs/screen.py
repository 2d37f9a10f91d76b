"""The screen of stages that are built side by side: their messages, and what runs at the moment.

A terminal has a line for each running stage, below everything else.  Elsewhere, a line says what
runs if nothing was printed for a while.
"""

from __future__ import annotations

import time

from sundog.image.builder.jobs.held_output import OUTPUT
from sundog.runtime.process.relay import write_output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sundog.image.builder.jobs.running_process import RunningProcess
    from sundog.image.builder.report import DivertedReport, Message

_PERIOD, _HASTE = 1.0, 0.2  # seconds between two drawings, at most and at least
SILENCE = 60.0  # seconds without a line, until one says what runs


class Screen:
    """Messages go to ``report``, output of RUN to the descriptors ``targets``, by its stream."""

    def __init__(self, report: DivertedReport, targets: Mapping[int, int]) -> None:
        self._report = report
        self._targets = targets
        self._draws = report.draws
        self._last_shown = time.monotonic()
        self._last_drawn = 0.0
        self._is_drawn = False
        self._is_in_line = False  # the last output has no newline at its end

    @property
    def period(self) -> float:
        """The seconds after which ``tell_running`` has something to do."""
        return _PERIOD if self._draws else SILENCE

    def show(self, message: Message) -> None:
        """Show a message, or output, of a stage."""
        self._last_shown = time.monotonic()
        self.clear()
        match message:
            case (str(kind), int(stream), bytes(piece)) if kind == OUTPUT:
                self._is_in_line = not piece.endswith(b"\n")
                write_output(self._targets[stream], piece)
            case _:
                self._report.replay(message)

    def tell_running(self, stages: Collection[RunningProcess]) -> None:
        """Show what runs, if it is time for that."""
        now = time.monotonic()
        if self._draws:
            if now - self._last_drawn >= _HASTE:
                self._last_drawn = now
                self._draw([running.line for running in stages])
        elif stages and now - self._last_shown >= SILENCE:
            self._last_shown = now
            if self._report.is_ordered:
                self.show(("info", f"still running: {'; '.join(map(str, stages))}"))

    def clear(self) -> None:
        """Remove the lines from the terminal."""
        self._draw(())

    def _draw(self, lines: Sequence[str]) -> None:
        if self._is_drawn or (lines and not self._is_in_line):
            self._report.show_running(lines)
            self._is_drawn = bool(lines)
