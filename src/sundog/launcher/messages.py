"""What ``ch-run`` says on standard error: lines ``ch-run[PID]: [error: |warning: |hint: ]TEXT``.

What a terminal would obey is escaped here, for all of floor 0.

Floor 0.  Written with write(2): a command that is about to be executed must not find text in a
buffer of ours.
"""

import os
import sys

from sundog.kernel.files import STDERR_FILENO
from sundog.kernel.libc import escaped

# As much of the warnings as is kept for the end; more than that nobody reads twice.
REPRINT_LIMIT = 4096


class Messages:
    """The voice of one ``ch-run``: -v raises ``verbosity``, -q lowers it."""

    __slots__ = ("kept", "verbosity")

    def __init__(self) -> None:
        self.verbosity = 0
        self.kept: list[str] = []

    def error(self, text: str, hint: str = "") -> None:
        """Say why the command will not run; only a fourth -q would silence it."""
        if self.verbosity >= -3:
            write_line("error: " + text)
            if hint:
                write_line("hint: " + hint)

    def warning(self, text: str) -> None:
        """Say what the user should know, now and, if ``ch-run`` fails, at its end."""
        if sum(map(len, self.kept)) + len(text) < REPRINT_LIMIT:
            self.kept.append(text)
        if self.verbosity >= -1:
            write_line("warning: " + text)

    def verbose(self, text: str) -> None:
        """Say at -v what is done and what is left out."""
        if self.verbosity >= 1:
            write_line(text)

    def debug(self, text: str) -> None:
        """Say at -vv how it is done."""
        if self.verbosity >= 2:
            write_line(text)

    def reprint_warnings(self) -> None:
        """Say the warnings once more, for those who look only at the end of the output."""
        if self.kept and self.verbosity >= -1:
            write_line(f"warning: reprinting first {len(self.kept)} warning(s)")
            for text in self.kept:
                write_line("warning: " + text)


def write_line(text: str) -> None:
    """Write one line with the prefix that tells ``ch-run``'s words from the command's."""
    line = f"ch-run[{os.getpid()}]: {escaped(text)}\n"
    try:  # noqa: SIM105 - contextlib takes as long as the rest of the start
        # In the locale's encoding: to a terminal of another, parts of UTF-8 are controls.
        os.write(STDERR_FILENO, line.encode(sys.getfilesystemencoding(), "backslashreplace"))
    except OSError:
        pass  # standard error is closed or full: there is nobody to tell
