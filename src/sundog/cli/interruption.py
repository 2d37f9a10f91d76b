"""What ^C (SIGINT) and ``kill`` (SIGTERM) do to a command: it unwinds, cleans up, and dies of it.

A shell ends its loop only where the command died of SIGINT; an exit status, 130 included, lets it
go on.  Where the signal was ignored when the command was started, it stays ignored.

The first signal raises KeyboardInterrupt or Terminated in the main thread; no other does, so
that nothing breaks the cleaning up off.  After a second one it may take HURRY seconds more, then
the process dies as it is: the next command cleans up after it as after any kill.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import NoReturn

HURRY = 5
_LATER = 0.01


class Terminated(BaseException):
    """SIGTERM came: unwind as for ^C."""


_WORDS: dict[int, tuple[type[BaseException], str]] = {
    signal.SIGINT: (KeyboardInterrupt, "interrupted (SIGINT)"),
    signal.SIGTERM: (Terminated, "terminated (SIGTERM)"),
}
INTERRUPTIONS = (KeyboardInterrupt, Terminated)


class Interruption:
    """A context in which the signals raise; ``number`` is the first that came, 0 before.

    ``give_up`` is called before the process dies without having cleaned up.
    """

    def __init__(self, give_up: Callable[[], None]) -> None:
        self.number = 0
        self._give_up = give_up
        self._process = os.getpid()
        self._handled: list[int] = []
        self._hurries = False

    def __enter__(self) -> None:
        sys.unraisablehook = self._not_raised
        for number in _WORDS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._came)
                self._handled.append(number)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self.number:  # else further signals are still not to break anything off
            for number in self._handled:
                signal.signal(number, signal.SIG_DFL)

    @property
    def text(self) -> str:
        """What is told about the signal that came."""
        return _WORDS[self.number][1]

    def _came(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as signal(2)
        if os.getpid() != self._process:
            # A child that has not chosen yet what to do: what is to be cleaned up is its parent's.
            die_of(number)
        if not self.number:
            self.number = number
            raise _WORDS[number][0]
        if not self._hurries:
            self._hurries = True
            signal.signal(signal.SIGALRM, self._time_is_up)
            signal.setitimer(signal.ITIMER_REAL, HURRY)

    def _time_is_up(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._give_up()
        die_of(self.number)

    def _not_raised(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Raise a little later what came where Python can't raise: in a destructor."""
        if issubclass(unraisable.exc_type, INTERRUPTIONS):
            signal.signal(signal.SIGALRM, self._raise)
            signal.setitimer(signal.ITIMER_REAL, _LATER)
        elif not self.number:  # else it is an object that the signal left half made
            sys.__unraisablehook__(unraisable)

    def _raise(self, number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG002
        raise _WORDS[self.number][0]


def die_of(number: int) -> NoReturn:
    """End this process by a signal, so that whoever waits for it sees that."""
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # as PID 1 of a namespace, which no signal of its own ends
