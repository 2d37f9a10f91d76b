"""A stream of bytes in chunks, hashed and counted on the way.

Must not import anything of ``sundog`` but ``errors``.
"""

from __future__ import annotations

import hashlib
import os
from typing import BinaryIO

from sundog.errors import ArchiveError

_CHUNK = 256 * 1024


class EndsEarly(ArchiveError):
    """The stream has less than it was asked for."""

    def __init__(self) -> None:
        super().__init__("the archive ends early")


class Source:
    """Hand out the bytes of ``stream``, copying them as seldom as can be.

    Whoever asks for more than the stream has gets ArchiveError.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self._chunk = b""
        self._view = memoryview(b"")
        self._position = 0
        self.size = 0  # bytes read from the stream so far

    @property
    def digest(self) -> str:
        """The digest of what was read from the stream so far, ``sha256:HEX``."""
        return "sha256:" + self._hash.hexdigest()

    def at_end(self) -> bool:
        """Whether the stream has no more bytes."""
        return self._position == len(self._chunk) and not self._refill()

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        start = self._position
        end = start + size
        if end <= len(self._chunk):
            self._position = end
            return self._chunk[start:end]
        parts = [self._chunk[start:]]
        size -= len(parts[0])
        while size:
            self._require()
            parts.append(self._chunk[:size])
            self._position = len(parts[-1])
            size -= self._position
        return b"".join(parts)

    def copy(self, fd: int, size: int) -> None:
        """Write the next ``size`` bytes to ``fd``.  Raises OSError as write(2) does."""
        while size:
            if self._position == len(self._chunk):
                self._require()
            written = os.write(fd, self._view[self._position : self._position + size])
            self._position += written
            size -= written

    def skip(self, size: int) -> None:
        """Pass over the next ``size`` bytes."""
        while size:
            if self._position == len(self._chunk):
                self._require()
            passed = min(size, len(self._chunk) - self._position)
            self._position += passed
            size -= passed

    def drain(self) -> None:
        """Read on to the end of the stream."""
        while self._refill():
            pass

    def _require(self) -> None:
        if not self._refill():
            raise EndsEarly

    def _refill(self) -> bool:
        self._chunk = self._stream.read(_CHUNK)
        self._view = memoryview(self._chunk)
        self._position = 0
        self.size += len(self._chunk)
        self._hash.update(self._chunk)
        return bool(self._chunk)
