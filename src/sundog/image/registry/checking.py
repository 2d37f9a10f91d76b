"""Check layers while they come: several side by side, each from its beginning on.

A check reads the file that other threads write, as far as all of it is there.  So little is left to
do when the last byte has come.  While a program waits for bytes, checks pause.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from sundog.base.record.lazy_layer import LAZY_BLOCK
from sundog.errors import Cancelled, ContentMismatch, SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.image.registry.lazy_layer import LazyLayer

CHECKS = 4  # threads: each holds the table of contents of a layer, and may wait for its bytes
_LOOK_SECONDS = 0.5  # between two looks at what other processes bring
_QUIET_SECONDS = 1.0  # without a reader who waits: the program has started


@dataclass(frozen=True, slots=True)
class Hearer:
    """The functions that hear of checks, in several threads.

    tell     gets a line for the user: the bytes of a layer were wrong, and are fetched again
    ended    gets the number of a layer that was checked, and the error if it is not right
    prefer   gets blocks that a check needs before others
    """

    tell: Callable[[str], None]
    ended: Callable[[int, Exception | None], None]
    prefer: Callable[[int, range], None]


@dataclass(slots=True)
class _Check:
    """The check of a layer; ``read_to`` is where its last read ended."""

    number: int
    layer: LazyLayer
    read_to: int = 0


class Checking:
    """The layers that are to be checked; threads call ``run``."""

    def __init__(self, hearer: Hearer) -> None:
        self._hearer = hearer
        self._condition = threading.Condition()  # of all that follows
        self._unchecked: dict[int, LazyLayer] = {}  # no thread checks them
        self._given_up: set[int] = set()
        self._read_at = float("-inf")  # when a reader last wanted what is not here
        self._is_over = False

    def add(self, number: int, layer: LazyLayer) -> None:
        """Let a layer be checked while it comes."""
        with self._condition:
            self._unchecked[number] = layer
            self._condition.notify_all()

    def arrived(self) -> None:
        """Take note that a part of a layer is here."""
        with self._condition:
            self._condition.notify_all()

    def hold(self) -> None:
        """Leave the processors to a reader for a while."""
        self._read_at = time.monotonic()

    def give_up(self, number: int) -> None:
        """End the check of a layer: not all of it comes."""
        with self._condition:
            self._given_up.add(number)
            self._unchecked.pop(number, None)
            self._condition.notify_all()

    def stop(self) -> None:
        """End the threads, each when it needs the next bytes."""
        with self._condition:
            self._is_over = True
            self._condition.notify_all()

    def run(self) -> None:
        """Check one layer after the other until ``stop``."""
        while (check := self._next()) is not None:
            try:
                self._complete(check)
            except Cancelled:
                pass
            except ContentMismatch as error:
                self._hearer.tell(error.message)
                self.add(check.number, check.layer)  # each block is fetched again
            except (SundogError, OSError) as error:
                self._hearer.ended(check.number, error)
            else:
                self._hearer.ended(check.number, None)

    def _next(self) -> _Check | None:
        """Wait for a layer that no other process checks; return None when all is over."""
        with self._condition:
            while not self._is_over:
                for number, layer in self._unchecked.items():
                    if self._may_read(layer) and layer.lock(layer.here.count, 1):
                        del self._unchecked[number]
                        return _Check(number, layer)
                self._condition.wait(_LOOK_SECONDS)
        return None

    def _complete(self, check: _Check) -> None:
        layer = check.layer
        try:
            layer.complete(lambda start, end: self._wait(check, start, end))
        finally:
            layer.unlock(layer.here.count, 1)

    def _wait(self, check: _Check, start: int, end: int) -> None:
        """Return when the bytes from ``start`` to before ``end`` are here.  Raises Cancelled."""
        layer, end = check.layer, min(end, check.layer.here.size)
        blocks = range(start // LAZY_BLOCK, -(-end // LAZY_BLOCK))
        is_ahead = start not in (0, check.read_to)  # a table of contents, at the end
        check.read_to = end
        if is_ahead and layer.here.missing(blocks.start, blocks.stop):
            self._hearer.prefer(check.number, blocks)
        with self._condition:
            while True:
                if self._is_over or check.number in self._given_up or layer.is_deleted:
                    raise Cancelled("given up")
                if not layer.here.missing(blocks.start, blocks.stop) and self._may_read(layer):
                    return
                self._condition.wait(_LOOK_SECONDS)

    def _may_read(self, layer: LazyLayer) -> bool:
        """Tell whether a check of ``layer`` holds up no reader."""
        is_quiet = time.monotonic() - self._read_at > _QUIET_SECONDS
        return not layer.is_deleted and (is_quiet or layer.here.is_whole)
