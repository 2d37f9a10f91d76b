"""ADD's logins to servers: secrets with fixed names, and the agent of ``--ssh``.

Specification: Docker's documentation, “Build secrets”, for git; BuildKit's release notes (0.23) for
other URLs.  ADD sends a secret only to its host.  A secret stays out of messages, out of cache
keys, and out of arguments, which all users of a machine can read.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from sundog.errors import BuildError
from sundog.image.builder.secrets import SshAgents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sundog.image.builder.secrets import Secret

    # An ID, and the function that makes a header of the secret's value.
    Candidate = tuple[str, Callable[[str], str]]


@dataclass(frozen=True, slots=True)
class RemoteAccess:
    """The secrets (by ID) and agents that a build may use."""

    secrets: Mapping[str, Secret] = field(default_factory=dict)
    agents: SshAgents = field(default_factory=SshAgents)

    def authorization(self, url: str) -> str:
        """Return the header ``Authorization`` for a URL, "" for none; raise BuildError."""
        return self._first(
            candidate
            for host in _hosts(url)
            for candidate in (
                (f"HTTP_AUTH_HEADER_{host}", str),
                (f"HTTP_AUTH_TOKEN_{host}", _bearer),
            )
        )

    def git_environment(self, remote: str) -> dict[str, str]:
        """Return the variables that log git in at ``remote``; raise BuildError."""
        variables = {}
        if (socket := self.agents.socket("")) is not None:
            variables["SSH_AUTH_SOCK"] = socket
        parts = urlsplit(remote)
        if parts.scheme in ("http", "https"):
            suffixes = [*(f".{host}" for host in _hosts(remote)), ""]
            header = self._first(
                candidate
                for suffix in suffixes
                for candidate in (
                    (f"GIT_AUTH_HEADER{suffix}", str),
                    (f"GIT_AUTH_TOKEN{suffix}", _git_token),
                )
            )
            if header:
                host = parts.netloc.rpartition("@")[2]
                variables |= {
                    "GIT_CONFIG_COUNT": "2",
                    "GIT_CONFIG_KEY_0": f"http.{parts.scheme}://{host}/.extraHeader",
                    "GIT_CONFIG_VALUE_0": f"Authorization: {header}",
                    # git would send the header to the host that a redirect names.
                    "GIT_CONFIG_KEY_1": "http.followRedirects",
                    "GIT_CONFIG_VALUE_1": "false",
                }
        return variables

    def _first(self, candidates: Iterable[Candidate]) -> str:
        """Return the header of the first candidate whose secret was given."""
        for name, header in candidates:
            if name in self.secrets:
                text = self.secrets[name].value.decode("latin-1").strip()
                if not text or not text.isprintable():
                    raise BuildError(f"secret {name}: not a line of text")
                return header(text)
        return ""


def refused_hint(url: str) -> str:
    """Return the hint for a server that wants authentication."""
    return f"give a token: --secret id=HTTP_AUTH_TOKEN_{_hosts(url)[-1]},env=NAME"


def _hosts(url: str) -> list[str]:
    """Return the names of a URL's host in the IDs of secrets: with its port, and without."""
    parts = urlsplit(url)
    return list(dict.fromkeys([parts.netloc.rpartition("@")[2], parts.hostname or ""]))


def _bearer(token: str) -> str:
    return f"Bearer {token}"


def _git_token(token: str) -> str:
    return f"Basic {base64.b64encode(f'x-access-token:{token}'.encode()).decode()}"
