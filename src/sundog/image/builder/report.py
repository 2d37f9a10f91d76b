"""The messages of a running build, and their form; ``cli/`` prints them."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from sundog.errors import SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from sundog.image.transfer.report import Transfer

    # A message as plain values, and what takes it.
    Message = tuple[object, ...]
    Send = Callable[[Message], None]

HIT = "*"
MISS = "."
NOT_APPLICABLE = " "
LONG = 1.0  # seconds; the time of a longer RUN stays on the terminal


@dataclass(frozen=True, slots=True)
class Announcement:
    """An instruction that begins: its line in the Dockerfile, a status from above, its text.

    ``stage`` is the index of its stage, -1 before the first FROM.  ``place`` says which of the
    stage's instructions it is ("build 2/3").  ``needs`` are the stages that it continues or copies.
    """

    line: int
    status: str
    text: str
    stage: int = -1
    place: str = ""
    needs: tuple[int, ...] = ()

    def fields(self) -> tuple[object, ...]:
        """Return the fields in order, as plain values."""
        return self.line, self.status, self.text, self.stage, self.place, self.needs

    def __str__(self) -> str:
        """Return the line for people: number of the line, status, text."""
        return f"{self.line:3d}{self.status} {self.text}"


class Report(Protocol):
    """The receiver of a build's messages."""

    def info(self, text: str) -> None:
        """Report what users want to see without asking."""

    def verbose(self, text: str) -> None:
        """Report what helps at -v."""

    def warning(self, text: str) -> None:
        """Report what users may not expect."""

    def withdraw(self, warning: str) -> None:
        """Take note that a warning does not hold any more; there may have been none."""

    def watched(self, text: str, total: int | None = None) -> AbstractContextManager[None]:
        """Show on a terminal how many bytes child processes move in the context."""

    def quiet_transfer(self, label: str, verb: str, total: int | None) -> Transfer:
        """Show on a terminal that ``total`` bytes begin to move; None: nobody knows how many."""

    def note(self, text: str) -> None:
        """Report progress on a terminal only."""

    def begin(self, announcement: Announcement) -> None:
        """Report that an instruction begins.  One before it that has not ended ends now."""

    def end(self, error: str = "") -> None:
        """Report that the instruction that began last has ended, perhaps with an error."""


class DivertedReport(Report, Protocol):
    """A report that can give its messages away, and report those that another one gave away.

    If it ``is_ordered``, the messages of a stage are not mixed with those of another.
    """

    @property
    def is_ordered(self) -> bool: ...  # noqa: D102

    @property
    def draws(self) -> bool:
        """Tell whether there is a terminal to draw on."""

    def show_running(self, lines: Sequence[str]) -> None:
        """Draw lines at the bottom of the terminal, in place of those that are there."""

    def divert(self, send: Send | None) -> None:
        """Give all messages to ``send`` from now on; None: report them."""

    def replay(self, message: Message) -> None:
        """Report what a diverted report gave away, even if this one is diverted."""


@contextmanager
def ends_reported(report: Report, name: str) -> Iterator[None]:
    """Report that the instruction ``name`` has ended, with its error or with its time."""
    start = time.perf_counter()
    try:
        yield
    except SundogError as error:
        report.end(error.message)
        raise
    seconds = time.perf_counter() - start
    report.verbose(f"     {name} took {seconds * 1000:.1f} ms")
    if name == "RUN" and seconds >= LONG:
        report.note(f"     RUN took {seconds:.1f} s")
    report.end()
