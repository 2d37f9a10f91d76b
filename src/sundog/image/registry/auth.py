"""Authentication: from a registry's challenge to a header field that satisfies it.

Specification: RFC 9110, §11 (challenges), RFC 7617 (Basic), and the distribution project's "Token
Authentication" and "OAuth2" specifications (https://distribution.github.io/distribution/spec/auth/).

The client sends no credentials before the registry asks for them.  A token serves the scopes that
it was fetched for; the client fetches a new one when the old one is about to expire, or the
registry rejects it.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlencode

from sundog.base.fields import Fields
from sundog.errors import AddressError, ProtocolError, RegistryError, UnauthorizedError
from sundog.image.registry.address import Address, host_of
from sundog.image.registry.http import Request, read_all
from sundog.image.registry.token_servers import is_entitled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sundog.image.registry.credentials import Credentials
    from sundog.image.registry.http import Response, Transport

_CLIENT_ID = "sundog"
_DEFAULT_SECONDS = 60  # a token's life, where the server does not tell it
_SECONDS_LIMIT = 86_400
_SHOWN = 200  # characters of what a registry wrote
_DIGITS = 9  # of a number in a string
_TOKEN = re.compile(r"[!-~]+")  # RFC 6750 allows fewer; a header field carries no more
_MARGIN_SECONDS = 10  # a token that expires sooner is not used any more

_CHALLENGE = re.compile(
    r"""[\s,]*
    (?: (?P<key>[\w.~-]+) \s*=\s* (?: "(?P<quoted>(?:[^"\\]|\\.)*)" | (?P<plain>[^\s,"]+) )
      | (?P<scheme>[\w.~-]+) )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Challenge:
    """A way to log in that a registry offers: the scheme, in lower case, and its parameters."""

    scheme: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    expires: float


