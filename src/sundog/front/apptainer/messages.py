"""Messages in Apptainer's form: a word in nine columns, and a line on standard error."""

from __future__ import annotations

import os
import sys

from sundog.base.kernel.files import STDERR_FILENO
from sundog.base.kernel.libc import escaped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sundog.front.options import Line

FATAL, ERROR, WARNING, INFO, VERBOSE, DEBUG = range(6)
# The options before the subcommand that choose a level.
_LEVELS = (("debug", DEBUG), ("verbose", VERBOSE), ("silent", ERROR), ("quiet", WARNING))
_WORDS = ("FATAL:", "ERROR:", "WARNING:", "INFO:", "VERBOSE:", "DEBUG:")
_WIDTH = 9


class Messages:
    """The messages up to a level: -s, -q, -v and -d choose it."""

    __slots__ = ("level",)

    def __init__(self, level: int = INFO) -> None:
        self.level = level

    @classmethod
    def of(cls, line: Line) -> Messages:
        """Return the messages that the options before the subcommand choose."""
        return cls(next((level for name, level in _LEVELS if line.is_set(name)), INFO))

    @property
    def told(self) -> list[str]:
        """The options that choose them for ``ch-run``."""
        return ["--verbose"] * (self.level - INFO)

    def say_all(self, level: int, texts: Iterable[str]) -> None:
        """Print lines."""
        for text in texts:
            self.say(level, text)

    def say(self, level: int, text: str) -> None:
        """Print a line of one of the levels, unless it is hidden.

        A level above ERROR cannot be hidden.
        """
        if level <= self.level:
            line = f"{_WORDS[level]:{_WIDTH}}{escaped(text)}\n"
            try:  # noqa: SIM105 - contextlib takes as long as a third of a start
                os.write(
                    STDERR_FILENO, line.encode(sys.getfilesystemencoding(), "backslashreplace")
                )
            except OSError:
                pass  # nobody reads it
