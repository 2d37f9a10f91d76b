"""Events that a function reports to a callback of the program while it works."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Self

    from sundog.image.builder.report import Announcement

    Progress = Callable[["Event"], None]

DEBUG, DETAIL, INFO, WARNING, BEGIN, BYTES, END = (
    *("debug", "detail", "info", "warning"),
    *("begin", "bytes", "end"),
)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    kind   "info", "warning", "detail" or "debug" for a message; "begin", "bytes" or "end" for a
           transfer
    text   the message, or the name of the transfer; it may have any characters
    done   the bytes of the transfer that have moved
    total  the bytes that will have moved at its end; None if that is unknown, and for messages
    """

    kind: str
    text: str
    done: int = 0
    total: int | None = None


class ProgressReport:
    """Hands messages and transfers to a callback, one at a time; without one, to nobody."""

    def __init__(self, callback: Progress | None) -> None:
        self._callback = callback
        self._lock = threading.RLock()  # transfers report from their own threads

    @property
    def report(self) -> Self:
        """The receiver of messages, as ``convert.conversion`` wants it."""
        return self

    def tell(self, event: Event) -> None:
        """Hand an event over."""
        if self._callback is not None:
            with self._lock:
                self._callback(event)

    def debug(self, text: str) -> None:
        """Report how something is done."""
        self.tell(Event(DEBUG, text))

    def verbose(self, text: str) -> None:
        """Report details."""
        self.tell(Event(DETAIL, text))

    def info(self, text: str) -> None:
        """Report progress."""
        self.tell(Event(INFO, text))

    def warning(self, text: str) -> None:
        """Report what programs may not expect."""
        self.tell(Event(WARNING, text))

    def withdraw(self, warning: str) -> None:
        """Leave out that a warning does not hold any more."""

    def note(self, text: str) -> None:
        """Leave out what is for a terminal only."""

    def begin(self, announcement: Announcement) -> None:
        """Report that an instruction of a build begins."""
        self.info(str(announcement))

    def end(self, error: str = "") -> None:
        """Leave out that an instruction has ended."""

    def watched(self, text: str, total: int | None = None) -> AbstractContextManager[None]:  # noqa: ARG002
        """Leave out the bytes that child processes move."""
        return nullcontext()

    def transfer(self, label: str, verb: str, total: int | None) -> ReportedTransfer:
        """Report that a transfer begins."""
        return ReportedTransfer(self, f"{label}: {verb}", total)

    quiet_transfer = transfer

    def stage(self, verb: str, total: int | None) -> ReportedTransfer:
        """Report that a stage of a conversion begins."""
        return ReportedTransfer(self, verb, total)


class ReportedTransfer:
    """A transfer that reports each step."""

    def __init__(self, report: ProgressReport, text: str, total: int | None) -> None:
        self._report = report
        self._text = text
        self._done = 0
        self._total = total
        self._tell(BEGIN)

    def advance(self, size: int) -> None:
        """Report that ``size`` more bytes have moved."""
        self._done += size
        self._tell(BYTES)

    def end(self) -> None:
        """Report the end."""
        self._tell(END)

    def _tell(self, kind: str) -> None:
        self._report.tell(Event(kind, self._text, self._done, self._total))
