"""One connection to a server: made, perhaps through a proxy, and one request after the other on it.

Specification: RFC 9112; RFC 9110, §9.3.6 (CONNECT).
"""

from __future__ import annotations

import io
import select
import socket
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote

from sundog.errors import BadAnswer, UnreachableError
from sundog.registry import unreachable
from sundog.registry.answer import Answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from ssl import SSLContext
    from typing import BinaryIO, Protocol

    from sundog.registry.address import Address

    class Socket(Protocol):
        """What a connection needs of a socket."""

        def recv_into(self, buffer: memoryview, /) -> int:
            """Read into ``buffer``; return how many bytes, 0 at the end."""

        def sendall(self, data: bytes | memoryview, /) -> None:
            """Send all of ``data``."""

        def fileno(self) -> int:
            """Return the descriptor."""

        def close(self) -> None:
            """Close it."""


_PIECE = 1 << 16  # of a body that is sent; each has the whole time to get away
_BUFFER = 1 << 16
_CONTROLS = bytes((*range(0x09), *range(0x0A, 0x20), 0x7F))  # which no line may hold; tab may be
# What may stand in the target of a request as it is (RFC 3986, §3.3 and §3.4).
_TARGET = "!$%&'()*+,-./:;=?@[]_~"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy at ``address``; ``authorization`` is its header field Proxy-Authorization, or ""."""

    address: Address
    authorization: str = ""

    @property
    def fields(self) -> dict[str, str]:
        """The header fields that are for the proxy."""
        return {"proxy-authorization": self.authorization} if self.authorization else {}


@dataclass(frozen=True, slots=True)
class Route:
    """How a server is reached.

    ``context`` is None where neither the server nor the proxy is spoken to by TLS.
    """

    server: Address
    proxy: Proxy | None
    context: SSLContext | None
    connect_seconds: float
    read_seconds: float

    @property
    def is_relayed(self) -> bool:
        """Whether the proxy is told with each request where it is to go: without TLS."""
        return self.proxy is not None and self.server.scheme == "http"


class Connection:
    """A connection along ``route``.  Raises UnreachableError; then it is closed."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._host = route.server.authority
        self._socket = _connected(route)
        self._incoming = _Incoming(self._socket)
        self._stream = io.BufferedReader(self._incoming, _BUFFER)

    def ask(
        self,
        method: str,
        target: Address,
        fields: Mapping[str, str],
        body: bytes | BinaryIO | None,
    ) -> Answer:
        """Send a request and read the answer up to its body."""
        where = quote(target.target, _TARGET)
        where = where if where.startswith("/") else f"/{where}"
        if self._route.proxy is not None and self._route.is_relayed:
            where = f"http://{target.authority}{where}"
            fields = {**fields, **self._route.proxy.fields}
        try:
            head = _head(method, where, target.authority, fields)
            # A server may answer, and close, without waiting for all of a request.
            with suppress(BrokenPipeError, ConnectionResetError):
                self._send(head, body)
            return Answer(self._stream, method)
        except UnreachableError:
            self.close()
            raise
        except (OSError, BadAnswer) as error:
            raise self.failed(error) from error

    def read(self, answer: Answer, size: int) -> bytes:
        """Return up to ``size`` bytes of the answer's body, b"" at its end."""
        try:
            return answer.read(size)
        except (OSError, BadAnswer) as error:
            raise self.failed(error) from error

    @property
    def is_idle(self) -> bool:
        """Whether another request may be sent: nothing has come, not even the end."""
        self._incoming.is_paused = True
        try:
            if self._stream.peek(1):  # bytes that nobody asked for
                return False
        finally:
            self._incoming.is_paused = False
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def failed(self, error: OSError | BadAnswer) -> UnreachableError:
        """Close the connection; return why there is no answer."""
        self.close()
        if isinstance(error, BadAnswer) or type(error).__name__ == "SSLEOFError":
            # The end of a connection without a farewell is no fault of TLS once it has begun.
            return unreachable.broken(self._host, error)
        return _failed(self._route, error)

    def _send(self, head: bytes, body: bytes | BinaryIO | None) -> None:
        if body is None:
            self._socket.sendall(head)
        elif isinstance(body, bytes):
            view = memoryview(body)
            self._socket.sendall(head + view[:_PIECE])
            for start in range(_PIECE, len(view), _PIECE):
                self._socket.sendall(view[start : start + _PIECE])
        else:
            self._socket.sendall(head)
            while data := body.read(_PIECE):
                self._socket.sendall(data)


