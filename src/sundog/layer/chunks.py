"""The chunks of a stream, hashed on the way: as they are asked for, or ahead of that, by a thread.

To decompress and hash a layer takes as long as to make its files.  Both release the interpreter
lock, as the system calls of the other side do, so a thread is enough for the two to go side by
side.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from typing import Self

# Large, so that the two threads seldom meet; and few, so that they stay in the processor's cache.
_CHUNK = 1024 * 1024
_AHEAD = 2


class Chunks:
    """The chunks of ``stream``, read by whoever asks for them."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """The digest of the stream, ``sha256:HEX``, once ``take`` has come to its end."""
        return "sha256:" + self._hash.hexdigest()

    def take(self) -> bytes:
        """Return the next chunk, b"" at the end.  Raises what reading the stream raises."""
        chunk = self._stream.read(_CHUNK)
        self._hash.update(chunk)
        return chunk


class ChunksAhead(Chunks):
    """The same, read by a thread, which is a few chunks ahead.

    What reading raises is raised where that chunk is asked for.  Leaving the context ends the
    thread, after the read that it is in.  Nobody else may read the stream.
    """

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream)
        self._read: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
        self._room = threading.Semaphore(_AHEAD)
        self._is_left = False
        self._last: bytes | Exception | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        thread = threading.Thread(target=self._read_ahead, daemon=True)
        with suppress(RuntimeError):  # RLIMIT_NPROC: then the chunks are read when asked for
            thread.start()
            self._thread = thread
        return self

    def __exit__(self, *_: object) -> None:
        self._is_left = True
        self._room.release()
        if self._thread is not None:
            self._thread.join()

    def take(self) -> bytes:
        """Return the next chunk, b"" at the end.  Raises what reading the stream raises."""
        if self._thread is None:
            return super().take()
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
        """Be the thread."""
        item: bytes | Exception
        while True:
            self._room.acquire()
            if self._is_left:
                return
            try:
                item = super().take()
            except Exception as error:
                item = error
            self._read.put(item)
            if is_last(item):
                return


def is_last(item: bytes | Exception) -> bool:
    """Tell whether nothing comes after ``item``."""
    return not item or isinstance(item, Exception)
