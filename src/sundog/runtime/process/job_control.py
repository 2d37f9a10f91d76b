"""Pass the user's ^C and ^Z on to the command of a RUN, which has no terminal.

The builder tells the init, and the init tells the command's process group.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Signals from the terminal of the builder that are passed on to the command.
TOLD = (signal.SIGINT, signal.SIGTSTP, signal.SIGCONT)


@contextmanager
def suspended_together(tell: Callable[[int], None]) -> Iterator[None]:
    """Make the command stop when ^Z stops this process, and continue with it.

    ``tell`` tells the init of a signal.
    """

    def suspend(number: int, _: object) -> None:
        tell(signal.SIGTSTP)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # The process continues here.
        signal.signal(number, suspend)
        tell(signal.SIGCONT)

    before = signal.getsignal(signal.SIGTSTP)
    if before != signal.SIG_DFL:  # ignored, because no shell controls jobs
        yield
        return
    signal.signal(signal.SIGTSTP, suspend)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)


def tell_group(group: int, number: int) -> None:
    """Send a signal of the builder's terminal to the command's process ``group``."""
    # A group without a terminal ignores SIGTSTP.
    meant = signal.SIGSTOP if number == signal.SIGTSTP else number
    for tell in (os.killpg, os.kill):  # the command may not have its own group yet
        try:
            tell(group, meant)
        except ProcessLookupError:
            continue
        return
