"""The bounds of unpacking, and the meter that counts against them.

An archive of a few megabytes can unpack to terabytes, or cost hours of work.  Real images stay far
below these bounds.  ``ch-image --no-limits`` lifts them.
"""

from __future__ import annotations

import math
import mmap
import threading
from contextlib import contextmanager
from dataclasses import dataclass

from sundog.errors import ArchiveError

TYPE_CHECKING = False
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

    ratio       unpacked bytes per fetched byte, holes left out
    free        unpacked bytes to which ``ratio`` does not apply
    entries     of the trees of one image, with directories for which the archive has no member
    text        bytes of the entries' names and attributes, which have to be kept in memory
    steps       components of paths that are looked up because of symlinks and layers below
    layers      of one image
    documents   bytes of the documents of one archive
    images      of one archive; an image counts once for each of its names
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
    """Return the bounds of this process: the usual ones, unless ``set_limits`` has set others."""
    return _in_force


def set_limits(limits: Limits) -> None:
    """Set the bounds of this process and, as with setrlimit(2), of its later children."""
    global _in_force  # noqa: PLW0603 - of the process, like its resource limits
    _in_force = limits


class Meter:
    """Counts the work of unpacking one image, or one archive.

    Processes that are forked in ``shared`` count in the same memory, each in a slot of its own.
    With ``counts_input`` the compressed streams count as fetched; else the caller counts the
    fetched bytes by ``fetched``.
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
        """Have the process that is forked in the context count in ``slot``, from 1 on."""
        global _shared  # noqa: PLW0603 - the child inherits it
        _shared = Meter(self.limits, counts_input=self.counts_input)
        _shared._counts, _shared._slot = self._counts, slot
        try:
            yield
        finally:
            _shared = None

    def fetched(self, size: int) -> None:
        """Count ``size`` fetched bytes."""
        self._add(_FETCHED, size)

    def unpacked(self, size: int) -> None:
        """Count ``size`` unpacked bytes.  Raises ArchiveError."""
        unpacked = self._add(_UNPACKED, size)
        limits = self.limits
        if unpacked > limits.free and unpacked > self._add(_FETCHED, 0) * limits.ratio:
            raise ArchiveError(
                f"it unpacks to over {limits.ratio:,} times what was fetched: "
                f"{unpacked:,} bytes so far",
                NO_LIMITS_HINT,
            )

    def entry(self, text: int = 0) -> None:
        """Count an entry of a tree and the bytes of its ``text``.  Raises ArchiveError."""
        self._entries += 1
        self._text += text
        if self._entries >= self._batch or self._text >= self._batch << 12:
            self._flush()

    def complete(self) -> None:
        """Count what waits for further entries.  Raises ArchiveError."""
        self._flush()

    def looked_up(self, steps: int) -> None:
        """Count ``steps`` components of paths, see ``Limits``.  Raises ArchiveError."""
        self._steps += steps
        if self._steps >= self._batch << 4:
            self._flush()

    def document(self, size: int) -> None:
        """Count a document of ``size`` bytes.  Raises ArchiveError."""
        if self._add(_DOCUMENTS, size) > self.limits.documents:
            raise ArchiveError(
                f"its documents take more than {self.limits.documents:,} bytes", NO_LIMITS_HINT
            )

    def check_images(self, count: int) -> None:
        """Raise ArchiveError if ``count`` images, or names of images, are too many."""
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
        """Add ``count`` to a field; return the sum of this field over all processes."""
        counts = self._counts
        if count:
            with self._lock:
                counts[self._slot * len(_COUNTS) + field] += count
        return sum(counts[field :: len(_COUNTS)])


_shared: Meter | None = None


def current_meter() -> Meter:
    """Return the meter that the parent process shares with this one, else a new meter."""
    return _shared or Meter()


def check_layers(count: int) -> None:
    """Raise ArchiveError if an image of ``count`` layers has too many."""
    if count > limits_in_force().layers:
        raise ArchiveError(
            f"an image of {count} layers: more than {limits_in_force().layers:,} are refused",
            NO_LIMITS_HINT,
        )
