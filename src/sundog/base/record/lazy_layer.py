"""A layer of which a part is still in a registry: ``layers/ID/here`` and ``layers/ID/source``.

    here     a byte for each block of ``file``: 1 if the block is here, else 0; then 8 bytes, which
             are others after a block was discarded
    source   where the other blocks are: ``image.registry.lazy_source``
    refused  why the layer must not be used, in UTF-8: all of it is here, and is not what it should
    place    in place of ``source``, for a layer whose blob stays in an OCI layout: the path of the
             layout, NUL, the name of the blob there

``file`` has its whole size, with holes for the blocks that are not here.  ``here`` and ``source``
go when all of it is here, and was checked.  A blob that stays elsewhere never comes.

``refused/NAME`` in storage says the same of a blob, its table and its diff_id, over any layers: see
``image.transfer.present.refusal``.  It is there before ``refused`` of a layer, and outlives that.

A block has a byte, so that processes on several nodes can write it without a lock.  The byte is a
hint: it may outlive its block in a power cut.  Whoever reads checks the digest of each chunk.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Relative to the directory of the layer.
LAYER_HERE, LAYER_SOURCE, LAYER_REFUSED = b"/here", b"/source", b"/refused"
LAYER_PLACE = b"/place"
REFUSALS = b"refused"  # in storage
LAZY_BLOCK = 1 << 14  # bytes
# How the rest comes: see ch-run(1), --lazy.
LAZY_VARIABLE = b"CH_RUN_LAZY"
ON_DEMAND = b"ondemand"
SELDOM = b"seldom"  # of ours: on demand, which perhaps never comes
# Seconds that a reader waits for a block, in digits.
WAIT_VARIABLE = b"CH_RUN_LAZY_WAIT"
_WAIT_LIMIT = 1e9  # no clock takes more
_REASON_LIMIT = 4096
_PLACE_LIMIT = 8192  # bytes: a path, and the name of a blob
REFUSED_HINT = "pull it again, without --lazy: ch-image pull IMAGE"
_HERE, _ABSENT = b"\1", b"\0"
_MARK_SIZE = 8


def wait_seconds(text: bytes) -> float | None:
    """Return how long a reader waits, if WAIT_VARIABLE is ``text``; None if that is no number."""
    return min(float(text), _WAIT_LIMIT) if text.isdigit() else None


def is_incomplete(directory: bytes) -> bool:
    """Tell whether a part of the layer in ``directory`` is not here, or was not checked."""
    return os.path.lexists(directory + LAYER_HERE)


def is_refused(directory: bytes) -> bool:
    """Tell whether the layer in ``directory`` must not be used."""
    return os.path.lexists(directory + LAYER_REFUSED)


def check_refused(directory: bytes) -> None:
    """Raise StoreError if the layer in ``directory`` must not be used."""
    try:
        with Closing(os.open(directory + LAYER_REFUSED, os.O_RDONLY | os.O_CLOEXEC)) as fd:
            text = os.read(fd, _REASON_LIMIT).decode("utf-8", "replace")
    except OSError:
        return
    raise StoreError(text, REFUSED_HINT)


def pack_place(layout: bytes, blob: bytes) -> bytes:
    """Return the bytes of the file ``place``: ``blob`` is a path below the directory ``layout``."""
    return b"\0".join((layout, blob))


def read_place(place: int) -> tuple[bytes, bytes]:
    """Return what an open file ``place`` says: the layout, and the path of the blob in it."""
    layout, _, blob = os.read(place, _PLACE_LIMIT).partition(b"\0")
    return layout, blob


def check_place(directory: bytes) -> None:
    """Raise StoreError, about an image that can't be read, if its layer's blob is in a layout.

    ``directory`` is that of the layer.
    """
    try:
        with Closing(os.open(directory + LAYER_PLACE, os.O_RDONLY | os.O_CLOEXEC)) as fd:
            blob = printable(b"/".join(read_place(fd)))
    except OSError:
        return
    raise StoreError(
        f"the image is in a layout, which has changed or can't be read: {blob}",
        "ch-run --lazy reads the layout while it runs; without it, ch-run oci:DIR copies it",
    )


class HereMap:
    """The open file ``here``, for a layer file of ``size`` bytes.  Threads may share it."""

    __slots__ = ("_fd", "count", "size")

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self.size = size
        self.count = -(-size // LAZY_BLOCK)  # of blocks

    def has(self, block: int) -> bool:
        """Tell whether the block is here.  Raises OSError."""
        return os.pread(self._fd, 1, block) == _HERE

    def note(self, blocks: range, *, here: bool) -> None:
        """Note that adjacent blocks are here, or no more.  Raises OSError."""
        at, left = blocks.start, len(blocks) * (_HERE if here else _ABSENT)
        while left:
            written = os.pwrite(self._fd, left, at)
            at, left = at + written, left[written:]
        if not here:
            os.pwrite(self._fd, os.urandom(_MARK_SIZE), self.count)

    def mark(self) -> bytes:
        """Return bytes that stay the same until a block is discarded.  Raises OSError."""
        return os.pread(self._fd, _MARK_SIZE, self.count)

    def missing(self, start: int = 0, end: int | None = None) -> list[int]:
        """Return the blocks from ``start`` to before ``end`` that are not here; raise OSError."""
        last = self.count if end is None else min(end, self.count)
        found = os.pread(self._fd, max(last - start, 0), start).ljust(last - start, _ABSENT)
        return [start + at for at, byte in enumerate(found) if byte != _HERE[0]]

    def incomplete(self, length: int) -> Iterator[range]:
        """Yield those of the ranges of ``length`` blocks that are not all here; raise OSError."""
        here = os.pread(self._fd, self.count, 0).ljust(self.count, _ABSENT)
        for start in range(0, self.count, length):
            blocks = range(start, min(start + length, self.count))
            if here[start : blocks.stop] != len(blocks) * _HERE:
                yield blocks

    @property
    def is_whole(self) -> bool:
        """Tell whether all blocks are here.  Raises OSError."""
        return not any(self.incomplete(self.count or 1))

    def extent(self, blocks: range) -> tuple[int, int]:
        """Return where adjacent blocks begin in the file, and where they end."""
        return blocks.start * LAZY_BLOCK, min(blocks.stop * LAZY_BLOCK, self.size)

    def bytes_here(self) -> int:
        """Return how many bytes of the file are here.  Raises OSError."""
        missing = self.missing()
        absent = len(missing) * LAZY_BLOCK
        if missing and missing[-1] == self.count - 1:
            absent -= self.count * LAZY_BLOCK - self.size
        return self.size - absent
