"""Keep what has just been born alive until the clock has ticked.

Birth times are as coarse as the kernel's clock tick, long enough for a file to be made, recorded
and removed, and for its inode number to be another file's.  A recorded inode that is younger than
the tick is therefore held open until the tick is over: nobody else can get its number, and whoever
gets it later was born later.
"""

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.emulation.notify.state.files import Status

CLOCK_REALTIME_COARSE = 5  # time.h: what file systems take times from
MAX_HELD = 256
TICK = 0.01  # seconds: the longest that a kernel is built with


class Nursery:
    """Open files, each with the birth time of its inode: ``held``, always the same list."""

    def __init__(self) -> None:
        self.held: list[tuple[int, int]] = []

    def take(self, status: "Status") -> None:
        """Hold the file that ``status`` describes, unless it is old enough; let go of others."""
        self.release()
        if status.birth() < time.clock_gettime_ns(CLOCK_REALTIME_COARSE):
            return
        if len(self.held) >= MAX_HELD:
            self.empty()
        self.held.append((status.birth(), status.open()))

    def empty(self) -> None:
        """Let go of everything, after the tick: a file system is busy while a file is held."""
        if self.held:
            time.sleep(TICK)
            self.release()

    def release(self) -> None:
        """Let go of what has become old enough."""
        if self.held:
            now = time.clock_gettime_ns(CLOCK_REALTIME_COARSE)
            for born, fd in self.held:
                if born < now:
                    os.close(fd)
            self.held[:] = [(born, fd) for born, fd in self.held if born >= now]
