"""The bytes of a layer file of which a part is still in a registry: fetched when they are read."""

from __future__ import annotations

import errno
import os

from sundog.base.cpython import allocate_lock
from sundog.base.kernel.files import open_regular
from sundog.base.record.layer_path import LAYER_FILE
from sundog.base.record.lazy_layer import LAYER_HERE, LAZY_BLOCK, HereMap
from sundog.runtime.fuse.landmark import blocks_before_landmark
from sundog.runtime.fuse.layer_fetcher import LayerFetcher
from sundog.runtime.fuse.read_order import joined_runs
from sundog.runtime.fuse.waiting import about_to_wait, read_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_AHEAD = 128 << 20  # bytes at most that come for one read before it waits: a table may lie
_DISCARDS_LIMIT = 16  # of one block: each source of a blob is asked twice


class LazyBlob:
    """A layer file of which a part is still in a registry."""

    __slots__ = (
        *("_discards", "_distrusted", "_file", "_here", "_known", "_layer", "_lock", "_size"),
        "fetcher",
    )

    def __init__(
        self,
        directory: int,
        fetcher: LayerFetcher | None,
        given: tuple[int, int] = (-1, -1),
        first: Sequence[range] | None = (),
    ) -> None:
        """Open the layer in ``directory``, a descriptor that stays open.

        ``fetcher`` is that of another layer of the server, if there is one; ``given`` is what a new
        one takes.  The blocks ``first`` come before all others that no reader wants; None: those in
        front of its landmark.  Raises OSError.
        """
        self._file = _opened(directory, LAYER_FILE)
        self._size = os.fstat(self._file).st_size
        self._here = HereMap(_opened(directory, LAYER_HERE), self._size)
        self._known = bytearray(self._here.count)  # 1 for each block that is here
        self._distrusted: set[int] = set()  # blocks to wait for, whatever the map says
        self._discards: dict[int, int] = {}
        self._lock = allocate_lock()  # one thread discards
        self.fetcher = fetcher or LayerFetcher(*given)
        if first is None:
            first = joined_runs(blocks_before_landmark(directory))
        possible = [run for run in first if run.stop <= self._here.count]
        self._layer = self.fetcher.add(directory, possible)

    def read(self, offset: int, size: int) -> bytes:
        """See ``Blob``."""
        missing = self._missing(offset, size)
        kept = {}
        if missing:
            about_to_wait()
            kept = self.fetcher.wait(self._layer, missing)
        self._distrusted.difference_update(missing)
        data = _read_whole(self._file, offset, size)
        if not kept:
            return data
        patched = bytearray(data)
        for block, content in kept.items():
            start = block * LAZY_BLOCK - offset
            part = content[max(0, -start) : size - start]
            patched[max(0, start) : max(0, start) + len(part)] = part
        return bytes(patched)

    def lacks(self, offset: int, size: int) -> bool:
        """See ``Blob``."""
        start, stop = self._clipped(offset, size)
        return bool(self._missing(start, stop - start))

    def has_some(self, offset: int, size: int) -> bool:
        """See ``Blob``."""
        start, stop = self._clipped(offset, size)
        blocks = _blocks(start, stop - start)
        return len(self._here.missing(blocks.start, blocks.stop)) < len(blocks)

    def _clipped(self, offset: int, size: int) -> tuple[int, int]:
        """Return where those of the bytes begin and end that the blob has, _AHEAD at most."""
        start = min(max(offset, 0), self._size)
        return start, min(max(offset + size, start), start + _AHEAD, self._size)

    def expect(self, offset: int, size: int) -> None:
        """See ``Blob``."""
        start, stop = self._clipped(offset, size)
        missing = self._missing(start, stop - start)
        if missing:
            self.fetcher.expect(self._layer, missing)

    def discard(self, offset: int, wrong: bytes) -> bool:
        """See ``Blob``."""
        with self._lock:
            if self.read(offset, len(wrong)) != wrong:
                return True  # another reader has found it out
            blocks = [*_blocks(offset, len(wrong))]
            self._distrusted.update(blocks)
            for block in blocks:
                self._known[block] = 0
                self._discards[block] = self._discards.get(block, 0) + 1
            self.fetcher.discard(self._layer, blocks)
            return max(self._discards[block] for block in blocks) < _DISCARDS_LIMIT

    def _missing(self, offset: int, size: int) -> list[int]:
        """Return the blocks with these bytes that are not here.  Raises OSError."""
        if not 0 <= offset <= offset + size <= self._size:
            raise OSError(errno.EIO, "no such bytes in the layer file")
        blocks = [block for block in _blocks(offset, size) if not self._known[block]]
        if not blocks:
            return []
        missing = {*self._here.missing(blocks[0], blocks[-1] + 1), *self._distrusted}
        for block in blocks:
            self._known[block] = block not in missing
        return [block for block in blocks if block in missing]


def _read_whole(fd: int, offset: int, size: int) -> bytes:
    """Return ``size`` bytes from ``offset`` on of an open file; raise OSError if it has less."""
    data = read_at(fd, size, offset)
    while len(data) < size:
        more = read_at(fd, size - len(data), offset + len(data))
        if not more:
            raise OSError(errno.EIO, "the layer file is too short")
        data += more
    return data


def _blocks(offset: int, size: int) -> range:
    """Return the numbers of the blocks with these bytes."""
    first = offset // LAZY_BLOCK
    return range(first, -(-(offset + size) // LAZY_BLOCK) if size else first)


def _opened(directory: int, name: bytes) -> int:
    fd = open_regular(directory, name[1:], 0)
    if fd < 0:
        raise OSError(errno.ENOENT, "no such file of a layer")
    return fd
