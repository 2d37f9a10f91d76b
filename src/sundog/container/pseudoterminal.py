"""A terminal of a step's own, connected to the user's.

The command never has the user's own terminal: it could type there, and read what is typed after it
has ended.  What it writes to its terminal is shown on the user's, as with any interactive program.

``ch-run`` does not use this module.
"""

import os
import signal
import sys
import termios
from fcntl import ioctl
from time import sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PIECE = 1 << 10
END_OF_INPUT = b"\x04"  # what the user types to end the input of a terminal
# Seconds until the next try to pass input on to a program that does not read it.
PATIENCE_WITH_READER = 0.01
WINDOW_SIZE = bytes(8)  # struct winsize


class Pseudoterminal:
    """The terminal ``end``, which gets what is typed at ``typed``; its output goes to ``shown``.

    As a context, it passes all keys on (``typed`` is in raw mode), and restores ``typed`` at the
    end.  ``typed`` need not be a terminal: its end is passed on as ^D.
    """

    __slots__ = (
        "_before",
        "_handler",
        "_has_ended",
        "_master",
        "_pending",
        "_shown",
        "_typed",
        "end",
    )

    def __init__(self, typed: int, shown: int) -> None:
        self._master, self.end = os.openpty()
        self._typed = typed
        self._has_ended = False
        self._shown = shown
        self._pending = b""
        self._before: tuple[int, list[Any]] | None = None
        self._handler: Any = None
        os.set_blocking(self._master, False)

    @property
    def sources(self) -> set[int]:
        """The descriptors to ``carry`` from when they have data.

        A program that does not read lets the end of the input wait, too.  So the input stays a
        source until its end is passed on.
        """
        is_done = self._has_ended and not self._pending
        return {self._master} if is_done else {self._master, self._typed}

    def carry(self, source: int) -> None:
        """Pass some data on.  Raises OSError if nobody can see the output."""
        if source == self._master:
            self._show()
        elif self._pending:
            self._pass_on(b"")
        else:
            self._pass_on(self._read())

    def finish(self) -> None:
        """Show what is left: nobody writes any more."""
        left = int.from_bytes(ioctl(self._master, termios.FIONREAD, bytes(4)), sys.byteorder)
        while left > 0:
            left -= self._show()

    def resize(self, *_: object) -> None:
        """Give the terminal the size of the user's."""
        try:
            size = ioctl(self._shown, termios.TIOCGWINSZ, WINDOW_SIZE)
        except OSError:  # it is not a terminal
            return
        ioctl(self._master, termios.TIOCSWINSZ, size)

    def _read(self) -> bytes:
        try:
            data = os.read(self._typed, PIECE)
        except OSError:  # the user's terminal is gone
            data = b""
        self._has_ended = not data
        return data or END_OF_INPUT

    def _pass_on(self, data: bytes) -> None:
        self._pending += data
        try:
            self._pending = self._pending[os.write(self._master, self._pending) :]
        except BlockingIOError:  # the program reads nothing now
            sleep(PATIENCE_WITH_READER)

    def _show(self) -> int:
        """Show some output; return its size."""
        data = os.read(self._master, PIECE)
        size = len(data)
        while data:
            data = data[os.write(self._shown, data) :]
        return size

    def __enter__(self) -> "Pseudoterminal":
        if os.isatty(self._typed):
            import tty  # noqa: PLC0415 - few steps need it

            self._before = (self._typed, termios.tcgetattr(self._typed))
            tty.setraw(self._typed, termios.TCSANOW)
        self.resize()
        self._handler = signal.signal(signal.SIGWINCH, self.resize)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGWINCH, self._handler)
        if self._before is not None:
            typed, attributes = self._before
            try:
                termios.tcsetattr(typed, termios.TCSADRAIN, attributes)
            except termios.error:  # the user's terminal is gone
                self._before = None
        os.close(self._master)
        os.close(self.end)


def take_terminal(end: int) -> None:
    """Make ``end`` the terminal of this process, which leads a session, and its streams."""
    ioctl(end, termios.TIOCSCTTY, 0)
    for stream in (0, 1, 2):
        os.dup2(end, stream)
    if end > 2:
        os.close(end)
