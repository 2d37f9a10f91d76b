"""A terminal of a step's own, connected to the user's.

The command never has the user's own terminal: it could type there, and read what is typed after it
has ended.  What it writes to its terminal is shown on the user's, as with any interactive program.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
from fcntl import ioctl

from sundog.base.kernel.files import write_all
from sundog.runtime.process.typed_input import RawMode, TypedInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PIECE = 1 << 10
_WINDOW_SIZE = bytes(8)  # struct winsize


class Pseudoterminal:
    """The terminal ``end``, which gets what is typed at ``typed``; its output goes to ``shown``.

    As a context, it passes all keys on (``typed`` is in raw mode), and restores ``typed`` at the
    end.  ``typed`` need not be a terminal: its end is passed on as ^D.
    """

    __slots__ = ("_handler", "_master", "_mode", "_shown", "end", "typed")

    def __init__(self, typed: int, shown: int) -> None:
        self._master, self.end = os.openpty()
        self._shown = shown
        self._mode = RawMode(typed)
        self._handler: Any = None
        self.typed = TypedInput(typed, self._master)

    @property
    def sources(self) -> set[int]:
        """The descriptors to ``carry`` from when they have data."""
        typed = self.typed.source
        return {self._master} if typed is None else {self._master, typed}

    def carry(self, source: int) -> None:
        """Pass some data on.  Raises OSError if nobody can see the output."""
        if source == self._master:
            self._show()
        else:
            self.typed.carry()

    def finish(self) -> None:
        """Show what is left: nobody writes any more."""
        left = int.from_bytes(ioctl(self._master, termios.FIONREAD, bytes(4)), sys.byteorder)
        while left > 0:
            left -= self._show()

    def resize(self, *_: object) -> None:
        """Give the terminal the size of the user's."""
        try:
            size = ioctl(self._shown, termios.TIOCGWINSZ, _WINDOW_SIZE)
        except OSError:  # it is not a terminal
            return
        ioctl(self._master, termios.TIOCSWINSZ, size)

    def _show(self) -> int:
        """Show some output; return its size."""
        data = os.read(self._master, _PIECE)
        write_all(self._shown, data)
        return len(data)

    def __enter__(self) -> Pseudoterminal:
        self._mode.__enter__()
        self.resize()
        self._handler = signal.signal(signal.SIGWINCH, self.resize)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGWINCH, self._handler)
        self._mode.__exit__()
        os.close(self._master)
        os.close(self.end)


def take_terminal(end: int) -> None:
    """Make ``end`` the terminal of this process, which leads a session, and its streams."""
    ioctl(end, termios.TIOCSCTTY, 0)
    for stream in (0, 1, 2):
        os.dup2(end, stream)
    if end > 2:
        os.close(end)
