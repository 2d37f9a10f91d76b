"""HTTP over the network.  The only module that knows the HTTP library, which is urllib3.

Importing urllib3 takes as long as importing all other modules of a pull, so import this module only
where a request is sent.

Specification: RFC 9110.  Proxies come from the environment, as with curl(1), but never serve
requests to this machine itself.  Certificates have to be signed by an authority in the system's
store (or ``$SSL_CERT_FILE``, ``$SSL_CERT_DIR``, which OpenSSL reads), in the file that
``$REQUESTS_CA_BUNDLE`` or the configuration names, or in ``certs.d`` for the server.

GET and HEAD follow redirects.  A redirect to another origin gets no credentials; a redirect from
https to http is an error.
"""

from __future__ import annotations

import os
import socket
import ssl
import warnings
from dataclasses import replace

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import Timeout, make_headers, parse_url

from sundog import __version__
from sundog.errors import AddressError, ProtocolError, UnreachableError
from sundog.image.registry.address import Address
from sundog.image.registry.bounded import bound
from sundog.image.registry.certificates import Certificates
from sundog.image.registry.configured import configured_authorities, trust_authorities
from sundog.image.registry.http import CONNECT_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.image.registry.http import Request, Response

# urllib3 warns on standard error, with places in its source, of what --tls-no-verify asks for.
warnings.filterwarnings("ignore", module="urllib3")

READ_SECONDS = 60.0  # without a single byte

_REDIRECTS = (301, 302, 303, 307, 308)
_HOPS = 5
_DRAINED = 1 << 16  # a rest of a body up to this size is read, to keep the connection
# Connections per host: blobs are fetched side by side.
_CONNECTIONS = 8

_CERTIFICATE_HINT = (
    "name the file of its certificate authority in $SSL_CERT_FILE or put it into "
    "~/.config/containers/certs.d/HOST:PORT/ca.crt; or use --tls-no-verify"
)


