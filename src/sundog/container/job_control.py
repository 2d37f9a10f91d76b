"""Pass the user's ^C and ^Z on to the command of a RUN, which has no terminal.

The builder tells the guard, the guard tells the init, and the init tells the command's process
group.

``ch-run`` does not use this module.
"""

import os
import signal
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Signals from the terminal of the builder that are passed on to the command.
TOLD = (signal.SIGINT, signal.SIGTSTP, signal.SIGCONT)


@contextmanager
def suspended_together(guard: int) -> "Iterator[None]":
    """Make the command stop when ^Z stops this process, and continue with it."""

    def suspend(number: int, _: object) -> None:
        os.kill(guard, signal.SIGTSTP)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # The process continues here.
        signal.signal(number, suspend)
        os.kill(guard, signal.SIGCONT)

    before = signal.getsignal(signal.SIGTSTP)
    if before != signal.SIG_DFL:  # ignored, because no shell controls jobs
        yield
        return
    signal.signal(signal.SIGTSTP, suspend)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)


class Foreground:
    """The process group of the command, which gets the builder's signals: ^C, ^Z, continue."""

    __slots__ = ("_group",)

    def __init__(self, group: int) -> None:
        self._group = group
        for signo in TOLD:
            signal.signal(signo, self._tell)

    def _tell(self, number: int, _: object) -> None:
        if self._group:
            # A group without a terminal ignores SIGTSTP.
            meant = signal.SIGSTOP if number == signal.SIGTSTP else number
            for tell in (os.killpg, os.kill):  # the command may not have its own group yet
                try:
                    tell(self._group, meant)
                except ProcessLookupError:
                    continue
                return

    def leave(self) -> None:
        """Stop passing signals on: another process may get the number."""
        self._group = 0
