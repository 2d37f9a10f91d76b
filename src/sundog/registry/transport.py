"""HTTP over the network: connections that are kept, proxies, certificates, redirects.

Written for this package.  Importing a library for HTTP takes longer than all else of a pull that
finds the image unchanged.

Specification: RFC 9110; proxies are taken from the environment as curl(1) does, but never for this
machine itself.  Certificates are checked against the system's store (and ``$SSL_CERT_FILE``,
``$SSL_CERT_DIR``, which OpenSSL reads), the file that ``$REQUESTS_CA_BUNDLE`` names, and what
``certs.d`` has for the server.

A redirect is followed for GET and HEAD; to another origin the credentials do not go along, and from
https to http nothing goes.
"""

from __future__ import annotations

import base64
import os
import threading
from contextlib import suppress
from dataclasses import replace
from urllib.parse import unquote_to_bytes

from sundog import __version__
from sundog.errors import AddressError, ProtocolError, UnreachableError
from sundog.registry import unreachable
from sundog.registry.address import Address
from sundog.registry.connection import Connection, Proxy, Route

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from sundog.registry.answer import Answer
    from sundog.registry.certificates import Certificates
    from sundog.registry.http import Request, Response

CONNECT_SECONDS = 20.0
READ_SECONDS = 60.0  # without a single byte

_REDIRECTS = (301, 302, 303, 307, 308)
_HOPS = 5
_DRAINED = 1 << 16  # a body up to this is read to keep its connection
_CA_VARIABLE = "REQUESTS_CA_BUNDLE"
_BODILESS = ("GET", "HEAD", "DELETE", "OPTIONS")
_KEPT = 8  # idle connections with one server: blobs are fetched side by side


