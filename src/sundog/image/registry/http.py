"""HTTP as the rest of the package sees it: a request, a response, and a transport.

Specification: RFC 9110.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sundog.errors import ProtocolError
from sundog.image.registry.address import host_of

CONNECT_SECONDS = 20.0

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO, Protocol

    class Response(Protocol):
        """One response.  ``url`` is where it came from, after redirects.

        Close it, unless you have read it to its end.
        """

        status: int
        url: str

        @property
        def headers(self) -> Mapping[str, str]:
            """The header fields; upper and lower case in their names are the same."""

        def read(self, size: int) -> bytes:
            """Return up to ``size`` bytes of the body, b"" at its end; raise UnreachableError."""

        def close(self) -> None:
            """Give the connection back, or close it if the body has not been read."""

    class Transport(Protocol):
        """Sends requests."""

        def send(self, request: Request) -> Response:
            """Return the response, whatever its status; raise UnreachableError if none comes."""

    from sundog.image.oci.verified import Readable

_BODY_LIMIT = 8 << 20


@dataclass(frozen=True, slots=True)
class Request:
    """One request.  ``verify``: whether the server has to prove its identity.

    A ``body`` that is a file is sent from its position on; ``headers`` then holds the length.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | BinaryIO | None = None
    verify: bool = True


def read_all(
    response: Response, limit: int = _BODY_LIMIT, *, reader: Readable | None = None
) -> bytes:
    """Read the rest of a body and close it; raise ProtocolError beyond ``limit`` bytes.

    A ``reader`` of ``response`` checks the bytes, and raises an error if they are wrong.
    """
    parts, size = [], 0
    try:
        while part := (reader or response).read(1 << 16):
            parts.append(part)
            size += len(part)
            if size > limit:
                host = host_of(response.url)
                raise ProtocolError(f"{host}: an answer of more than {limit} bytes")
    finally:
        response.close()
    return b"".join(parts)
