"""Messages on standard error: lines ``ch-run[PID]: [error: |warning: |hint: ]TEXT``.

This module escapes control characters for all of floor 0, so that a terminal obeys no message.

Floor 0.  The module calls write(2), because execve(2) would discard text in a buffer.
"""

import os
import sys

from sundog.kernel.files import STDERR_FILENO
from sundog.kernel.libc import escaped

# Characters of warnings that ``ch-run`` keeps and prints again.  Nobody reads more of them twice.
REPRINT_LIMIT = 4096


class Messages:
    """The messages of one ``ch-run``.  -v raises ``verbosity``, -q lowers it."""

    __slots__ = ("kept", "verbosity")

    def __init__(self) -> None:
        self.verbosity = 0
        self.kept: list[str] = []

    def error(self, text: str, hint: str = "") -> None:
        """Print why the command does not run.  A fourth -q would silence it."""
        if self.verbosity >= -3:
            write_line("error: " + text)
            if hint:
                write_line("hint: " + hint)

    def warning(self, text: str) -> None:
        """Print a warning now and, if ``ch-run`` fails, again at its end."""
        if sum(map(len, self.kept)) + len(text) < REPRINT_LIMIT:
            self.kept.append(text)
        if self.verbosity >= -1:
            write_line("warning: " + text)

    def note(self, text: str) -> None:
        """Print a hint about something that works; ``ch-run`` prints it once."""
        if self.verbosity >= 0:
            write_line("hint: " + text)

    def verbose(self, text: str) -> None:
        """Print at -v what ``ch-run`` does or leaves out."""
        if self.verbosity >= 1:
            write_line(text)

    def debug(self, text: str) -> None:
        """Print at -vv how ``ch-run`` does it."""
        if self.verbosity >= 2:
            write_line(text)

    def reprint_warnings(self) -> None:
        """Print the warnings again, because some users read only the end of the output."""
        if self.kept and self.verbosity >= -1:
            write_line(f"warning: reprinting first {len(self.kept)} warning(s)")
            for text in self.kept:
                write_line("warning: " + text)


def write_line(text: str) -> None:
    """Write one line, with a prefix that separates ``ch-run``'s messages from the command's."""
    line = f"ch-run[{os.getpid()}]: {escaped(text)}\n"
    try:  # noqa: SIM105 - contextlib takes as long as the rest of the start
        # Use the locale's encoding: other terminals read parts of UTF-8 as control characters.
        os.write(STDERR_FILENO, line.encode(sys.getfilesystemencoding(), "backslashreplace"))
    except OSError:
        pass  # standard error is closed or full: nobody can read the message
