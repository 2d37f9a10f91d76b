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
# Apptainer's words for the kinds of lines.
APPTAINER_WORDS = {"error": "FATAL:", "warning": "WARNING:", "hint": "INFO:", "": "VERBOSE:"}
APPTAINER_WIDTH = 9


class Messages:
    """The messages of one ``ch-run``, or of the command ``name``.

    -v raises ``verbosity``, -q lowers it.
    """

    __slots__ = ("_last_hint", "_name", "kept", "verbosity")

    def __init__(self, name: str = "ch-run") -> None:
        self._name = name
        self._last_hint = ""
        self.verbosity = 0
        self.kept: list[str] = []

    def end_errors_with(self, hint: str) -> None:
        """Print the site's own ``hint`` below each error from now on."""
        self._last_hint = hint

    def error(self, text: str, hint: str = "") -> None:
        """Print why the command does not run.  A fourth -q would silence it."""
        _write_stderr(self.error_lines(text, hint))

    def error_lines(self, text: str, hint: str = "") -> bytes:
        """Return what ``error`` prints."""
        if self.verbosity < -3:
            return b""
        hints = [self._line("hint", each) for each in (hint, self._last_hint) if each]
        return b"".join((self._line("error", text), *hints))

    def not_executed(self, name: str, reason: str, *, is_missing: bool) -> str:
        """Return why the command ``name`` does not run.

        ``is_missing`` says that no directory of $PATH has it.
        """
        del is_missing
        return f"can't execve(2): {name}: {reason}"

    def warning(self, text: str) -> None:
        """Print a warning now and, if ``ch-run`` fails, again at its end."""
        if sum(map(len, self.kept)) + len(text) < _REPRINT_LIMIT:
            self.kept.append(text)
        if self.verbosity >= -1:
            _write_stderr(self._line("warning", text))

    def note(self, text: str) -> None:
        """Print a hint about something that works; ``ch-run`` prints it once."""
        if self.verbosity >= 0:
            _write_stderr(self._line("hint", text))

    def verbose(self, text: str) -> None:
        """Print at -v what ``ch-run`` does or leaves out."""
        if self.verbosity >= 1:
            _write_stderr(self._line("", text))

    def debug(self, text: str) -> None:
        """Print at -vv how ``ch-run`` does it."""
        if self.verbosity >= 2:
            _write_stderr(self._line("", text))

    def reprint_warnings(self) -> None:
        """Print the warnings again, because some users read only the end of the output."""
        if self.kept and self.verbosity >= -1:
            count = len(self.kept)
            _write_stderr(self._line("warning", f"reprinting first {count} warning(s)"))
            for text in self.kept:
                _write_stderr(self._line("warning", text))

    def _line(self, kind: str, text: str) -> bytes:
        """Return a line of a kind, with a prefix that separates it from the command's lines."""
        return _encoded_line(f"{self._name}[{os.getpid()}]: {kind}{': ' if kind else ''}", text)


class ApptainerMessages(Messages):
    """The messages of ``ch-run`` in Apptainer's form, up to a level: ``front.apptainer.messages``.

    The caller has told most of what ``ch-run`` warns of.
    """

    __slots__ = ("_level",)

    WARNING, INFO = 2, 3

    def __init__(self, level: int) -> None:
        super().__init__("apptainer")
        self._level = level

    def error_lines(self, text: str, hint: str = "") -> bytes:
        """See ``Messages``."""
        return super().error_lines(text, hint if self._level >= self.INFO else "")

    def not_executed(self, name: str, reason: str, *, is_missing: bool) -> str:
        """See ``Messages``.  Callers look for these words."""
        if is_missing:
            return f'"{name}": executable file not found in $PATH'
        return super().not_executed(name, reason, is_missing=is_missing)

    def warning(self, text: str) -> None:
        """See ``Messages``."""
        if self._level >= self.WARNING:
            super().warning(text)

    def note(self, text: str) -> None:
        """See ``Messages``."""
        if self._level >= self.INFO:
            super().note(text)

    def reprint_warnings(self) -> None:
        """Print nothing: Apptainer says a thing once."""

    def _line(self, kind: str, text: str) -> bytes:
        return _encoded_line(
            f"{APPTAINER_WORDS[kind]:{APPTAINER_WIDTH}}",
            f"hint: {text}" if kind == "hint" else text,
        )


def _encoded_line(prefix: str, text: str) -> bytes:
    """Return a line of text, without control characters."""
    # Use the locale's encoding: other terminals read parts of UTF-8 as control characters.
    line = f"{prefix}{escaped(text)}\n"
    return line.encode(sys.getfilesystemencoding(), "backslashreplace")


def _write_stderr(data: bytes) -> None:
    """Write to standard error."""
    try:  # noqa: SIM105 - contextlib takes as long as the rest of the start
        os.write(STDERR_FILENO, data)
    except OSError:
        pass  # standard error is closed or full: nobody can read the message
