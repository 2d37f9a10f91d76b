"""How much may come out of what came in: the bounds of unpacking, and the count against them.

An archive of a few megabytes can stand for terabytes, or for hours of work.  Real images stay far
below these bounds; ``ch-image --no-limits`` lifts them.
"""

from __future__ import annotations

import math
import mmap
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sundog.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_LIMITS_HINT = "if you trust it, --no-limits takes it as it is"

_COUNTS = _UNPACKED, _FETCHED, _ENTRIES, _TEXT, _STEPS, _DOCUMENTS = range(6)
_COUNT_SIZE = 8
_SLOTS = 8
_BATCH = 256  # entries that are counted together, unless the bounds are small
_SMALL = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds.

    ratio       bytes unpacked per byte that was fetched, holes left out; once ``free`` bytes are
                exceeded
    entries     of the trees of one image, directories included that an archive takes for granted
    text        bytes of names and attributes that have to be kept in memory for them
    steps       components of paths that are looked up because of symlinks and layers below
    layers      of one image
    documents   bytes of the documents of one archive
    images      in one archive, each of their names counted
    """

    ratio: float = 1000
    free: float = 10 << 30
    entries: float = 5_000_000
    text: float = 1 << 30
    steps: float = 1_000_000_000
    layers: float = 1000
    documents: float = 64 << 20
    images: float = 1000


UNLIMITED = Limits(*[math.inf] * 8)

_in_force = Limits()


def limits_in_force() -> Limits:
    """Return the bounds of this process: the usual ones, unless ``set_limits`` said others."""
    return _in_force


def set_limits(limits: Limits) -> None:
    """Set the bounds of this process, and as with setrlimit(2) of those forked after."""
    global _in_force  # noqa: PLW0603 - it is the process's, like its resource limits
    _in_force = limits


class Meter:
    """Counts what is unpacked of one image, or of one archive.

    Processes that are forked in ``shared`` count in the same memory, each in a slot of its own.
    ``counts_input`` says that the streams that are decompressed are what was fetched; else somebody
    tells of that with ``fetched``.
    """

    def __init__(self, limits: Limits | None = None, *, counts_input: bool = True) -> None:
        self.limits = limits or limits_in_force()
        self.counts_input = counts_input
        memory = mmap.mmap(-1, _SLOTS * len(_COUNTS) * _COUNT_SIZE)
        self._counts = memoryview(memory).cast("Q")
        self._slot = 0
        self._lock = threading.Lock()  # a thread may decompress
        self._entries = self._text = self._steps = 0
        least = min(self.limits.entries, self.limits.text, self.limits.steps)
        self._batch = 1 if least < _SMALL else _BATCH

    @contextmanager
    def shared(self, slot: int) -> Iterator[None]:
        """Let the process that is forked in the context count in ``slot``, from 1 on."""
        global _shared  # noqa: PLW0603 - it is there for the child
        _shared = Meter(self.limits, counts_input=self.counts_input)
        _shared._counts, _shared._slot = self._counts, slot
        try:
            yield
        finally:
            _shared = None

    def fetched(self, size: int) -> None:
        """Count ``size`` bytes that came in."""
        self._add(_FETCHED, size)

    def unpacked(self, size: int) -> None:
        """Count ``size`` bytes that came out.  Raises ArchiveError."""
        unpacked = self._add(_UNPACKED, size)
        limits = self.limits
        if unpacked > limits.free and unpacked > self._add(_FETCHED, 0) * limits.ratio:
            raise ArchiveError(
                f"it unpacks to over {limits.ratio:,} times what was fetched: "
                f"{unpacked:,} bytes so far",
                NO_LIMITS_HINT,
            )

    def entry(self, text: int = 0) -> None:
        """Count an entry of a tree, and how much ``text`` is kept of it.  Raises ArchiveError."""
        self._entries += 1
        self._text += text
        if self._entries >= self._batch or self._text >= self._batch << 12:
            self._flush()

    def looked_up(self, steps: int) -> None:
        """Count components of paths that were looked up.  Raises ArchiveError."""
        self._steps += steps
        if self._steps >= self._batch << 4:
            self._flush()

    def document(self, size: int) -> None:
        """Count a document of ``size`` bytes that was read.  Raises ArchiveError."""
        if self._add(_DOCUMENTS, size) > self.limits.documents:
            raise ArchiveError(
                f"its documents take more than {self.limits.documents:,} bytes", NO_LIMITS_HINT
            )

    def check_images(self, count: int) -> None:
        """Raise ArchiveError if ``count`` images, or names of them, are too many."""
        if count > self.limits.images:
            raise ArchiveError(f"more than {self.limits.images:,} images", NO_LIMITS_HINT)

    def _flush(self) -> None:
        entries = self._add(_ENTRIES, self._entries)
        text, steps = self._add(_TEXT, self._text), self._add(_STEPS, self._steps)
        self._entries = self._text = self._steps = 0
        limits = self.limits
        if entries > limits.entries:
            raise ArchiveError(f"more than {limits.entries:,} entries", NO_LIMITS_HINT)
        if text > limits.text:
            raise ArchiveError(
                f"its names and attributes take more than {limits.text:,} bytes", NO_LIMITS_HINT
            )
        if steps > limits.steps:
            raise ArchiveError("its paths take too long to follow", NO_LIMITS_HINT)

    def _add(self, field: int, count: int) -> int:
        """Add to a count; return what all processes have counted."""
        counts = self._counts
        if count:
            with self._lock:
                counts[self._slot * len(_COUNTS) + field] += count
        return sum(counts[field :: len(_COUNTS)])


_shared: Meter | None = None


def current_meter() -> Meter:
    """Return the meter that was shared with this process, or a new one."""
    return _shared or Meter()


def check_layers(count: int) -> None:
    """Raise ArchiveError if an image of ``count`` layers has too many."""
    if count > limits_in_force().layers:
        raise ArchiveError(
            f"an image of {count} layers: more than {limits_in_force().layers:,} are refused",
            NO_LIMITS_HINT,
        )