def parse_challenges(header: str) -> list[Challenge]:
    """Read a ``WWW-Authenticate`` header field, which may hold several challenges."""
    challenges: list[tuple[str, dict[str, str]]] = []
    position = 0
    while match := _CHALLENGE.match(header, position):
        if match["scheme"]:
            challenges.append((match["scheme"].lower(), {}))
        elif challenges:
            quoted = match["quoted"]
            value = match["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            challenges[-1][1][match["key"].lower()] = value
        position = match.end()
    return [Challenge(scheme, parameters) for scheme, parameters in challenges]


def pull_scope(repository: str) -> str:
    """Return the scope that allows reading a repository."""
    return f"repository:{repository}:pull"


def push_scope(repository: str) -> str:
    """Return the scope that allows reading and writing a repository."""
    return f"repository:{repository}:pull,push"


class Authenticator:
    """Authentication at ``registry``, ``HOST[:PORT]``.  Several threads may use one object.

    ``credentials`` is called at most once, when the registry first wants credentials; it returns
    None for an anonymous user.  ``token_servers`` are hosts that the user trusts with the
    credentials.
    """

    def __init__(
        self,
        transport: Transport,
        credentials: Callable[[], Credentials | None],
        *,
        registry: str,
        token_servers: Sequence[str] = (),
        verify: bool = True,
    ) -> None:
        self._transport = transport
        self._ask = credentials
        self._registry = registry
        self._token_servers = token_servers
        self._verify = verify
        self._lock = threading.RLock()
        self._challenge: Challenge | None = None
        self._asked = False
        self._credentials: Credentials | None = None
        self._tokens: dict[tuple[str, ...], _Token] = {}

    @property
    def is_anonymous(self) -> bool:
        """Tell whether the registry does not know who the user is."""
        return self._credentials is None

    def headers(self, scopes: Sequence[str]) -> dict[str, str]:
        """Return the header fields for a request that needs ``scopes``."""
        with self._lock:
            if self._challenge is None:
                return {}
            return {"Authorization": self._authorization(tuple(scopes))}

    def satisfy(self, response: Response, sent: Mapping[str, str], scopes: Sequence[str]) -> bool:
        """Answer the challenge of a 401; tell whether the request is worth repeating.

        ``sent`` are the fields that ``headers`` returned for the request.  Raises
        UnauthorizedError when the registry or its token server rejects the credentials.
        """
        header = response.headers.get("WWW-Authenticate", "")
        host = host_of(response.url)
        challenge = _chosen(parse_challenges(header), host, header)
        used = sent.get("Authorization", "")
        with self._lock:
            self._challenge = challenge
            if challenge.scheme == "basic":
                if used or self._user() is None:
                    raise self._rejected(host)
                return True
            key = tuple(scopes)
            token = self._tokens.get(key)
            if token is not None and used == f"Bearer {token.text}":
                del self._tokens[key]  # it has expired, or does not allow this
            return self._authorization(key) != used

    def give_up(self, host: str) -> None:
        """Raise UnauthorizedError if a 401 in spite of ``headers`` means a wrong password.

        In spite of a token, it means that the user may not do this, or that the repository does not
        exist.
        """
        challenge = self._challenge
        if challenge is not None and challenge.scheme == "basic":
            raise self._rejected(host)

    def _authorization(self, scopes: tuple[str, ...]) -> str:
        challenge = self._challenge
        assert challenge is not None
        if challenge.scheme == "basic":
            user = self._user()
            return _basic(user) if user is not None else ""
        token = self._tokens.get(scopes)
        if token is None or token.expires - time.monotonic() < _MARGIN_SECONDS:
            token = self._tokens[scopes] = self._new_token(challenge, scopes)
        return f"Bearer {token.text}"

    def _user(self) -> Credentials | None:
        if not self._asked:
            self._credentials = self._ask()
            self._asked = True
        return self._credentials

    def _new_token(self, challenge: Challenge, scopes: tuple[str, ...]) -> _Token:
        realm = self._realm(challenge)
        user = self._user()
        host = realm.authority
        if user is not None and not is_entitled(realm.host, self._registry, self._token_servers):
            raise ProtocolError(
                f"token server {host}: it does not belong to the registry {self._registry}, "
                "so ch-image sends no password there",
                f'if you trust it, set token-servers = ["{realm.host}"] for that registry in '
                "registries.conf",
            )
        response = self._transport.send(self._token_request(realm, challenge, scopes, user))
        body = read_all(response)
        if response.status in (400, 401, 403):
            raise self._rejected(host)
        if response.status != 200:
            raise RegistryError(f"token server {host}: HTTP {response.status}")
        what = f"token server {host}: its answer is no token"
        answer = Fields.parse(body, what, ProtocolError)
        text = answer.string("token") or answer.string("access_token")
        if not _TOKEN.fullmatch(text):
            raise ProtocolError(what)
        seconds = _seconds(answer.take("expires_in"))
        # A token that lives shorter than the margin serves one request, at once.
        return _Token(text, time.monotonic() + max(seconds, _MARGIN_SECONDS + 1))

    def _realm(self, challenge: Challenge) -> Address:
        """Return the address of the token server; raise ProtocolError if it is not safe to ask."""
        text = challenge.parameters.get("realm", "")
        try:
            realm = Address.parse(text)
        except AddressError as error:
            raise ProtocolError(
                f"the registry names no token server: realm {text[:_SHOWN]!a}"
            ) from error
        is_here = realm.is_loopback and Address.parse(f"http://{self._registry}").is_loopback
        if realm.scheme == "http" and self._verify and not is_here:
            raise ProtocolError(
                f"token server {realm.authority}: no TLS, so anybody could read what is sent",
                "if you accept that, set insecure = true for the registry in registries.conf",
            )
        return realm

    def _token_request(
        self,
        realm: Address,
        challenge: Challenge,
        scopes: tuple[str, ...],
        user: Credentials | None,
    ) -> Request:
        service = challenge.parameters.get("service", "")
        fields = [("service", service)] if service else []
        if user is not None and user.identity_token:
            fields += [
                ("grant_type", "refresh_token"),
                ("client_id", _CLIENT_ID),
                ("refresh_token", user.identity_token),
            ]
            if scopes:
                fields.append(("scope", " ".join(scopes)))
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            body = urlencode(fields).encode()
            return Request("POST", str(realm), headers, body, verify=self._verify)
        fields += [("scope", scope) for scope in scopes]
        query = "&" if "?" in realm.target else "?"
        headers = {} if user is None else {"Authorization": _basic(user)}
        return Request("GET", f"{realm}{query}{urlencode(fields)}", headers, verify=self._verify)

    def _rejected(self, host: str) -> UnauthorizedError:
        user = self._credentials
        if user is None:
            return UnauthorizedError(
                f"{host}: the registry wants to know who you are",
                f"ch-image login {host}; or --auth, which asks for user name and password",
            )
        return UnauthorizedError(
            f"{host}: the registry rejects user {user.username or '(identity token)'}",
            f"the credentials are from {user.source}; ch-image login {host} replaces them"
            if user.source
            else "check user name and password",
        )


def _seconds(value: object) -> float:
    """Return a token's life in seconds, at most a day; the default for nonsense."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:_DIGITS])
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return _DEFAULT_SECONDS
    return float(min(value, _SECONDS_LIMIT))


def _chosen(challenges: list[Challenge], host: str, header: str) -> Challenge:
    """Return the challenge to answer: with a token rather than with the password itself."""
    for scheme in ("bearer", "basic"):
        for challenge in challenges:
            if challenge.scheme == scheme:
                return challenge
    if not header:
        raise UnauthorizedError(f"{host}: unauthorized; the registry does not say how to log in")
    raise UnauthorizedError(
        f"{host}: unsupported way to log in: "
        f"{challenges[0].scheme[:_SHOWN] if challenges else ascii(header[:_SHOWN])}"
    )


def _basic(user: Credentials) -> str:
    return f"Basic {user.encoded}"
