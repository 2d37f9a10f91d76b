"""Fetch what is not here of layers: first what readers wait for, then all the rest.

Some threads fetch blocks that readers want.  Others fetch long parts, of layer after layer; they
pause while a reader waits for other bytes.  Before that, they fetch the parts that an earlier start
has read.  Others check what has come.

A program that starts reads little, and waits for each read, and that waits for all that was asked
for before.  So the long parts begin when it pauses, or reads one thing after the other, or has run
for some time.
"""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from collections import deque
from contextlib import closing, contextmanager

from sundog.base.record.lazy_layer import LAZY_BLOCK
from sundog.errors import EXIT_ERROR, ProtocolError, RegistryError
from sundog.image.layer.threads import started
from sundog.image.registry.blob_ranges import may_pass
from sundog.image.registry.checking import CHECKS, Checking, Hearer
from sundog.image.registry.lazy_layer import runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from sundog.image.registry.blob_ranges import BlobPart
    from sundog.image.registry.lazy_layer import LazyLayer

    class Listener(Protocol):
        """Takes news of layers, by their numbers, from several threads."""

        def arrived(self, layer: int, blocks: range, kept: bytes | None) -> None:
            """Take blocks that readers wanted; ``kept`` are their bytes if the disk is full."""

        def lost(self, layer: int, block: int) -> None:
            """Take note that a block can't be had."""

        def tell(self, text: str) -> None:
            """Show a line to the user."""

        def advance(self, size: int) -> None:
            """Count bytes that came."""

        def ended(self, layer: int, error: Exception | None) -> None:
            """Take note that all of a layer is here and was checked, or else why it can't be."""


_URGENT_THREADS = 3
_FILLING_THREADS = 4
_RANGE = 512  # blocks that are asked for at once: 8 MiB
_PART = 8  # blocks that are written at once: a reader waits for the last one
_ROW = 5  # requests that each go on where the last one ended: who starts reads here and there
_STEP = 64  # blocks, 1 MiB, that such a request may leave out
_PATIENCE_SECONDS = 5.0  # after which the user learns what readers wait for
_LOOK_SECONDS = 0.5  # between two looks at what other processes do, or whether readers pause
_BUSY_SECONDS = 0.05  # between two looks at a block that another process fetches
_FIRST_PAUSE, _PAUSE_LIMIT = 0.25, 8.0
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)

_Block = tuple[int, int]  # layer, block


