"""Be a child process of ``ch-run`` that brings an image into the storage directory.

Its answer on standard output has three fields with NUL between them: ``image``, the name, ``there``
or ``absent``; or else ``error``, the message, the hint.  Messages go to standard error.
"""

from __future__ import annotations

import os
import sys

from sundog.errors import EXIT_ERROR
from sundog.front.cli.report import Report
from sundog.front.cli.running import run_action
from sundog.front.cli.streams import open_closed
from sundog.runtime.process.interruption import die_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from sundog.errors import SundogError

_STDOUT = 1


class _Answering(Report):
    """Messages for the user; the error that ends the process is the answer."""

    def error(self, error: SundogError) -> None:
        """Answer with the error."""
        self.fatal(error.lines()[0], error.hint)

    def fatal(self, text: str, hint: str = "") -> None:
        """Answer with an error that is no exception."""
        _answer("error", text, hint)


def answer_with(load: Callable[[Report], tuple[str, bool]], verbosity: int) -> NoReturn:
    """Answer with what ``load`` returns, the name and whether it is there; end the process."""
    open_closed()
    # Without a terminal, the usual start of a container prints nothing.
    report = _Answering(verbosity - (not sys.stderr.isatty()), reprints=False)

    def action() -> int:
        name, is_there = load(report)
        _answer("image", name, "there" if is_there else "absent")
        return 0

    status = run_action(action, report, EXIT_ERROR)
    if status < 0:
        die_of(-status)
    os._exit(status)


def _answer(*fields: str) -> None:
    os.write(_STDOUT, "\0".join(fields).encode("utf-8", "backslashreplace"))