def environment_proxies() -> dict[str, str]:
    """Return the environment's proxies by scheme, and the exempted hosts under ``no``."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return {}
    from urllib.request import getproxies  # 4 ms at each start

    return getproxies()


class Urllib3Transport:
    """A transport over the network.  Several threads may use one object."""

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self._timeout = Timeout(connect=connect_seconds, read=read_seconds)
        self._proxies = environment_proxies()
        self._certificates: dict[str, Certificates] = {}
        self._managers: dict[tuple[int, str, bool, Certificates | None], urllib3.PoolManager] = {}

    def send(self, request: Request) -> Response:
        """Return the response after redirects; raise UnreachableError if none comes."""
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
        """Close all connections."""
        for manager in self._managers.values():
            manager.clear()

    def _send_once(self, request: Request) -> _Urllib3Response:
        address = Address.parse(request.url)
        headers = {"User-Agent": f"sundog/{__version__}", **request.headers}
        manager = self._manager(address, verify=request.verify)
        try:
            answer = manager.urlopen(
                request.method,
                str(address),
                body=request.body,
                headers=headers,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
                timeout=self._timeout,
            )
        except (HTTPError, OSError, ValueError) as error:
            raise _unreachable(address.authority, error) from error
        return _Urllib3Response(answer, str(address), address.authority)

    def _manager(self, address: Address, *, verify: bool) -> urllib3.PoolManager:
        """Return the connections for a request: through a proxy, or direct."""
        host = address.authority
        proxy = ""
        if self._proxies and not address.is_loopback:
            from urllib.request import proxy_bypass  # imported already

            if not proxy_bypass(host):
                proxy = self._proxies.get(address.scheme) or self._proxies.get("all") or ""
        certificates = None
        if address.scheme == "https" or proxy:
            if host not in self._certificates:
                self._certificates[host] = Certificates.of(host, self._environment)
            certificates = self._certificates[host]
        # Two processes must not use one connection: a build of several stages forks.
        key = (os.getpid(), proxy, verify, certificates)
        if key not in self._managers:
            # Reading the system's authorities takes longer than a request, so not without TLS.
            context = None if certificates is None else self._context(verify, certificates)
            self._managers[key] = _manager(proxy, context)
        return self._managers[key]

    def _context(self, verify: bool, certificates: Certificates) -> ssl.SSLContext:
        context = ssl.create_default_context()
        # As curl does.  Python sets both flags from 3.13 on, and the strict one refuses authorities
        # without a key usage extension, which sites make for themselves.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        certificates.load(context)
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            trust_authorities(context, *configured_authorities(self._environment))
        return context


class _Urllib3Response:
    def __init__(self, answer: urllib3.BaseHTTPResponse, url: str, host: str) -> None:
        self._answer = answer
        self.status = answer.status
        self.url = url
        self._host = host

    @property
    def headers(self) -> Mapping[str, str]:
        return self._answer.headers  # type: ignore[no-any-return, unused-ignore]

    def read(self, size: int) -> bytes:
        try:
            data = self._answer.read(size)
        except (HTTPError, OSError, ValueError) as error:
            self._answer.close()
            raise _unreachable(self._host, error) from error
        if not data:
            self._answer.release_conn()
        return data

    def close(self) -> None:
        # The connection's next answer comes behind the rest of this body.
        left = self._answer.length_remaining
        if left is not None and left <= _DRAINED:
            self._answer.drain_conn()
        else:
            self._answer.close()


def _redirected(request: Request, location: str) -> Request:
    here = Address.parse(request.url)
    try:
        there = here.follow(location)
    except AddressError as error:
        raise ProtocolError(f"{here.authority}: redirected to {location[:200]!a}") from error
    if (here.scheme, there.scheme) == ("https", "http") and request.verify:
        raise ProtocolError(
            f"{here.authority}: redirected to an address without TLS: http://{there.authority}",
            "if you accept that, use --tls-no-verify",
        )
    headers = request.headers
    if here.origin != there.origin:
        headers = {
            name: value for name, value in headers.items() if name.lower() != "authorization"
        }
    return replace(request, url=str(there), headers=headers)


def _manager(proxy: str, context: ssl.SSLContext | None) -> urllib3.PoolManager:
    if not proxy:
        return bound(urllib3.PoolManager(maxsize=_CONNECTIONS, ssl_context=context))
    url = proxy if "://" in proxy else f"http://{proxy}"
    try:
        auth = parse_url(url).auth
        headers = make_headers(proxy_basic_auth=auth) if auth else None
        return bound(
            urllib3.ProxyManager(
                url, maxsize=_CONNECTIONS, proxy_headers=headers, ssl_context=context
            )
        )
    except (LocationParseError, ValueError) as error:  # of a scheme such as socks5
        # The proxy's password stays out of the message, and so do urllib3's words, which repeat it.
        scheme, _, place = url.partition("://")
        raise UnreachableError(
            f"can't use the proxy {scheme}://{place.rpartition('@')[2]}",
            "see $https_proxy, $http_proxy, $no_proxy",
            permanent=True,
        ) from error


def _unreachable(host: str, error: HTTPError | OSError | ValueError) -> UnreachableError:
    """Return the error that says in words what failed."""
    match error:
        case ProxyError():
            inner = error.original_error
            why = _reason(inner)
            return UnreachableError(
                f"can't reach {host} through its proxy: {why}",
                "see $https_proxy, $http_proxy, $no_proxy",
            )
        case NameResolutionError() | socket.gaierror():
            return UnreachableError(
                f"can't reach {host}: no such host",
                "is the name right? Does this machine reach the network?",
                unconnected=True,
            )
        case NewConnectionError():
            return UnreachableError(
                f"can't reach {host}: {_reason(error.__cause__ or error)}",
                "are name and port right? Is the registry running?",
                unconnected=True,
            )
        case ConnectTimeoutError():
            return UnreachableError(
                f"can't reach {host}: no answer in time",
                "is a proxy needed ($https_proxy)? Compute nodes often have no route outside",
                unconnected=True,
            )
        case ReadTimeoutError():
            return UnreachableError(f"{host}: the server stopped in the middle of an answer")
        case SSLError():
            text = _reason(error.args[0] if error.args else error)
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                why = text.partition("certificate verify failed: ")[2] or text
                return UnreachableError(
                    f"{host}: its certificate is not trusted: {why}",
                    _certificate_hint(why),
                    permanent=True,
                )
            return UnreachableError(
                f"{host}: TLS failed: {text}",
                _tls_hint(text),
                permanent=True,
                plaintext="alert" not in text,
            )
        case LocationParseError():
            return AddressError(host)
        case _:
            return UnreachableError(f"{host}: the connection broke: {_reason(error)}")


def _certificate_hint(why: str) -> str:
    """Return a hint about an untrusted certificate; ``why`` is in OpenSSL's words."""
    if "expired" in why or "not yet valid" in why:
        return "is this machine's clock right? If it is, the registry's operator has to renew it"
    if "mismatch" in why or "not valid for" in why:
        return "it belongs to another server: is the name right? --tls-no-verify accepts any server"
    return _CERTIFICATE_HINT


def _tls_hint(text: str) -> str:
    """Return a hint about a failed TLS greeting; ``text`` is in OpenSSL's words."""
    if "wrong version number" in text or "record layer failure" in text:
        return (
            "does it speak HTTP without TLS? To allow that, set insecure = true in registries.conf"
        )
    if "certificate" in text and "alert" in text:
        return (
            "the registry wants a certificate from you, or another one: "
            "~/.config/containers/certs.d/HOST:PORT/client.cert and client.key"
        )
    return ""


def _reason(error: BaseException) -> str:
    """Return the innermost cause with words, in lower case and in one line."""
    while error.args and isinstance(error.args[-1], BaseException):
        error = error.args[-1]
    if isinstance(error, ssl.SSLError):
        # "[SSL: X] certificate verify failed: … (_ssl.c:1000)"
        text = str(error.args[-1]).partition("] ")[2] or str(error)
        return text.partition(" (_ssl")[0]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error).splitlines()[0].lower() if str(error) else type(error).__name__
