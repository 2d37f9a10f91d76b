"""What the user does at the terminal of a build, passed on to the command of a RUN, which has none.

The builder tells the guard, the guard tells the init, and the init tells the command's process
group.

Not part of ``ch-run``.
"""

import os
import signal
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# What the user does at the terminal of the builder, and the command hears of.
TOLD = (signal.SIGINT, signal.SIGTSTP, signal.SIGCONT)


@contextmanager
def suspended_together(guard: int) -> "Iterator[None]":
    """Have the command stop when ^Z stops this process, and go on with it."""

    def suspend(number: int, _: object) -> None:
        os.kill(guard, signal.SIGTSTP)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Here it goes on.
        signal.signal(number, suspend)
        os.kill(guard, signal.SIGCONT)

    before = signal.getsignal(signal.SIGTSTP)
    if before != signal.SIG_DFL:  # ignored, where nobody controls jobs
        yield
        return
    signal.signal(signal.SIGTSTP, suspend)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)


class Foreground:
    """The process group of the command, which hears what the builder is told: ^C, ^Z and go on."""

    __slots__ = ("_group",)

    def __init__(self, group: int) -> None:
        self._group = group
        for signo in TOLD:
            signal.signal(signo, self._tell)

    def _tell(self, number: int, _: object) -> None:
        if self._group:
            # A group without a terminal ignores SIGTSTP.
            meant = signal.SIGSTOP if number == signal.SIGTSTP else number
            for tell in (os.killpg, os.kill):  # it may not have made its group yet
                try:
                    tell(self._group, meant)
                except ProcessLookupError:
                    continue
                return

    def leave(self) -> None:
        """Tell nobody any more: the number may become another's."""
        self._group = 0
