"""Make memory cost the same for every command.

A virtual machine gives its free memory back to its host ("free page reporting" of the balloon, a
virtio device).  It gets each page back at the page's first use, which takes some 3 µs: unpacking
1.2 GB with bsdtar took 5.3 s instead of 3.5.  Earlier commands decide which later command meets
such pages. If no memory is free, the kernel takes pages from the page cache, and the machine still
has those.
"""

from __future__ import annotations

import os
import tempfile

_FREE = 1 << 29  # bytes that may stay free: the kernel keeps some anyway
_PIECE = 1 << 22


class Ballast:
    """A sparse file of the memory's size; its pages in the page cache fill the free memory."""

    def __init__(self) -> None:
        self._size = _meminfo("MemTotal")
        self._file = tempfile.TemporaryFile(dir="/var/tmp", prefix="sundog-bench.")  # noqa: SIM115
        self._file.truncate(self._size)
        self._position = 0

    def load(self) -> None:
        """Read the file round and round until hardly any memory is free."""
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
