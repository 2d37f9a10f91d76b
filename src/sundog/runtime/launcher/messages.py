"""Messages on standard error: lines ``NAME[PID]: [error: |warning: |hint: ]TEXT``.

This module escapes control characters for all of ``ch-run``, so that a terminal obeys no message.

The module calls write(2), because execve(2) would discard text in a buffer.
"""

from __future__ import annotations

import os
import sys

from sundog.base.kernel.files import STDERR_FILENO
from sundog.base.kernel.libc import escaped

# Characters of warnings that ``ch-run`` keeps and prints again.  Nobody reads more of them twice.
_REPRINT_LIMIT = 4096


class Messages:
    """The messages of one ``ch-run``, or of the command ``name``.

    -v raises ``verbosity``, -q lowers it.
    """

    __slots__ = ("_name", "kept", "verbosity")

    def __init__(self, name: str = "ch-run") -> None:
        self._name = name
        self.verbosity = 0
        self.kept: list[str] = []

    def error(self, text: str, hint: str = "") -> None:
        """Print why the command does not run.  A fourth -q would silence it."""
        _write_stderr(self.error_lines(text, hint))

    def error_lines(self, text: str, hint: str = "") -> bytes:
        """Return what ``error`` prints."""
        if self.verbosity < -3:
            return b""
        lines = _formatted_line(self._name, "error: " + text)
        return lines + _formatted_line(self._name, "hint: " + hint) if hint else lines

    def warning(self, text: str) -> None:
        """Print a warning now and, if ``ch-run`` fails, again at its end."""
        if sum(map(len, self.kept)) + len(text) < _REPRINT_LIMIT:
            self.kept.append(text)
        if self.verbosity >= -1:
            _write_line(self._name, "warning: " + text)

    def note(self, text: str) -> None:
        """Print a hint about something that works; ``ch-run`` prints it once."""
        if self.verbosity >= 0:
            _write_line(self._name, "hint: " + text)

    def verbose(self, text: str) -> None:
        """Print at -v what ``ch-run`` does or leaves out."""
        if self.verbosity >= 1:
            _write_line(self._name, text)

    def debug(self, text: str) -> None:
        """Print at -vv how ``ch-run`` does it."""
        if self.verbosity >= 2:
            _write_line(self._name, text)

    def reprint_warnings(self) -> None:
        """Print the warnings again, because some users read only the end of the output."""
        if self.kept and self.verbosity >= -1:
            _write_line(self._name, f"warning: reprinting first {len(self.kept)} warning(s)")
            for text in self.kept:
                _write_line(self._name, "warning: " + text)


def _write_line(name: str, text: str) -> None:
    """Write one line, with a prefix that separates the messages of ``name`` from the command's."""
    _write_stderr(_formatted_line(name, text))


def _formatted_line(name: str, text: str) -> bytes:
    """Return the line that ``_write_line`` writes."""
    line = f"{name}[{os.getpid()}]: {escaped(text)}\n"
    # Use the locale's encoding: other terminals read parts of UTF-8 as control characters.
    return line.encode(sys.getfilesystemencoding(), "backslashreplace")


def _write_stderr(data: bytes) -> None:
    """Write to standard error."""
    try:  # noqa: SIM105 - contextlib takes as long as the rest of the start
        os.write(STDERR_FILENO, data)
    except OSError:
        pass  # standard error is closed or full: nobody can read the message
