"""Messages of the commands: on standard error, in levels, with colours on a terminal.

Levels and prefixes are Charliecloud's: -v and -vv tell more; -q leaves out what is not a warning,
-qq warnings too, and what RUN prints on standard output; -qqq also what it prints on standard
error.  Errors are always printed.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from sundog.errors import SundogError

_DEBUG, _VERBOSE, _INFO, _WARNING = 2, 1, 0, -1
_NO_STDOUT, _NO_STDERR = -2, -3

_COLOURS = {
    _DEBUG: "38;5;6",
    _VERBOSE: "38;5;14",
    _INFO: "33",
    _WARNING: "31",
}
_ERROR_COLOUR = "1;31"


class Report:
    """Prints what is at or below ``level`` (verbosity: -v counts up, -q down)."""

    def __init__(self, level: int = _INFO, stream: TextIO | None = None) -> None:
        self.level = level
        self._stream = stream if stream is not None else sys.stderr
        self._coloured = "NO_COLOR" not in os.environ and self._stream.isatty()
        self._warnings: list[str] = []

    def debug(self, text: str) -> None:
        """Tell how something is done."""
        self._print(_DEBUG, text)

    def verbose(self, text: str) -> None:
        """Tell what is done in detail."""
        self._print(_VERBOSE, text)

    def info(self, text: str) -> None:
        """Tell what is done."""
        self._print(_INFO, text)

    def warning(self, text: str) -> None:
        """Tell, once, what may be wrong; ``finish`` repeats it."""
        if text not in self._warnings:
            self._warnings.append(text)
            self._print(_WARNING, f"warning: {text}")

    def finish(self) -> None:
        """Repeat the warnings, which may have scrolled out of sight."""
        if self._warnings:
            self._print(_WARNING, f"warning: reprinting {len(self._warnings)} warning(s)")
            for text in self._warnings:
                self._print(_WARNING, f"warning: {text}")

    def error(self, error: SundogError) -> None:
        """Tell why the command failed, and what to do about it."""
        self.fatal(str(error), error.hint)

    def fatal(self, text: str, hint: str = "") -> None:
        """Print an error that is no exception."""
        self._write(_ERROR_COLOUR, f"error: {text}")
        if hint:
            self._write(_ERROR_COLOUR, f"hint: {hint}")

    @property
    def is_verbose(self) -> bool:
        """Whether details are wanted."""
        return self.level >= _VERBOSE

    @property
    def hides_stdout(self) -> bool:
        """Whether the standard output of RUN is not shown."""
        return self.level <= _NO_STDOUT

    @property
    def hides_stderr(self) -> bool:
        """Whether the standard error of RUN is not shown."""
        return self.level <= _NO_STDERR

    def _print(self, level: int, text: str) -> None:
        if self.level >= level:
            self._write(_COLOURS[level], text)

    def _write(self, colour: str, text: str) -> None:
        # A name that is no text, or that this terminal cannot show, must not hide the message.
        encoding = self._stream.encoding or "ascii"
        text = text.encode(encoding, "backslashreplace").decode(encoding)
        if self._coloured:
            text = f"\033[{colour}m{text}\033[0m"
        self._stream.write(f"{text}\n")
        self._stream.flush()
