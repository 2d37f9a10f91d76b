"""The pieces of all blobs of a server that were unpacked last."""

from __future__ import annotations

from sundog.base.cpython import allocate_lock
from sundog.runtime.fuse.waiting import about_to_wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Lock

    # What makes the piece, and the piece's number.
    _Key = tuple[Callable[[int], bytes], int]

_KEPT = 32 << 20  # bytes
_LARGE = 4 << 20  # bytes of a piece; of larger ones, one is unpacked at a time


class _PieceCache:
    """Pieces by what makes them, and their numbers.  Threads may share it.

    One thread makes what is not here, and others wait for it.
    """

    __slots__ = ("_kept", "_large", "_lock", "_making", "_size")

    def __init__(self) -> None:
        self._lock = allocate_lock()  # for what follows
        self._kept: dict[_Key, bytes] = {}  # the one used last is the last
        self._size = 0  # of all
        self._making: dict[_Key, Lock] = {}  # locks that the makers hold
        self._large = allocate_lock()

    def get(self, make: Callable[[int], bytes], number: int, size: int) -> bytes:
        """Return what ``make`` makes of a number; that takes ``size`` bytes, or twice that.

        Raises what ``make`` raises.
        """
        key = make, number
        while True:
            with self._lock:
                found = self._kept.pop(key, None)
                if found is not None:
                    self._kept[key] = found
                    return found
                making = self._making.get(key)
                if making is None:
                    making = self._making[key] = allocate_lock()
                    making.acquire()
                    break
            about_to_wait()
            with making:
                pass
        try:
            if size > _LARGE:
                about_to_wait()
                with self._large:
                    found = make(number)
            else:
                found = make(number)
            with self._lock:
                self._keep(key, found)
            return found
        finally:
            with self._lock:
                del self._making[key]
            making.release()

    def _keep(self, key: _Key, contents: bytes) -> None:
        self._kept[key] = contents
        self._size += len(contents)
        while self._size > _KEPT and len(self._kept) > 1:
            self._size -= len(self._kept.pop(next(iter(self._kept))))


PIECES = _PieceCache()  # a server is a process
