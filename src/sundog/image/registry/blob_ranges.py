"""Parts of a blob, from the first place that sends what was asked for.

Specification: RFC 9110, §14 (range requests) and §8.8.3 (ETag); OCI distribution-spec v1.1.

A place that sends something else is asked for no more parts: another part, another length, another
version of the blob, all of it.  All of the blob from such a place is the last resort.

A place that does not answer rests for some seconds, if there is another one.  One that wants to be
left alone for longer (Retry-After) is left alone, also if it is the only one.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field

from sundog.errors import (
    ProtocolError,
    RateLimitError,
    RegistryError,
    ServerError,
    UnauthorizedError,
    UnreachableError,
)
from sundog.image.registry.address import Address, host_of
from sundog.image.registry.client import BlobStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sundog.image.oci.descriptor import Descriptor
    from sundog.image.registry.client import RegistryClient


_READ_SIZE = 1 << 16
_FIRST_REST, _REST_LIMIT = 5.0, 60.0  # seconds: a connection that fails may take 20


@dataclass
class Rest:
    """The time in which a registry is not asked, for whichever blob.

    It ``ends`` on the monotonic clock; ``limit`` says so, if the registry wants that.  The next one
    takes ``seconds``, if it is after the next failure in a row.
    """

    ends: float = 0.0
    seconds: float = _FIRST_REST
    limit: RateLimitError | None = None


@dataclass
class BlobPlace:
    """A repository that has the blob; places of one registry share a ``rest``.

    ``fault`` says why it is asked for no more parts.  ``etag`` is the version that it had at first.
    """

    client: RegistryClient
    rest: Rest = field(default_factory=Rest)
    fault: RegistryError | None = None
    etag: str = ""

    @property
    def rests(self) -> bool:
        """Tell whether another place is to be asked, if there is one."""
        return time.monotonic() < self.rest.ends

    def check_limit(self) -> None:
        """Raise RateLimitError if it wants to be left alone."""
        limit = self.rest.limit
        if limit is not None and self.rests:
            raise limit.with_traceback(None)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Let it rest if a failure that may pass ends the context."""
        rest = self.rest
        try:
            yield
        except RegistryError as error:
            limit = error if isinstance(error, RateLimitError) and error.pause else None
            if limit or (may_pass(error) and not self.rests):  # else it is one of several threads
                rest.ends = time.monotonic() + (limit.pause if limit else rest.seconds)
                rest.seconds = min(2 * rest.seconds, _REST_LIMIT)
                rest.limit = limit
            raise
        rest.seconds = _FIRST_REST

    @property
    def may_send_all(self) -> bool:
        """Tell whether it only does not send parts as it should."""
        return isinstance(self.fault, ProtocolError)


class BlobPart:
    """A part of a blob, on its way from ``place``.  Close it after use."""

    def __init__(self, stream: BlobStream, place: BlobPlace) -> None:
        self._stream = stream
        self._place = place
        self.close = stream.close

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes.  Raises UnreachableError, and ServerError if it is short.

        Another place may have them.
        """
        parts = []
        while size:
            with self._place.noting():
                part = self._stream.read(min(size, _READ_SIZE))
            if not part:
                text = f"{self._stream.host} sends less than it says"
                self._place.fault = self._place.fault or ProtocolError(text)
                raise ServerError(text)
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


@dataclass
class BlobRanges:
    """The blob ``descriptor`` and the ``places`` that have it, in order; threads may share it."""

    descriptor: Descriptor
    places: Sequence[BlobPlace]

    @property
    def is_whole(self) -> bool:
        """Tell whether no place sends parts, but one may send all."""
        are_out = all(place.fault is not None for place in self.places)
        return are_out and any(place.may_send_all for place in self.places)

    def usable(self) -> list[BlobPlace]:
        """Return the places that send parts.  Raises what the last one did wrong if there is none.

        ``is_whole`` may then be true.
        """
        found = [place for place in self.places if place.fault is None]
        if not found:
            raise [place.fault for place in self.places if place.fault is not None][-1]
        return found

    def open(self, start: int, end: int, attempt: int = 0, failures: int = 0) -> BlobPart:
        """Return the bytes from ``start`` to before ``end``.

        The attempt 0 asks the first place, the attempt 1 the next one, or whichever after it sends
        parts: those before it have sent wrong bytes, and are asked again only if no other one sends
        parts.  After ``failures`` that may pass, others of them come first.  Raises RegistryError:
        one that ``may_pass``, or that of the last place.
        """
        while True:
            usable = self.usable()
            fit = [each for each in self.places[attempt:] if each.fault is None] or usable
            turn = failures % len(fit)
            turns = fit[turn:] + fit[:turn]
            place = next((each for each in turns if not each.rests), turns[0])
            try:
                place.check_limit()
                with place.noting():
                    return BlobPart(_opened(place, self.descriptor, start, end), place)
            except RegistryError as error:
                if may_pass(error):
                    raise
                place.fault = error

    def open_whole(self, attempt: int) -> BlobPart:
        """Return all of the blob, from the place of this number of those that send no parts.

        Raises RegistryError: ProtocolError if there is no such place.
        """
        found = [place for place in self.places if place.may_send_all]
        if attempt >= len(found):
            raise ProtocolError(f"{found[-1].client.endpoint.host} sends wrong bytes")
        place = found[attempt]
        place.check_limit()
        with place.noting():
            return BlobPart(place.client.open_blob(self.descriptor.digest), place)


def may_pass(error: RegistryError) -> bool:
    """Tell whether it may help to ask the same place again, later."""
    if isinstance(error, UnreachableError):
        return not error.permanent
    return isinstance(error, ServerError | RateLimitError)


def _opened(place: BlobPlace, descriptor: Descriptor, start: int, end: int) -> BlobStream:
    """Return a part of the blob; raise ProtocolError for anything else that the place sends."""
    what, client = f"blob {descriptor.digest}", place.client
    path = client.path("blobs", str(descriptor.digest))
    wanted = {"Range": f"bytes={start}-{end - 1}"}
    response = client.send("GET", path, wanted, expected=(200, 206, 400, 403, 416), what=what)
    status, host = response.status, host_of(response.url)
    etag = response.headers.get("ETag", "")
    content_range = response.headers.get("Content-Range", "")
    parts = {f"bytes {start}-{end - 1}/{size}" for size in (descriptor.size, "*")}
    if status == 206 and content_range in parts and place.etag in ("", etag):
        place.etag = etag
        return BlobStream(response, start)
    response.close()
    if status in (400, 403):
        if Address.parse(response.url).target != path:  # an address that has expired
            raise ServerError(f"{what}: {host} refuses the address that the registry gave")
        raise UnauthorizedError(f"not allowed by {host}: {what}")
    if status == 200:
        raise ProtocolError(f"{what}: {host} sends all of it, not a part")
    if status == 206 and content_range in parts:
        raise ProtocolError(f"{what}: {host} has another version of it now")
    raise ProtocolError(f"{what}: {host} sends {content_range!r}, not {wanted['Range']}")
