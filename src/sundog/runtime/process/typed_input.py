"""A user's typed input on its way to the terminal of a program.

The input may come from a file or a pipe: then its end is typed, too, as ^D.
"""

from __future__ import annotations

import os
import termios
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PIECE = 1 << 10
_END_OF_INPUT = b"\x04"  # what the user types to end the input of a terminal
# Seconds until the next try to pass input on to a program that does not read it.
_PATIENCE_WITH_READER = 0.01
# Seconds until ^D is typed again: at first, and at last.
_FIRST_PAUSE = 0.01
_LAST_PAUSE = 1.0


class TypedInput:
    """The input from ``typed`` for the terminal with the master end ``master``.

    due     the time (CLOCK_MONOTONIC, seconds) to ``carry`` without new data; None for never

    ^D is typed again and again, because one may be lost.  A shell that edits lines changes the mode
    of its terminal before and after each command (termios(3), ICANON).  If it does so before it has
    read ^D, it reads a NUL byte in its place.

    The master becomes non-blocking, for all processes that share it.
    """

    __slots__ = ("_has_ended", "_master", "_pause", "_pending", "_typed", "due")

    def __init__(self, typed: int, master: int) -> None:
        self._typed = typed
        self._master = master
        self._has_ended = False
        self._pause = _FIRST_PAUSE
        self._pending = b""
        self.due: float | None = None
        os.set_blocking(master, False)

    @property
    def source(self) -> int | None:
        """Return the descriptor to wait for; None while its data can't be passed on."""
        return None if self._pending or self._has_ended else self._typed

    def carry(self) -> None:
        """Pass on what is left, else new data, else ^D; never wait for the program."""
        if not self._pending:
            self._pending = _END_OF_INPUT if self._has_ended else self._read()
        try:
            self._pending = self._pending[os.write(self._master, self._pending) :]
        except BlockingIOError:  # the program reads nothing now
            pass
        except OSError:  # no process has the terminal open
            self._pending = b""
        if self._pending:
            self.due = monotonic() + _PATIENCE_WITH_READER
        elif self._has_ended:
            self.due = monotonic() + self._pause
            self._pause = min(2 * self._pause, _LAST_PAUSE)
        else:
            self.due = None

    def carry_due(self) -> None:
        """``carry`` if its time has come."""
        if self.due is not None and monotonic() >= self.due:
            self.carry()

    def _read(self) -> bytes:
        try:
            data = os.read(self._typed, _PIECE)
        except OSError:  # the user's terminal is gone
            data = b""
        self._has_ended = not data
        return data or _END_OF_INPUT


class RawMode:
    """A context in which a terminal passes on all keys; nothing happens if it is not a terminal.

    The terminal's former mode comes back at the end.
    """

    __slots__ = ("_before", "_fd")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._before: list[Any] | None = None

    def __enter__(self) -> None:
        if os.isatty(self._fd):
            import tty  # noqa: PLC0415 - few steps need it

            self._before = termios.tcgetattr(self._fd)
            tty.setraw(self._fd, termios.TCSANOW)

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            try:
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
            except termios.error:  # the user's terminal is gone
                self._before = None
