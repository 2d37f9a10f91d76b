"""Attempts after a failure that may pass: how many, and the pauses between them."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ATTEMPTS = 5
_FIRST_PAUSE = 0.5


class Backoff:
    """Counts the failures in a row; each pause is twice as long as the one before.

    attempts  how many failures end it
    sleep     waits so many seconds
    progress  how far an attempt must come, so that the count begins again
    start     the position at the beginning
    """

    def __init__(
        self,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], object] = time.sleep,
        *,
        progress: int = 1,
        start: int = 0,
    ) -> None:
        self.attempts = attempts
        self.failures = 0
        self._sleep = sleep
        self._progress = progress
        self._reached = start

    def fail(self, position: int = 0) -> bool:
        """Count a failure at ``position``; tell whether it was the last attempt."""
        if position >= self._reached + self._progress:
            self.failures, self._reached = 0, position
        self.failures += 1
        return self.failures >= self.attempts

    def pause(self) -> float:
        """Return the next pause in seconds, scattered: all nodes of a job may fail at once."""
        import random

        return _FIRST_PAUSE * 2.0 ** (self.failures - 1) * random.uniform(0.5, 1.0)

    def wait(self) -> None:
        """Wait before the next attempt."""
        self._sleep(self.pause())
