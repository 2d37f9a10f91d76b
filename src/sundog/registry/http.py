"""HTTP as the rest of the package sees it: one request, one answer, and whoever sends.

Specification: RFC 9110.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sundog.errors import ProtocolError
from sundog.registry.address import host_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO, Protocol

    class Response(Protocol):
        """What is answered.  ``url`` is where the answer came from, after redirects.

        To be closed, unless it has been read to its end.
        """

        status: int
        url: str

        @property
        def headers(self) -> Mapping[str, str]:
            """The header fields; their names are looked up in any case."""

        def read(self, size: int) -> bytes:
            """Return up to ``size`` bytes of the body, b"" at its end; raise UnreachableError."""

        def close(self) -> None:
            """Give the connection back, or up where the body has not been read."""

    class Transport(Protocol):
        """Whatever sends a request and returns the answer."""

        def send(self, request: Request) -> Response:
            """Return the answer, whatever its status; raise UnreachableError when there is none."""

    from sundog.oci.verified import Readable

_BODY_LIMIT = 8 << 20


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked.  ``verify``: whether the server has to prove who it is.

    A ``body`` that is a file is sent from where it stands; ``headers`` then tells its length.
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

    ``reader`` is what checks the bytes of ``response``, and raises what it finds.
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
