"""Whether a registry can be reached, and lets this user in."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial

from sundog.doctor.outcome import Check
from sundog.errors import UnauthorizedError
from sundog.record.names import split_reference
from sundog.registry.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.transfer.report import Transfer

_ATTEMPTS = 1


class _Silent:
    """A report that nobody reads."""

    def info(self, text: str) -> None: ...
    def verbose(self, text: str) -> None: ...
    def warning(self, text: str) -> None: ...
    def transfer(self, label: str, verb: str, total: int) -> Transfer:
        raise NotImplementedError


def registry_check(host: str) -> Check:
    """Return the check of a registry: network, proxy, TLS, and the user's login if there is one."""
    # The answer goes through threads, so the check needs no process of its own.
    return Check(f"registry {host}", partial(_ask, host), in_child=False)


def _ask(host: str) -> str:
    registry, *_ = split_reference(f"{host}/image")
    session = Session(os.environ, _Silent(), attempts=_ATTEMPTS)
    remotes = session.registries.remotes(f"{registry}/image")
    endpoint = replace(remotes[0].endpoints[-1], host=registry)
    client = session.client(endpoint, ())
    try:
        client.check()
    except UnauthorizedError:
        if client.is_anonymous:
            return "it answers, and wants a login: ch-image login"
        raise
    return "it answers"
