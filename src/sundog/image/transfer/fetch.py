"""Fetch the missing part of one blob into the store, from the first source that has it.

A fetch goes on where a connection broke, or where a killed process left a download.  The store
keeps what a server sent only if size and digest are right.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from sundog.errors import (
    Cancelled,
    ContentMismatch,
    ProtocolError,
    RegistryError,
    UnreachableError,
)
from sundog.image.oci.verified import VerifiedReader
from sundog.image.transfer.backoff import ATTEMPTS, Backoff

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from sundog.image.oci.descriptor import Descriptor
    from sundog.image.store.blobs import Blobs, Partial
    from sundog.image.transfer.report import Transfer

    # Open a blob from an offset on.
    Source = Callable[[int], "Stream"]

_CHUNK = 256 << 10
_PROGRESS = 64 << 10  # in bytes: an attempt that comes so far is no failure in a row


class Stream(Protocol):
    """The bytes of a blob from ``offset`` on, which ``host`` sends."""

    offset: int
    host: str

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, b"" at the end; raise UnreachableError."""

    def close(self) -> None:
        """Give the connection back, or the file."""


@dataclass(frozen=True)
class Fetch:
    """Options of a fetch: ``cancelled`` ends it; ``sleep`` waits between two ``attempts``."""

    blobs: Blobs
    cancelled: threading.Event
    attempts: int = ATTEMPTS
    sleep: Callable[[float], None] = time.sleep

    def blob(
        self,
        descriptor: Descriptor,
        sources: Sequence[Source],
        arrived: Callable[[int], None],
        transfer: Transfer,
    ) -> None:
        """Fetch and check a blob.  Its file in the store is then complete, if not settled yet.

        Calls ``arrived`` with the number of bytes in the file.  Raises ContentMismatch if the blob
        is not what its descriptor says, and what the last of ``sources`` raises.
        """
        digest = descriptor.digest
        with self.blobs.partial(digest) as partial:
            if partial is None:
                arrived(descriptor.size)
                return
            try:
                self._complete(partial, descriptor, sources, arrived, transfer)
            except (ContentMismatch, ProtocolError) as error:
                self.blobs.drop_partial(digest)
                error.hint = error.hint or "the download was discarded; try again"
                raise

    def _complete(
        self,
        partial: Partial,
        descriptor: Descriptor,
        sources: Sequence[Source],
        arrived: Callable[[int], None],
        transfer: Transfer,
    ) -> None:
        if partial.size > descriptor.size:
            partial.clear()
        if not descriptor.size:
            arrived(0)
        with closing(_Resumed(self, partial, descriptor.size, sources)) as resumed:
            reader = VerifiedReader.of_blob(resumed, descriptor)
            try:
                while chunk := reader.read(_CHUNK):
                    if reader.size > partial.size:
                        partial.append(chunk)
                    transfer.advance(len(chunk))
                    arrived(reader.size)
            except ContentMismatch as error:
                if resumed.host:
                    error.message = f"{resumed.host}: {error.message}"
                raise


class _Resumed:
    """The bytes of a blob: those that ``partial`` has, then what ``sources`` send.

    A connection that breaks is opened again where it broke; a source that fails for good makes room
    for the next one.  ``host`` is the last that sent something, "" while there was none.
    """

    def __init__(
        self, fetch: Fetch, partial: Partial, total: int, sources: Sequence[Source]
    ) -> None:
        self._fetch = fetch
        self._partial = partial
        self._kept = partial.size
        self._total = total
        self._left = list(sources)
        self._stream: Stream | None = None
        self._position = 0
        self._backoff = self._begun(partial.size)
        self.host = ""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, b"" at the end; raise what the last source raises."""
        if self._position < self._kept:
            self._check()
            data = self._partial.read(self._position, min(size, self._kept - self._position))
        else:
            data = self._received(size)
        self._position += len(data)
        return data

    def close(self) -> None:
        """Close the source that is open."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _received(self, size: int) -> bytes:
        """Return what comes next from outside.

        A source that has all of the blob is asked for its end too: it may have more.
        """
        while self._stream is not None or self._position < self._total:
            self._check()
            try:
                if self._stream is None:
                    return self._opened().read(size)
                return self._stream.read(size)
            except UnreachableError as error:
                self.close()
                if self._position < self._total:
                    self._try_again(error)
            except ProtocolError:
                raise
            except RegistryError:
                self.close()
                if len(self._left) == 1:
                    raise
                del self._left[0]
        return b""

    def _opened(self) -> Stream:
        """Open the first source where the others have come to."""
        self._stream = stream = self._left[0](self._position)
        self.host = stream.host
        # A server that does not know ranges sends all of it once more.
        behind = self._position - stream.offset
        while behind > 0 and (known := stream.read(min(behind, _CHUNK))):
            self._check()
            behind -= len(known)
        return stream

    def _try_again(self, error: UnreachableError) -> None:
        """Wait before the next attempt, or go over to the next source; else raise ``error``."""
        if self._backoff.fail(self._position) or error.permanent:
            if len(self._left) == 1:
                raise error
            del self._left[0]
            self._backoff = self._begun(self._position)
        else:
            self._backoff.wait()

    def _begun(self, position: int) -> Backoff:
        fetch = self._fetch
        return Backoff(fetch.attempts, fetch.sleep, progress=_PROGRESS, start=position)

    def _check(self) -> None:
        if self._fetch.cancelled.is_set():
            raise Cancelled("given up")
