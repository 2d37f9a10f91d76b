"""The chunks of a stream, hashed on the way; a thread can read them ahead.

Decompressing a layer takes as long as hashing it and making its files.  All release the interpreter
lock, as system calls do, so that two threads are enough to do them side by side.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from contextlib import suppress
from typing import BinaryIO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

# Large chunks, so that the two threads seldom meet; few, so that they stay in the CPU's cache.
_CHUNK = 1024 * 1024
_AHEAD = 2


class Chunks:
    """The chunks of ``stream``, each read when the caller asks for it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self._error: Exception | None = None  # it comes after what was before it
        self._is_left = False  # nobody takes more

    @property
    def digest(self) -> str:
        """The digest of the stream, ``sha256:HEX``, once ``take`` has come to its end."""
        return "sha256:" + self._hash.hexdigest()

    def take(self) -> bytes:
        """Return the next chunk, b"" at the end.  Raises what reading the stream raises."""
        chunk = self._next()
        self._hash.update(chunk)
        return chunk

    def _next(self) -> bytes:
        if self._error is not None:
            raise self._error
        parts, left = [], _CHUNK
        try:
            while left and not self._is_left:
                part = self._stream.read(left)  # of zstd:chunked: of one frame
                if not part:
                    break
                parts.append(part)
                left -= len(part)
        except Exception as error:
            if not parts:
                raise
            self._error = error
        return b"".join(parts)


class ChunksAhead(Chunks):
    """The chunks of ``stream``; a thread reads a few of them ahead.

    If reading a chunk fails, ``take`` raises the error in its place.  Leaving the context waits for
    the thread's current read, and ends the thread.  Nothing else may read the stream.
    """

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream)
        self._read: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
        self._room = threading.Semaphore(_AHEAD)
        self._last: bytes | Exception | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        thread = threading.Thread(target=self._read_ahead, daemon=True)
        with suppress(RuntimeError):  # RLIMIT_NPROC: then ``take`` reads the chunks
            thread.start()
            self._thread = thread
        return self

    def __exit__(self, *_: object) -> None:
        self._is_left = True
        self._room.release()
        if self._thread is not None:
            self._thread.join()

    def _next(self) -> bytes:
        if self._thread is None:
            return super()._next()
        item = self._last
        if item is None:
            item = self._read.get()
            self._room.release()
            if is_last(item):
                self._last = item
        if isinstance(item, Exception):
            raise item
        return item

    def _read_ahead(self) -> None:
        """Run as the thread: read until the end, an error, or the end of the context."""
        item: bytes | Exception
        while True:
            self._room.acquire()
            if self._is_left:
                return
            try:
                item = super()._next()
            except Exception as error:
                item = error
            self._read.put(item)
            if is_last(item):
                return


def is_last(item: bytes | Exception) -> bool:
    """Tell whether nothing comes after ``item``."""
    return not item or isinstance(item, Exception)