class _Incoming(io.RawIOBase):
    """What comes from a socket, which is not closed with it; nothing while it ``is_paused``."""

    def __init__(self, source: Socket) -> None:
        self._source = source
        self.is_paused = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        return 0 if self.is_paused else self._source.recv_into(buffer)


def _head(method: str, where: str, host: str, fields: Mapping[str, str]) -> bytes:
    """Return the head of a request; raise UnreachableError for what a field can't carry."""
    lines = [f"{method} {where} HTTP/1.1", f"Host: {host}", "Accept-Encoding: identity"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    with suppress(UnicodeEncodeError):
        encoded = [line.encode("latin-1") for line in lines]
        if all(line.translate(None, _CONTROLS) == line for line in encoded):
            return b"\r\n".join([*encoded, b"", b""])
    raise UnreachableError(f"{host}: a header field can't carry what is to be sent", permanent=True)


def _connected(route: Route) -> Socket:
    host = route.server.authority
    if route.proxy is None:
        made = _opened(route, route.server)
    else:
        try:
            made = _opened(route, route.proxy.address)
        except UnreachableError as error:
            inner = error.__cause__
            assert isinstance(inner, OSError)
            raise unreachable.refused_by_proxy(host, unreachable.reason(inner)) from inner
    if route.proxy is None or route.is_relayed:
        return made
    try:
        _tell(made, route.proxy, route.server)
        return _secured(made, route, route.server.host)
    except (OSError, BadAnswer) as error:
        made.close()
        raise _failed(route, error) from error
    except BaseException:
        made.close()
        raise


def _opened(route: Route, address: Address) -> Socket:
    """Return a connection with the server or proxy at ``address``."""
    try:
        # As bytes: text would be looked up in tables of Unicode.
        where = (address.host.encode(), address.port)
        made = socket.create_connection(where, route.connect_seconds)  # type: ignore[arg-type]
    except socket.gaierror as error:
        raise unreachable.unknown_host(address.authority) from error
    except OSError as error:
        raise unreachable.unconnected(address.authority, error) from error
    try:
        made.settimeout(route.read_seconds)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _secured(made, route, address.host) if address.scheme == "https" else made
    except OSError as error:
        made.close()
        raise _failed(route, error) from error
    except BaseException:
        made.close()
        raise


def _secured(inside: Socket, route: Route, host: str) -> Socket:
    """Return a TLS connection with ``host`` inside of another one."""
    assert route.context is not None
    if type(inside) is socket.socket:
        return route.context.wrap_socket(inside, server_hostname=host.encode())
    from sundog.registry.tunnel import InnerTls  # noqa: PLC0415 - few proxies speak TLS

    return InnerTls(inside, route.context, host.encode())


def _tell(made: Socket, proxy: Proxy, server: Address) -> None:
    """Have the proxy connect to ``server``; raise UnreachableError."""
    place = f"[{server.host}]" if ":" in server.host else server.host
    made.sendall(_head("CONNECT", f"{place}:{server.port}", f"{place}:{server.port}", proxy.fields))
    # A byte at a time: what follows the answer is the server's, and TLS.
    answer = Answer(io.BufferedReader(_Incoming(made), 1), "HEAD")
    if answer.status // 100 != 2:
        raise unreachable.refused_by_proxy(server.authority, f"HTTP {answer.status}")


def _failed(route: Route, error: OSError | BadAnswer) -> UnreachableError:
    """Return what became of a connection in words."""
    host = route.server.authority
    if route.context is not None:
        import ssl  # noqa: PLC0415 - imported already

        if isinstance(error, ssl.SSLError):
            return unreachable.without_tls(host, error)
    return unreachable.broken(host, error)