def environment_proxies() -> dict[str, str]:
    """Return the proxies that the environment names, by scheme, and what it exempts as ``no``."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return {}
    from urllib.request import getproxies  # noqa: PLC0415 - 4 ms at each start

    return getproxies()


class NetworkTransport:
    """A transport over the network; may be used by several threads."""

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self._lock = threading.Lock()
        self._idle: dict[Route, list[Connection]] = {}
        self._environment = os.environ if environment is None else environment
        self._connect_seconds = connect_seconds
        self._read_seconds = read_seconds
        self._proxies = environment_proxies()
        self._routes: dict[tuple[str, str, bool], Route] = {}

    def __del__(self) -> None:
        self.close()

    def send(self, request: Request) -> Response:
        """Return the answer, redirects followed; raise UnreachableError when there is none."""
        for _ in range(_HOPS):
            response = self._send_once(request)
            location = response.headers.get("Location")
            if (
                response.status not in _REDIRECTS
                or request.method not in ("GET", "HEAD")
                or not location
            ):
                return response
            response.close()
            request = _redirected(request, location)
        host = Address.parse(request.url).authority
        raise ProtocolError(f"{host}: more than {_HOPS} redirects")

    def close(self) -> None:
        """Close all idle connections."""
        with self._lock:
            for connections in self._idle.values():
                for connection in connections:
                    connection.close()
            self._idle.clear()

    def _send_once(self, request: Request) -> _Response:
        address = Address.parse(request.url)
        fields = {"User-Agent": f"sundog/{__version__}", **request.headers}
        if isinstance(request.body, bytes):
            fields.setdefault("Content-Length", str(len(request.body)))
        elif request.body is None and request.method not in _BODILESS:
            fields.setdefault("Content-Length", "0")
        route = self._route(address, verify=request.verify)
        connection = self._connection(route)
        answer = connection.ask(request.method, address, fields, request.body)
        return _Response(self, route, connection, answer, str(address))

    def keep(self, route: Route, connection: Connection) -> None:
        """Take back a connection whose last answer has been read."""
        with self._lock:
            idle = self._idle.setdefault(route, [])
            if len(idle) < _KEPT:
                idle.append(connection)
                return
        connection.close()

    def _connection(self, route: Route) -> Connection:
        """Return a connection that nobody uses, a new one if there is none."""
        while True:
            with self._lock:
                idle = self._idle.get(route)
                connection = idle.pop() if idle else None
            if connection is None:
                return Connection(route)
            if connection.is_idle:
                return connection
            connection.close()  # the server has

    def _route(self, address: Address, *, verify: bool) -> Route:
        """Return how a request goes: through a proxy, or not."""
        key = (address.scheme, address.authority, verify)
        with self._lock:
            if key not in self._routes:
                server = replace(address, target="")
                proxy = self._proxy(address)
                context = None
                # Reading the system's authorities takes longer than a request: not without TLS.
                if "https" in (address.scheme, proxy.address.scheme if proxy else ""):
                    from sundog.registry.certificates import Certificates  # noqa: PLC0415

                    certificates = Certificates.of(address.authority, self._environment)
                    context = self._context(verify, certificates)
                self._routes[key] = Route(
                    server, proxy, context, self._connect_seconds, self._read_seconds
                )
            return self._routes[key]

    def _proxy(self, address: Address) -> Proxy | None:
        if not self._proxies or address.is_loopback:
            return None
        from urllib.request import proxy_bypass  # noqa: PLC0415 - imported already

        if proxy_bypass(address.authority):
            return None
        text = self._proxies.get(address.scheme) or self._proxies.get("all")
        return _read_proxy(text) if text else None

    def _context(self, verify: bool, certificates: Certificates) -> ssl.SSLContext:
        import ssl  # noqa: PLC0415 - a registry of this machine seldom needs it

        context = ssl.create_default_context()
        # As curl has it.  Python sets both from 3.13 on, and the strict one refuses authorities
        # without a key usage extension, as sites make them for themselves.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.set_alpn_protocols(["http/1.1"])
        certificates.load(context)
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif bundle := self._environment.get(_CA_VARIABLE):
            try:
                if os.path.isdir(bundle):
                    context.load_verify_locations(capath=bundle)
                else:
                    context.load_verify_locations(cafile=bundle)
            except OSError as error:  # ssl.SSLError is one
                reason = error.strerror or str(error)
                raise UnreachableError(
                    f"${_CA_VARIABLE}: no certificates in {bundle}: {reason}", permanent=True
                ) from error
        return context


class _Response:
    """An answer; its connection goes back to ``transport`` when the body has been read."""

    def __init__(
        self,
        transport: NetworkTransport,
        route: Route,
        connection: Connection,
        answer: Answer,
        url: str,
    ) -> None:
        self.status = answer.status
        self.url = url
        self._transport = transport
        self._route = route
        self._connection: Connection | None = connection
        self._answer = answer
        self._release()

    @property
    def headers(self) -> Mapping[str, str]:
        return self._answer.fields

    def read(self, size: int) -> bytes:
        if self._connection is None:
            return b""
        data = self._connection.read(self._answer, size)
        self._release()
        return data

    def close(self) -> None:
        # A body that nobody reads would be in the way of the connection's next answer.
        left = self._answer.left
        if left is not None and left <= _DRAINED and self._answer.keeps_connection:
            with suppress(UnreachableError):
                while self.read(_DRAINED):
                    pass
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _release(self) -> None:
        """Give the connection back if the answer is complete."""
        if self._answer.is_complete and self._connection is not None:
            if self._answer.keeps_connection:
                self._transport.keep(self._route, self._connection)
            else:
                self._connection.close()
            self._connection = None


def _redirected(request: Request, location: str) -> Request:
    here = Address.parse(request.url)
    try:
        there = here.follow(location)
    except AddressError as error:
        raise ProtocolError(f"{here.authority}: redirected to {location[:200]!a}") from error
    if (here.scheme, there.scheme) == ("https", "http") and request.verify:
        raise ProtocolError(
            f"{here.authority}: redirected to an address without TLS: http://{there.authority}",
            "if that is meant to be, --tls-no-verify allows it",
        )
    headers = request.headers
    if here.origin != there.origin:
        headers = {
            name: value for name, value in headers.items() if name.lower() != "authorization"
        }
    return replace(request, url=str(there), headers=headers)


def _read_proxy(text: str) -> Proxy:
    """Read a proxy's URL, in which there may be a user; raise UnreachableError."""
    scheme, mark, place = text.partition("://")
    if not mark:
        scheme, place = "http", text
    user, at, place = place.rpartition("@")
    try:
        address = Address.parse(f"{scheme}://{place}")
    except AddressError as error:  # also of a scheme such as socks5
        raise unreachable.bad_proxy(ascii(f"{scheme}://{place}")[1:-1]) from error
    encoded = base64.b64encode(unquote_to_bytes(user)).decode()
    return Proxy(address, f"Basic {encoded}" if at else "")