class Filling:
    """The layers that are added, and the threads that fetch what is not here of them."""

    def __init__(
        self, listener: Listener, *, fills: bool, attempts: int = 0, start: float = 0.0
    ) -> None:
        """Start the threads; without ``fills``, they fetch only what readers want.

        ``attempts`` is how often in a row a layer may fail to come; 0: it never ends.  ``start``:
        the seconds in which a program may start.
        """
        self._listener = listener
        self._condition = threading.Condition()  # of all that follows
        self._layers: dict[int, LazyLayer] = {}
        self._claimed: set[_Block] = set()  # a thread of this process fetches them
        self._wanted: dict[_Block, float] = {}  # since when readers wait
        self._urgent: deque[_Block] = deque()
        self._answered: deque[_Block] = deque()  # wanted, and here, or of no layer
        self._preferred: deque[tuple[int, range]] = deque()  # each to come by one request
        self._whole: set[int] = set()  # layers that come as a whole
        self._ended: set[int] = set()  # layers that can't be complete
        self._checking = Checking(Hearer(listener.tell, listener.ended, self.prefer))
        self._fills = fills
        self._row = 0  # requests of readers, each next to the last one
        self._row_end: _Block = (-1, 0)
        self._read_at = time.monotonic()
        self._start_until = self._read_at + start
        self._attempts = attempts
        self._has_told = False
        self._is_over = False
        works = [self._watch, self._answer, *[self._serve_readers] * _URGENT_THREADS]
        self._threads = [started(self._working, work) for work in works]
        self._has_fillers = False
        if start:
            self._checking.hold()
        if fills:
            self._start_fillers()
            checks = [self._checking.run] * CHECKS
            self._threads += [started(self._working, work) for work in checks]

    def _start_fillers(self) -> None:
        self._has_fillers = True
        fillers = [self._fill] * _FILLING_THREADS
        self._threads += [started(self._working, work) for work in fillers]

    def add(self, number: int, layer: LazyLayer) -> None:
        """Add a layer."""
        with self._condition:
            self._layers[number] = layer
            self._condition.notify_all()
        self._checking.add(number, layer)

    def stop(self, *, waits: bool = True) -> None:
        """End the threads; one that waits for a registry ends after its answer.

        Without ``waits``, nobody may close their layers: they end by themselves.
        """
        with self._condition:
            self._is_over = True
            self._condition.notify_all()
        self._checking.stop()
        for thread in self._threads if waits else ():
            thread.join()

    def want(self, number: int, blocks: range) -> None:
        """Fetch blocks for a reader, before all others.  Blocks of an unknown layer are lost.

        This does not wait for the listener, which may be about to want more.
        """
        with self._condition:
            self._read_at = time.monotonic()
            layer = self._layers.get(number)
            missing = set(layer.here.missing(blocks.start, blocks.stop)) if layer else set()
            if missing:
                self._look_at_row(number, blocks)
                self._checking.hold()
            for block in blocks:
                if block not in missing:
                    self._answered.append((number, block))
                    continue
                self._wanted.setdefault((number, block), time.monotonic())
                if number not in self._whole:
                    self._urgent.append((number, block))
            self._condition.notify_all()

    def _look_at_row(self, number: int, blocks: range) -> None:
        """Let the long parts begin if a reader reads one thing after the other."""
        layer, end = self._row_end
        is_next = layer == number and -1 <= blocks.start - end <= _STEP
        self._row = self._row + 1 if is_next else 0
        self._row_end = (number, blocks.stop)
        if self._row >= _ROW:
            self._start_until = 0.0

    def prefer(self, number: int, blocks: range) -> None:
        """Fetch blocks before those that no reader wants."""
        if number not in self._layers:
            return
        with self._condition:
            self._preferred.append((number, blocks))
            self._condition.notify_all()
        if not self._has_fillers:
            self._start_fillers()

    def discard(self, number: int, blocks: range) -> None:
        """Forget blocks whose bytes were wrong."""
        layer = self._layers.get(number)
        for block in blocks if layer is not None else ():
            if layer is not None and layer.here.has(block):
                layer.discard(block)

    def _working(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._listener.tell(str(error))
            os._exit(EXIT_ERROR)  # the server starts another one

    # What readers want.

    def _answer(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._answered or self._is_over)
                if self._is_over:
                    return
                number, block = self._answered.popleft()
                is_known = number in self._layers
            if is_known:
                self._listener.arrived(number, range(block, block + 1), None)
            else:
                self._listener.lost(number, block)

    def _serve_readers(self) -> None:
        while True:
            with self._condition:
                run = self._next_wanted()
                while run is None and not self._is_over:
                    self._condition.wait()
                    run = self._next_wanted()
            if run is None:
                return
            self._fetch_wanted(*run)

    def _next_wanted(self) -> tuple[int, range] | None:
        """Claim and return the next blocks that readers want, if they are adjacent."""
        while self._urgent:
            number, first = self._urgent.popleft()
            if (number, first) in self._wanted and (number, first) not in self._claimed:
                run = self._claimed_preferred(number, first)
                if run is not None:
                    return number, run
            end = first
            while (number, end) in self._wanted and (number, end) not in self._claimed:
                self._claimed.add((number, end))
                end += 1
            if end > first:
                return number, range(first, end)
        return None

    def _claimed_preferred(self, number: int, block: int) -> range | None:
        """Claim and return the preferred blocks around one, if they have not been asked for."""
        for preferred in self._preferred:
            if preferred[0] == number and block in preferred[1]:
                self._preferred.remove(preferred)
                return self._claimed_run(*preferred)
        return None

    def _claimed_run(self, number: int, blocks: range) -> range | None:
        """Claim, lock and return those of ``blocks`` that are not here, as one run."""
        layer = self._layers[number]
        missing = layer.here.missing(blocks.start, blocks.stop)
        if not missing:
            return None
        run = range(missing[0], missing[-1] + 1)
        claims = {(number, block) for block in run}
        if not claims.isdisjoint(self._claimed) or not layer.lock(run.start, len(run)):
            return None
        self._claimed |= claims
        return run

    def _fetch_wanted(self, number: int, blocks: range) -> None:
        layer, failures = self._layers[number], 0
        with self._claiming(number, blocks):
            while not layer.lock(blocks.start, len(blocks)):
                if not layer.here.missing(blocks.start, blocks.stop):
                    break
                time.sleep(_BUSY_SECONDS)
            try:
                while not self._is_fetched(number, blocks, failures):
                    failures += 1
                    _pause(failures)
            finally:
                layer.unlock(blocks.start, len(blocks))

    def _is_fetched(self, number: int, blocks: range, failures: int) -> bool:
        """Fetch blocks for readers, or tell them that it can't be; return False to try again."""
        try:
            self._fetch(number, blocks, failures)
        except RegistryError as error:
            if may_pass(error):
                return False
            self._lose(number, blocks, error.message)
        except OSError as error:
            self._lose(number, blocks, str(error))
        return True

    def _lose(self, number: int, blocks: range, why: str) -> None:
        with self._condition:
            lost = [block for block in blocks if self._wanted.pop((number, block), None)]
        if lost:
            self._listener.tell(f"a part of the image can't be had: {why}")
        for block in lost:
            self._listener.lost(number, block)

    # All the rest.

    def _fill(self) -> None:
        failures = 0
        while True:
            with self._condition:
                run = self._next_missing()
                while run is None and not self._is_over:
                    self._condition.wait(_LOOK_SECONDS)
                    run = self._next_missing()
            if run is None:
                return
            number, blocks, gives_way = run
            layer = self._layers[number]
            with self._claiming(number, blocks):
                try:
                    self._fetch(number, blocks, failures, gives_way=gives_way)
                    failures = 0
                except (RegistryError, OSError) as error:
                    failures += 1
                    is_final = not isinstance(error, RegistryError) or not may_pass(error)
                    if is_final or failures == self._attempts:
                        self._end(number, error)
                        failures = 0
                finally:
                    layer.unlock(blocks.start, len(blocks))
            if failures:
                _pause(failures)

    def _next_missing(self) -> tuple[int, range, bool] | None:
        """Claim, lock and return blocks that are not here, and whether they give way to readers."""
        while self._preferred and not self._is_over:
            number, blocks = self._preferred.popleft()
            preferred = self._claimed_run(number, blocks)
            if preferred is not None:
                return number, preferred, False
        now = time.monotonic()
        is_start = now < min(self._start_until, self._read_at + _LOOK_SECONDS)
        if not self._fills or self._is_over or is_start:
            return None
        for number, layer in self._layers.items():
            if number in self._ended or number in self._whole or layer.is_deleted:
                continue
            for blocks in layer.here.incomplete(_RANGE):
                claimed = self._claimed_run(number, blocks)
                if claimed is not None:
                    return number, claimed, True
        return None

    def _end(self, number: int, error: Exception) -> None:
        """Fetch no more of a layer than readers want."""
        with self._condition:
            is_news = number not in self._ended
            self._ended.add(number)
        if is_news:
            self._checking.give_up(number)
            self._listener.ended(number, error)

    # Both.

    @contextmanager
    def _claiming(self, number: int, blocks: range) -> Iterator[None]:
        """Give up the claims of ``blocks`` in the end; what readers still want is fetched again."""
        try:
            yield
        finally:
            with self._condition:
                for block in blocks:
                    self._claimed.discard((number, block))
                    if (number, block) in self._wanted and number not in self._whole:
                        self._urgent.append((number, block))
                self._condition.notify_all()

    def _fetch(self, number: int, blocks: range, failures: int, *, gives_way: bool = False) -> None:
        """Fetch those of ``blocks`` that are not here.  Raises RegistryError and OSError."""
        layer = self._layers[number]
        missing = layer.here.missing(blocks.start, blocks.stop)
        for run in runs(sorted(set(blocks).difference(missing))):
            self._arrive(number, run, None)
        for run in runs(missing):
            attempt = layer.attempt(run.start)
            try:
                if attempt >= len(layer.ranges.places):
                    raise ProtocolError(f"{layer.host} sends wrong bytes")
                part = layer.ranges.open(*layer.here.extent(run), attempt, failures)
            except RegistryError:
                if not layer.ranges.is_whole:
                    raise
                self._fetch_whole(number)
                return
            with closing(part):
                for stored in _parts(run):
                    if gives_way:
                        self._give_way(number, blocks)
                    if self._is_over:
                        return
                    self._store(number, stored, part)

    def _fetch_whole(self, number: int) -> None:
        """Fetch a layer from a place that sends no parts."""
        layer = self._layers[number]
        with self._condition:
            if number in self._whole:
                return
            self._whole.add(number)
        try:
            with closing(layer.ranges.open_whole(layer.attempt_at_all())) as part:
                for blocks in _parts(range(layer.here.count)):
                    self._store(number, blocks, part)
        finally:
            with self._condition:
                self._whole.discard(number)
                self._urgent.extend(block for block in self._wanted if block[0] == number)
                self._condition.notify_all()

    def _store(self, number: int, blocks: range, part: BlobPart) -> None:
        """Take adjacent blocks from ``part``."""
        layer = self._layers[number]
        start, stop = layer.here.extent(blocks)
        data, kept = part.read(stop - start), None
        try:
            layer.write(blocks, data)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            kept = data
            self._stop_filling(error)
        self._listener.advance(stop - start)
        self._checking.arrived()
        self._arrive(number, blocks, kept)

    def _arrive(self, number: int, blocks: range, kept: bytes | None) -> None:
        """Tell of those that readers want; ``kept`` are the bytes of all if the disk is full."""
        with self._condition:
            own = [(number, block) for block in blocks]
            arrived = [key[1] for key in own if self._wanted.pop(key, None) is not None]
            if arrived and not self._wanted:
                self._condition.notify_all()
        for run in runs(arrived):
            start, stop = (LAZY_BLOCK * (block - blocks.start) for block in (run.start, run.stop))
            self._listener.arrived(number, run, None if kept is None else kept[start:stop])

    def _stop_filling(self, error: OSError) -> None:
        with self._condition:
            self._fills = False
            self._preferred.clear()
            numbers = list(self._layers)
        for number in numbers:
            self._end(number, error)

    def _give_way(self, number: int, own: range) -> None:
        """Pause while readers wait for other blocks than ``own``."""
        deadline = time.monotonic() + _LOOK_SECONDS

        def is_in_the_way() -> bool:
            wants_own = any(of == number and block in own for of, block in self._wanted)
            return bool(self._wanted) and not wants_own

        with self._condition:
            while is_in_the_way() and self._condition.wait(deadline - time.monotonic()):
                pass

    def _watch(self) -> None:
        """Tell the user when readers have waited for some seconds."""
        while not self._is_over:
            with self._condition:
                self._condition.wait_for(lambda: self._is_over, _LOOK_SECONDS)
                late = [
                    block
                    for block, since in self._wanted.items()
                    if time.monotonic() - since > _PATIENCE_SECONDS
                ]
                is_news = bool(late) and not self._has_told
                self._has_told = bool(late)
                host = self._layers[late[0][0]].host if late else ""
            if is_news:
                self._listener.tell(f"waiting for {host}")


def _parts(blocks: range) -> Iterator[range]:
    """Yield adjacent blocks in parts of _PART at most."""
    for start in range(blocks.start, blocks.stop, _PART):
        yield range(start, min(start + _PART, blocks.stop))


def _pause(failures: int) -> None:
    """Wait before the next attempt; nodes that fail together come back one by one."""
    time.sleep(min(_FIRST_PAUSE * 2.0**failures, _PAUSE_LIMIT) * random.uniform(0.5, 1.0))
