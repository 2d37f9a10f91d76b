"""The pieces of a layer's blob that were unpacked last."""

from __future__ import annotations

from sundog.base.cpython import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Lock

_KEPT = 32 << 20  # bytes
_LARGE = 4 << 20  # bytes of a piece; of larger ones, one is unpacked at a time


class PieceCache:
    """Pieces by number.  Threads may share it.

    ``make`` makes what is not here: one thread does, and others wait for it.
    """

    __slots__ = ("_kept", "_large", "_lock", "_make", "_making", "_size")

    def __init__(self, make: Callable[[int], bytes]) -> None:
        self._make = make
        self._lock = allocate_lock()  # for what follows
        self._kept: dict[int, bytes] = {}  # the one used last is the last
        self._size = 0  # of all
        self._making: dict[int, Lock] = {}  # number → a lock that its maker holds
        self._large = allocate_lock()

    def get(self, number: int, size: int) -> bytes:
        """Return what has the number; making it takes ``size`` bytes, or twice that.

        Raises what ``make`` raises.
        """
        while True:
            with self._lock:
                found = self._kept.pop(number, None)
                if found is not None:
                    self._kept[number] = found
                    return found
                making = self._making.get(number)
                if making is None:
                    making = self._making[number] = allocate_lock()
                    making.acquire()
                    break
            with making:
                pass
        try:
            if size > _LARGE:
                with self._large:
                    found = self._make(number)
            else:
                found = self._make(number)
            with self._lock:
                self._keep(number, found)
            return found
        finally:
            with self._lock:
                del self._making[number]
            making.release()

    def _keep(self, number: int, contents: bytes) -> None:
        self._kept[number] = contents
        self._size += len(contents)
        while self._size > _KEPT and len(self._kept) > 1:
            self._size -= len(self._kept.pop(next(iter(self._kept))))
