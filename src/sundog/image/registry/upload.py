"""Bring a blob to a registry: mounted from another repository, at once, or in chunks.

Specification: OCI distribution-spec v1.1, "Pushing Blobs".  An upload sends a small blob with one
PUT, and a large one in chunks: when the connection breaks, it need not send again what the registry
has.  After a passing failure it waits and tries again.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlencode

from sundog.base.kernel.files import Closing
from sundog.errors import (
    AddressError,
    Cancelled,
    NotInRegistryError,
    ProtocolError,
    RegistryError,
    ServerError,
    UnreachableError,
)
from sundog.image.registry.address import Address
from sundog.image.transfer.backoff import Backoff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from threading import Event

    from sundog.image.oci.descriptor import Descriptor
    from sundog.image.oci.digest import Digest
    from sundog.image.registry.client import RegistryClient
    from sundog.image.registry.http import Response
    from sundog.image.transfer.report import Transfer

CHUNK = 8 << 20  # bytes in memory for each blob on its way
_BYTES = "application/octet-stream"
_EMPTY = {"Content-Length": "0"}
_MORE_REQUESTS = 16  # for a blob in chunks, than twice as many as it has
_DIGITS = 18  # of an offset


@dataclass
class _Progress:
    """The state of an upload: the URL for the next chunk, and the bytes that have arrived."""

    location: str = ""
    offset: int = 0
    requests: int = 0


class Uploader:
    """Brings blobs to the repository of ``client``; ``cancelled`` ends an upload between chunks."""

    def __init__(
        self,
        client: RegistryClient,
        cancelled: Event,
        *,
        chunk: int = CHUNK,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._client = client
        self._cancelled = cancelled
        self._chunk = chunk
        self._sleep = sleep

    def upload(self, descriptor: Descriptor, path: bytes, transfer: Transfer) -> None:
        """Bring the blob in the file ``path`` to the repository.

        Raises what ``RegistryClient.send`` raises.
        """
        told = 0
        progress = _Progress()
        backoff = Backoff(sleep=self._sleep)
        with Closing(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as fd:
            while True:
                try:
                    for offset in self._steps(descriptor, fd, progress):
                        transfer.advance(max(0, offset - told))
                        told = max(told, offset)
                    return
                except (UnreachableError, ServerError, NotInRegistryError) as error:
                    if backoff.fail(told) or getattr(error, "permanent", False):
                        raise
                    if isinstance(error, NotInRegistryError):
                        if not progress.location:
                            raise
                        progress.location = ""  # the registry has forgotten the upload
                backoff.wait()
                if self._client.has_blob(descriptor.digest):
                    transfer.advance(descriptor.size - told)
                    return  # only the answer got lost

    def put(self, content: bytes, descriptor: Descriptor) -> None:
        """Bring a small blob to the repository, unless it is there."""
        if not self._client.has_blob(descriptor.digest):
            location = _start(self._client)
            _finish(self._client, location, descriptor.digest, content)

    def _steps(self, descriptor: Descriptor, fd: int, progress: _Progress) -> Iterator[int]:
        """Continue an upload to its end; yield after each chunk how much has arrived."""
        client = self._client
        if progress.location:
            progress.location, progress.offset = _status(client, progress.location)
        if not progress.location:
            progress.location, progress.offset = _start(client), 0
        size = descriptor.size
        if size <= self._chunk and not progress.offset:
            self._check()
            _finish(client, progress.location, descriptor.digest, _read(fd, 0, size))
            yield size
            return
        while progress.offset < size:
            self._check()
            progress.requests += 1
            if progress.requests > 2 * (size // self._chunk) + _MORE_REQUESTS:
                raise ProtocolError(f"{_what(client)}: the registry takes too little at a time")
            # No name holds the chunk: it would stay in memory while the next one is read.
            progress.location, progress.offset = _send_chunk(
                client,
                progress.location,
                progress.offset,
                _read(fd, progress.offset, min(self._chunk, size - progress.offset)),
            )
            yield progress.offset
        if progress.offset > size:
            raise ProtocolError(
                f"{_what(client)}: the registry says that it has {progress.offset} of {size} bytes"
            )
        _finish(client, progress.location, descriptor.digest, b"")

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled("given up")


def _read(fd: int, offset: int, size: int) -> bytes:
    parts = []
    while size:
        data = os.pread(fd, size, offset)
        if not data:
            raise ProtocolError("a blob in the storage directory has become shorter")
        parts.append(data)
        offset += len(data)
        size -= len(data)
    return b"".join(parts)


def mount(client: RegistryClient, digest: Digest, repository: str) -> bool:
    """Ask the registry to take a blob from another of its repositories; tell whether it did.

    ``client`` needs the scopes for both repositories.  Raises what ``RegistryClient.send`` raises.
    """
    query = urlencode({"mount": str(digest), "from": repository})
    path = f"{_uploads(client)}?{query}"
    response = client.send("POST", path, _EMPTY, expected=(201, 202), what=f"blob {digest}")
    response.close()
    if response.status == 201:
        return True
    # Not there, or not allowed: the registry began an upload instead, which is cancelled here.
    with suppress(RegistryError):
        location = _location(response, client)
        client.send("DELETE", location, expected=(202, 204), what="upload").close()
    return False


def _start(client: RegistryClient) -> str:
    """Begin an upload; return the URL for its first chunk."""
    response = client.send("POST", _uploads(client), _EMPTY, expected=(202,), what=_what(client))
    response.close()
    return _location(response, client)


def _send_chunk(
    client: RegistryClient, location: str, offset: int, content: bytes
) -> tuple[str, int]:
    """Send a chunk from ``offset`` on; return the next URL and the next offset."""
    headers = {
        "Content-Type": _BYTES,
        "Content-Length": str(len(content)),
        "Content-Range": f"{offset}-{offset + len(content) - 1}",
    }
    response = client.send(
        "PATCH", location, headers, content, expected=(202, 416), what=_what(client)
    )
    response.close()
    if response.status == 416:  # it has more or less than the client thought
        return _status(client, location)
    end = _arrived(response, offset + len(content))
    if end <= offset:
        raise ProtocolError(f"{_what(client)}: the registry takes no bytes")
    return _location(response, client), end


def _status(client: RegistryClient, location: str) -> tuple[str, int]:
    """Return the next URL and offset of an upload; "" and 0 if the registry has lost it."""
    try:
        response = client.send("GET", location, expected=(204, 200), what=_what(client))
    except NotInRegistryError:
        return "", 0
    response.close()
    return _location(response, client), _arrived(response, 0)


def _finish(client: RegistryClient, location: str, digest: Digest, content: bytes) -> None:
    """Send the rest, and let the registry check the whole."""
    headers = {"Content-Type": _BYTES, "Content-Length": str(len(content))}
    joint = "&" if "?" in location else "?"
    url = f"{location}{joint}{urlencode({'digest': str(digest)})}"
    what = f"blob {digest}: {_what(client)}"
    client.send("PUT", url, headers, content, expected=(201, 204), what=what).close()


def _location(response: Response, client: RegistryClient) -> str:
    location = response.headers.get("Location", "")
    if not location:
        raise ProtocolError(f"{_what(client)}: the registry does not say where to go on")
    try:
        return str(Address.parse(response.url).follow(location))
    except AddressError as error:
        raise ProtocolError(
            f"{_what(client)}: the registry says to go on at {location[:200]!a}"
        ) from error


def _arrived(response: Response, otherwise: int) -> int:
    """Return how many bytes the registry says it has (``Range: 0-999``)."""
    first, dash, last = response.headers.get("Range", "").removeprefix("bytes=").partition("-")
    if not dash or first != "0" or not (last.isascii() and last.isdigit()):
        return otherwise
    if len(last) > _DIGITS:
        raise ProtocolError("the registry claims to have impossibly much of an upload")
    return int(last) + 1 if last != "0" else 0  # registries write "0-0" for nothing at all


def _uploads(client: RegistryClient) -> str:
    return client.path("blobs", "uploads/")


def _what(client: RegistryClient) -> str:
    return f"upload to {client.endpoint}"
