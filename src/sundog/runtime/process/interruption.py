"""The end of a command by ^C (SIGINT), ``kill`` (SIGTERM) or a closed terminal (SIGHUP).

It unwinds, cleans up, and dies of the signal.

A shell ends its loop only if the command died of SIGINT; after an exit status, even 130, the loop
goes on.  A signal that was ignored when the command started stays ignored.

The first signal raises KeyboardInterrupt or _Terminated in the main thread.  Further signals raise
nothing, so that they don't interrupt the cleaning up.  After a second signal the cleaning up may
take HURRY seconds more.  Then the process dies, and the next command cleans up after it.
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


class _Terminated(BaseException):
    """SIGTERM or SIGHUP came: unwind as for ^C."""


_WORDS: dict[int, tuple[type[BaseException], str]] = {
    signal.SIGINT: (KeyboardInterrupt, "interrupted (SIGINT)"),
    signal.SIGTERM: (_Terminated, "terminated (SIGTERM)"),
    signal.SIGHUP: (_Terminated, "the terminal has gone (SIGHUP)"),
}
INTERRUPTIONS = (KeyboardInterrupt, _Terminated)


class Interruption:
    """A context in which the signals raise; ``number`` is the first that came, 0 before.

    The context calls ``give_up`` before the process dies without having cleaned up.
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
        if not self.number:  # after a signal, further ones still must not interrupt anything
            for number in self._handled:
                signal.signal(number, signal.SIG_DFL)

    @property
    def text(self) -> str:
        """The message about the signal that came."""
        return _WORDS[self.number][1]

    def _came(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as signal(2)
        if os.getpid() != self._process:
            # This is a child just after fork(2).  Cleaning up is its parent's task.
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
        """Raise a little later a signal that came in a destructor, where Python can't raise."""
        if issubclass(unraisable.exc_type, INTERRUPTIONS):
            signal.signal(signal.SIGALRM, self._raise)
            signal.setitimer(signal.ITIMER_REAL, _LATER)
        elif (
            not self.number
        ):  # after a signal, it is about an object that the signal left half made
            sys.__unraisablehook__(unraisable)

    def _raise(self, number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG002
        raise _WORDS[self.number][0]


def die_of(number: int) -> NoReturn:
    """End this process by a signal, so that its parent sees that."""
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # PID 1 of a namespace does not die of its own signals
