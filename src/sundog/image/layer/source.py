"""The bytes of a stream that comes in chunks, counted on the way."""

from __future__ import annotations

import os

from sundog.errors import EndsEarly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.layer.chunks import Chunks


class Source:
    """The bytes of ``chunks``, handed out with as few copies as possible.

    A method that is asked for more bytes than the stream has raises ArchiveError.
    """

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._view = memoryview(b"")
        self._position = 0
        self.size = 0  # bytes read from the stream so far

    @property
    def digest(self) -> str:
        """The digest of the stream, ``sha256:HEX``, once it has been read to its end."""
        return self._chunks.digest

    @property
    def position(self) -> int:
        """The number of bytes handed out so far."""
        return self.size - len(self._chunk) + self._position

    def at_end(self) -> bool:
        """Tell whether the stream has no more bytes."""
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
        self._chunk = self._chunks.take()
        self._view = memoryview(self._chunk)
        self._position = 0
        self.size += len(self._chunk)
        return bool(self._chunk)
