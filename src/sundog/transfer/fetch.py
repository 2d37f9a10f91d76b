"""Fetch one blob into the store: as much as is not there, checked, and from where it can be had.

A connection that breaks is taken up again where it broke, and so is a download that a killed
process left.  What a server sends is believed only when its digest is right.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

from sundog.errors import (
    Cancelled,
    DigestMismatch,
    ProtocolError,
    RegistryError,
    UnreachableError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence

    from sundog.oci.descriptor import Descriptor
    from sundog.store.blobs import Blobs, Partial
    from sundog.transfer.report import Transfer

    # Open a blob from an offset on.
    Source = Callable[[int], "Stream"]

_CHUNK = 256 << 10
_ATTEMPTS = 5  # without progress
_PROGRESS = 64 << 10  # in bytes; or to the end
_FIRST_PAUSE = 0.5


class Stream(Protocol):
    """The bytes of a blob from ``offset`` on; ``host`` is where they come from."""

    offset: int
    host: str

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, b"" at the end; raise UnreachableError."""

    def close(self) -> None:
        """Tell that no more is wanted."""


@dataclass(frozen=True)
class Fetch:
    """How to fetch: ``cancelled`` ends it, ``sleep`` passes the time between attempts."""

    blobs: Blobs
    cancelled: threading.Event
    sleep: Callable[[float], None] = time.sleep

    def blob(
        self,
        descriptor: Descriptor,
        sources: Sequence[Source],
        arrived: Callable[[int], None],
        transfer: Transfer,
    ) -> None:
        """Have the blob in the store, partial or complete, in full and checked.

        ``arrived`` is told how many bytes of it are in its file.  Raises DigestMismatch or
        ProtocolError when it is not what its descriptor says, and what ``sources`` raise.
        """
        digest = descriptor.digest
        with self.blobs.partial(digest) as partial:
            if partial is None:
                arrived(descriptor.size)
                return
            try:
                self._complete(partial, descriptor, sources, arrived, transfer)
            except (DigestMismatch, ProtocolError) as error:
                self.blobs.drop_partial(digest)
                error.hint = (
                    error.hint or "what came is thrown away; perhaps it is worth a try more"
                )
                raise

    def _complete(
        self,
        partial: Partial,
        descriptor: Descriptor,
        sources: Sequence[Source],
        arrived: Callable[[int], None],
        transfer: Transfer,
    ) -> None:
        size = descriptor.size
        if partial.size > size:
            partial.clear()
        hasher = descriptor.digest.hasher()
        position = 0
        while position < partial.size:
            self._check()
            chunk = partial.read(position, _CHUNK)
            hasher.update(chunk)
            position += len(chunk)
            transfer.advance(len(chunk))
            arrived(position)
        if not size:
            arrived(0)
        left = list(sources)
        failures = 0
        reached = partial.size  # when the failures were last forgotten
        while partial.size < size:
            before = partial.size
            try:
                stream = left[0](before)
                try:
                    for chunk in self._chunks(stream, before, descriptor):
                        partial.append(chunk)
                        hasher.update(chunk)
                        transfer.advance(len(chunk))
                        arrived(partial.size)
                finally:
                    stream.close()
            except UnreachableError as error:
                failures += 1
                if partial.size >= reached + _PROGRESS:
                    failures, reached = 1, partial.size
                if error.permanent or failures == _ATTEMPTS:
                    if len(left) == 1:
                        raise
                    del left[0]
                    failures = 0
                else:
                    self.sleep(_FIRST_PAUSE * 2.0 ** (failures - 1))
            except ProtocolError:
                raise
            except RegistryError:
                if len(left) == 1:
                    raise
                del left[0]
        descriptor.digest.check(hasher.hexdigest(), f"blob {descriptor.digest}")

    def _chunks(self, stream: Stream, wanted: int, descriptor: Descriptor) -> Iterator[bytes]:
        """Return what ``stream`` has from the offset ``wanted`` on.

        Raises ProtocolError when it is complete and has more or less than the descriptor says.
        """
        position = stream.offset
        while chunk := stream.read(_CHUNK):
            self._check()
            start, position = position, position + len(chunk)
            if position > descriptor.size:
                raise _wrong_size(stream, descriptor, f"more than {descriptor.size} bytes")
            if position > wanted:
                # A server that does not know ranges sends all of it once more.
                yield chunk[max(0, wanted - start) :]
        if position < descriptor.size:
            raise _wrong_size(stream, descriptor, f"{position} bytes")

    def _check(self) -> None:
        if self.cancelled.is_set():
            raise Cancelled("given up")


def _wrong_size(stream: Stream, descriptor: Descriptor, came: str) -> ProtocolError:
    return ProtocolError(
        f"blob {descriptor.digest}: {stream.host} has {came}, the manifest says {descriptor.size}"
    )
