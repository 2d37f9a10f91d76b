"""Memory that costs whoever takes it the same.

A virtual machine gives what it has free back to its host ("free page reporting" of the balloon, a
virtio device), and gets it again page by page, at the first use of each: some 3 µs, so that
``bsdtar -xf`` of 1.2 GB took 5.3 s where it else took 3.5.  Who meets such pages depends on what
went before.  Where nothing is free, pages are taken from the page cache, and those are there.
"""

from __future__ import annotations

import os
import tempfile

_FREE = 1 << 29  # bytes that may stay so: the kernel keeps some anyway
_PIECE = 1 << 22


class Ballast:
    """A sparse file of the memory's size, of which the page cache holds what else were free."""

    def __init__(self) -> None:
        self._size = _meminfo("MemTotal")
        self._file = tempfile.TemporaryFile(dir="/var/tmp", prefix="sundog-bench.")  # noqa: SIM115
        self._file.truncate(self._size)
        self._position = 0

    def load(self) -> None:
        """Read the file round and round, what the cache has dropped first, until all is taken."""
        buffer = bytearray(_PIECE)
        for _ in range(2 * self._size // _PIECE):
            if _meminfo("MemFree") <= _FREE:
                return
            self._position += os.preadv(self._file.fileno(), [buffer], self._position)
            self._position %= self._size

    def close(self) -> None:
        """Give the memory back."""
        self._file.close()


def _meminfo(name: str) -> int:
    """Return an entry of /proc/meminfo, in bytes."""
    with open("/proc/meminfo", encoding="ascii") as lines:
        for line in lines:
            key, _, value = line.partition(":")
            if key == name:
                return int(value.split()[0]) << 10
    raise KeyError(name)
