"""A cache with a bound, which threads may share."""

from __future__ import annotations

from sundog.base.cpython import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Any


class BoundedCache:
    """Keeps values until their weights exceed ``limit``; the oldest goes first.

    The newest value always stays, however heavy it is.  ``get`` is that of a dict: it returns None
    if the cache does not have the key.
    """

    __slots__ = ("_limit", "_lock", "_total", "_values", "_weights", "get")

    def __init__(self, limit: int) -> None:
        self._values: dict[Hashable, Any] = {}
        self._weights: dict[Hashable, int] = {}
        self._limit = limit
        self._total = 0
        self._lock = allocate_lock()
        self.get: Callable[[Hashable], Any] = self._values.get

    def put(self, key: Hashable, value: object, weight: int = 1) -> None:
        """Keep ``value`` instead of an earlier one; forget the oldest values if it is too much."""
        with self._lock:
            self._total += weight - self._weights.get(key, 0)
            self._values[key] = value
            self._weights[key] = weight
            while self._total > self._limit and len(self._values) > 1:
                oldest = next(iter(self._values))
                del self._values[oldest]
                self._total -= self._weights.pop(oldest)
