"""Messages of the commands: on standard error, in levels, with colours on a terminal.

Levels and prefixes are Charliecloud's: -v and -vv tell more; -q leaves out what is not a warning,
-qq warnings too, and what RUN prints on standard output; -qqq also what it prints on standard
error.  Errors are always printed.

Whatever is told, a message is one line, in which what a terminal would obey is escaped: here, so
that none of those who tell something has to.
"""

from __future__ import annotations

import os
import sys
import threading

from sundog.cli.output import TAB
from sundog.kernel.libc import escaped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from sundog.cli.transfers import Display
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
        plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        self._coloured = not plain and self._stream.isatty()
        self._warnings: list[str] = []
        self._lock = threading.RLock()  # transfers report from threads of their own
        self._display: Display | None = None

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
        message, *excerpt = error.lines()
        self._fail(message, excerpt, error.hint)

    def trace(self, error: BaseException) -> None:
        """Print the stack trace of an error."""
        import traceback  # noqa: PLC0415 - seldom needed

        text = "".join(traceback.format_exception(error))
        self._write("", *text.rstrip("\n").split("\n"))

    def fatal(self, text: str, hint: str = "") -> None:
        """Print an error that is no exception."""
        self._fail(text, [], hint)

    def _fail(self, text: str, excerpt: Sequence[str], hint: str) -> None:
        self._write(_ERROR_COLOUR, f"error: {text}", *excerpt)
        if hint:
            self._write(_ERROR_COLOUR, f"hint: {hint}")

    def transfer(self, label: str, verb: str, total: int) -> Transfer:
        """Tell that ``total`` bytes are about to be moved; on a terminal, show how it goes."""
        if not self._draws:
            self.info(f"{label}: {verb}")
            return Transfer()
        text = escaped(f"{label}: {verb}")
        with self._lock:
            if self._display is None:
                from sundog.cli.transfers import Display  # noqa: PLC0415 - on a terminal only

                self._display = Display(self._stream)
            return _DrawnTransfer(self._display, self._lock, text, total)

    def end_display(self) -> None:
        """Take what is drawn off the terminal, and give that its cursor back."""
        with self._lock:
            if self._display is not None and self._display.is_up:
                self._display.close()

    @property
    def _draws(self) -> bool:
        return (
            self.level >= _INFO
            and self._stream.isatty()
            and os.environ.get("TERM", "dumb") != "dumb"
        )

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

    def _write(self, colour: str, message: str, *excerpt: str) -> None:
        """Print a message, which is one line, and what is shown below it."""
        text = "\n".join([escaped(message), *(escaped(line, TAB) for line in excerpt)])
        # What this terminal cannot show must not hide the message.
        encoding = self._stream.encoding or "ascii"
        text = text.encode(encoding, "backslashreplace").decode(encoding)
        if self._coloured and colour:
            text = f"\033[{colour}m{text}\033[0m"
        with self._lock:
            if self._display is not None and self._display.is_up:
                self._display.print(text)
                return
            self._stream.write(f"{text}\n")
            self._stream.flush()


class Transfer:
    """Bytes on their way, of which nobody wants to see more than that they are."""

    def advance(self, size: int) -> None:
        """``size`` more bytes have been moved."""

    def end(self) -> None:
        """They are all there, or given up."""


class _DrawnTransfer(Transfer):
    def __init__(self, display: Display, lock: threading.RLock, text: str, total: int) -> None:
        self._display = display
        self._lock = lock
        self._task = display.add(text, total)

    def advance(self, size: int) -> None:
        with self._lock:
            self._display.advance(self._task, size)

    def end(self) -> None:
        with self._lock:
            self._display.remove(self._task)
