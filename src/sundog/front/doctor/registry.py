"""Checks of registries: connection, TLS certificate, login."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial

from sundog.base.record.names import looks_like_registry, split_reference
from sundog.errors import NotHere, SundogError, UnauthorizedError, UnreachableError
from sundog.front.doctor.outcome import Check
from sundog.image.registry.certificates import Certificates
from sundog.image.registry.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sundog.image.transfer.report import Transfer

_ATTEMPTS = 1
_SECONDS = 5.0  # to connect
_REGISTRIES_LIMIT = 20  # registries that nobody named
_NO_NETWORK = "pull images where the network is; nodes that run them need none"


class _Silent:
    """A report that nobody reads."""

    def info(self, text: str) -> None: ...
    def verbose(self, text: str) -> None: ...
    def warning(self, text: str) -> None: ...
    def transfer(self, label: str, verb: str, total: int) -> Transfer:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class _Asked:
    """A registry; ``is_needed``: an option or registries.conf names it, so it has to answer."""

    host: str
    is_needed: bool


def registry_check(host: str, environment: Mapping[str, str] = os.environ) -> Check:
    """Return the check of a registry: network, proxy, TLS, and the user's login if there is one."""
    return _check(_Asked(host, is_needed=True), environment)


def registry_checks(chosen: Sequence[str], environment: Mapping[str, str]) -> tuple[Check, ...]:
    """Return the checks of the registries ``chosen``; without any, of those that the user has.

    These are the registries in registries.conf, those with a login, and the first one that is asked
    for a name without a registry.
    """
    if chosen:
        return tuple(registry_check(host, environment) for host in chosen)
    session = Session(environment, _Silent())
    try:
        settings = session.registries
        needed = settings.hosts
        default = settings.remotes("image")[0].endpoints[-1].host
        hosts = dict.fromkeys((*needed, *session.files.registries(), default))
    except SundogError as error:
        return (Check("registries", partial(_raise, error), in_child=False),)
    asked = [_Asked(host, is_needed=host in needed) for host in list(hosts)[:_REGISTRIES_LIMIT]]
    return tuple(_check(one, environment) for one in asked)


def _check(asked: _Asked, environment: Mapping[str, str]) -> Check:
    # The answer goes through threads, so the check needs no process of its own.
    act = partial(_ask, asked, environment)
    return Check(f"registry {asked.host}", act, in_child=False)


def _raise(error: SundogError) -> str:
    raise error


def _ask(asked: _Asked, environment: Mapping[str, str]) -> str:
    registry = asked.host
    if looks_like_registry(registry):  # another would be read as a part of a name
        registry, *_ = split_reference(f"{registry}/image")
    session = Session(environment, _Silent(), attempts=_ATTEMPTS, connect_seconds=_SECONDS)
    remotes = session.registries.remotes(f"{registry}/image")
    endpoint = replace(remotes[0].endpoints[-1], host=registry)
    client = session.client(endpoint, ())
    login = session.files.find(registry)
    known = f"; the login is in {login.source}" if login is not None and login.source else ""
    trusted = Certificates.of(registry, environment).authorities
    known += "".join(f"; {path} is trusted" for path in trusted)
    try:
        client.check()
    except UnauthorizedError as error:
        if client.is_anonymous:
            return f"it answers, and wants a login: ch-image login{known}"
        error.message += known
        raise
    except UnreachableError as error:
        if error.unconnected and not asked.is_needed:
            raise NotHere(error.message, _NO_NETWORK) from None
        error.message += known
        raise
    return f"it answers{known}"
