"""Progress of child processes, for a parent that shows it while it waits for them.

A child counts the bytes that it moves in memory that it shares with its parent.  The parent looks
at the count ten times a second while it waits.  This needs no thread: processes may be forked
meanwhile.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from collections.abc import Callable, Iterator
    from mmap import mmap

PERIOD = 0.1  # seconds
_COUNT_SIZE = 8


class _Watch:
    """The count of this process and its children.  Only one process counts at a time."""

    __slots__ = ("_memory", "_next", "_show", "_shower")

    def __init__(self) -> None:
        self._memory: mmap | None = None
        self._show: Callable[[int], None] | None = None
        self._shower = 0  # the process that shows the count: its children have ``_show``, too
        self._next = 0.0

    def start(self) -> None:
        """Share a count with the children that this process forks from now on."""
        import mmap  # noqa: PLC0415 - only for a display

        self._memory = self._memory or mmap.mmap(-1, _COUNT_SIZE)

    def count(self, size: int) -> None:
        """Count ``size`` bytes; without ``start`` do nothing."""
        if self._memory is not None:
            self._set(self._counted() + size)

    def moved(self, size: int) -> None:
        """Count ``size`` bytes that the process itself moves which shows the count."""
        if self._show is None or self._shower != os.getpid():
            return
        self.count(size)
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PERIOD
            self._show(self._counted())

    @contextmanager
    def shown(self, show: Callable[[int], None]) -> Iterator[None]:
        """Call ``show`` with the count, from zero, whenever this process waits in the context."""
        self._set(0)
        self._show = show
        self._shower = os.getpid()
        try:
            yield
            show(self._counted())
        finally:
            self._show = None

    def poll(self, poll: select.poll, seconds: float | None = None) -> list[tuple[int, int]]:
        """Wait as ``poll.poll``, at most ``seconds``, and show the count meanwhile."""
        while self._show is not None:
            part = PERIOD if seconds is None else min(PERIOD, seconds)
            ready = poll.poll(part * 1000)
            self._show(self._counted())
            if seconds is not None:
                seconds -= part
            if ready or seconds == 0:
                return ready
        return poll.poll(None if seconds is None else seconds * 1000)

    def _counted(self) -> int:
        return 0 if self._memory is None else int.from_bytes(self._memory[:_COUNT_SIZE], "little")

    def _set(self, count: int) -> None:
        if self._memory is not None:
            self._memory[:_COUNT_SIZE] = count.to_bytes(_COUNT_SIZE, "little")


WATCH = _Watch()
