"""The settings, connections and credentials of one command that talks to registries."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import replace
from functools import cached_property

from sundog.base.configuration.stores import SharedStores
from sundog.image.registry.blob_ranges import Rest
from sundog.image.registry.client import RegistryClient
from sundog.image.registry.config import Registries
from sundog.image.registry.configured import in_bytes
from sundog.image.registry.credentials import CredentialFiles, Credentials, from_environment
from sundog.image.registry.http import CONNECT_SECONDS
from sundog.image.registry.retries import RetryingTransport
from sundog.image.transfer.backoff import ATTEMPTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sundog.image.registry.config import Endpoint
    from sundog.image.registry.http import Transport
    from sundog.image.transfer.report import Report

    Prompt = Callable[[str], Credentials]


class Session:
    """Connections to registries for one command.

    verify          whether servers have to prove their identity
    authenticated   whether to log in by all means: with the environment's variables, else with a
                    stored login, else with what ``prompt`` asks the user.  Otherwise a session uses
                    stored logins only, and without one it is anonymous
    remember        whether to ask the user once per registry, not once per repository
    attempts        how often to ask a registry that does not answer
    connect_seconds how long to wait for a connection
    silence         how long to wait for it, and for the next byte, if not as long as usual
    shared          the shared stores from which pulls take layers, and indexes of them; by default
                    those of the configuration
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        report: Report,
        *,
        verify: bool = True,
        authenticated: bool = False,
        prompt: Prompt | None = None,
        remember: bool = True,
        attempts: int = ATTEMPTS,
        connect_seconds: float = CONNECT_SECONDS,
        silence: float | None = None,
        shared: SharedStores | None = None,
    ) -> None:
        self.shared = shared or SharedStores(in_bytes(environment), (), report.warning)
        self.files = CredentialFiles(environment, report.warning)
        self._environment = environment
        self._report = report
        self.verify = verify
        self._authenticated = authenticated
        self._prompt = prompt
        self._remember = remember
        self._attempts = attempts
        self._connect_seconds = connect_seconds if silence is None else silence
        self._silence = silence
        self._lock = threading.Lock()
        self._prompted: dict[str, Credentials] = {}
        self.rests: defaultdict[str, Rest] = defaultdict(Rest)  # by host
        self._clients: dict[tuple[Endpoint, tuple[str, ...] | None], RegistryClient] = {}

    @cached_property
    def registries(self) -> Registries:
        """The settings in ``registries.conf`` and the environment."""
        return Registries.load(self._environment)

    def load(self) -> None:
        """Load what connections need, which takes a while, before there is one."""
        _ = self._transport

    def client(self, endpoint: Endpoint, scopes: Sequence[str] | None = None) -> RegistryClient:
        """Return the client for one repository; see ``RegistryClient`` for ``scopes``."""
        key = (endpoint, None if scopes is None else tuple(scopes))
        if key in self._clients:
            return self._clients[key]

        def credentials() -> Credentials | None:
            return self._credentials(endpoint)

        client = self._clients[key] = RegistryClient(
            endpoint, self._transport, credentials, verify=self.verify, scopes=scopes
        )
        return client

    def login(self, registry: str, credentials: Credentials) -> None:
        """Find out whether ``registry`` accepts ``credentials``; raise UnauthorizedError."""
        remotes = self.registries.remotes(f"{registry}/image")
        endpoint = replace(remotes[0].endpoints[-1], host=registry)
        client = RegistryClient(
            endpoint, self._transport, lambda: credentials, verify=self.verify, scopes=()
        )
        client.check()

    @cached_property
    def _transport(self) -> Transport:
        from sundog.image.registry.transport import READ_SECONDS, Urllib3Transport

        transport = Urllib3Transport(
            self._environment,
            connect_seconds=self._connect_seconds,
            read_seconds=READ_SECONDS if self._silence is None else self._silence,
        )
        return RetryingTransport(transport, attempts=self._attempts, tell=self._report.verbose)

    def _credentials(self, endpoint: Endpoint) -> Credentials | None:
        if self._authenticated:
            found = from_environment(self._environment)
            if found is not None:
                return found
        found = self.files.find(endpoint.host, endpoint.repository)
        if found is None and self._authenticated and self._prompt is not None:
            with self._lock:
                found = self._prompted.get(endpoint.host) if self._remember else None
                if found is None:
                    found = self._prompted[endpoint.host] = self._prompt(endpoint.host)
        return found
