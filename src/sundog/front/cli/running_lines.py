"""Lines at the bottom of a terminal: one for each stage that a build is making at the moment."""

from __future__ import annotations

import os

from sundog.base.kernel.libc import escaped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

_WIDTH = 80  # columns, if the terminal does not tell
_ERASED = "\033[1A\033[2K"  # ECMA-48: cursor up, erase the line
_FAINT, _PLAIN = "\033[2m", "\033[m"


class RunningLines:
    """The lines on ``stream``, a terminal.  The cursor is at the beginning of the line below."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._count = 0

    def show(self, lines: Sequence[str]) -> None:
        """Draw these lines in place of those that are there; no line wraps."""
        try:
            width = os.get_terminal_size(self._stream.fileno()).columns or _WIDTH
        except OSError:
            width = _WIDTH
        encoding = self._stream.encoding or "ascii"
        shown = [escaped(line)[: width - 1] for line in lines]
        text = "".join(f"{_FAINT}{line}{_PLAIN}\n" for line in shown)
        text = text.encode(encoding, "backslashreplace").decode(encoding)
        self._stream.write(_ERASED * self._count + "\r" * bool(self._count) + text)
        self._stream.flush()
        self._count = len(shown)
