"""Keep new inodes alive until the clock has ticked.

Birth times are as coarse as the kernel's clock tick.  Within a tick a program can make a file that
gets a record, remove it, and make another file with the same inode number and the same birth time.
So the nursery holds a recorded inode open that is younger than the tick.  Meanwhile no other file
can get its number; a file that gets the number later has a later birth time.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.files import Status

CLOCK_REALTIME_COARSE = 5  # time.h: what file systems take times from
HELD_LIMIT = 256
_TICK = 0.01  # seconds: the longest that a kernel is built with


class Nursery:
    """Open files; ``held`` is always the same list of birth times and descriptors."""

    def __init__(self) -> None:
        self.held: list[tuple[int, int]] = []

    def take(self, status: Status) -> None:
        """Hold the file that ``status`` describes if it is young; close what has become old."""
        self.release()
        if status.birth() < time.clock_gettime_ns(CLOCK_REALTIME_COARSE):
            return
        if len(self.held) >= HELD_LIMIT:
            self.empty()
        self.held.append((status.birth(), status.open()))

    def empty(self) -> None:
        """Close everything, after the tick: a file system is busy while a file in it is open."""
        if self.held:
            time.sleep(_TICK)
            self.release()

    def release(self) -> None:
        """Close the files that have become old enough."""
        if self.held:
            now = time.clock_gettime_ns(CLOCK_REALTIME_COARSE)
            for born, fd in self.held:
                if born < now:
                    os.close(fd)
            self.held[:] = [(born, fd) for born, fd in self.held if born >= now]
