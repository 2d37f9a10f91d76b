"""Rules for the token servers that may get the password for a registry.

A registry that wants a token names a token server, and the client sends the password there (see
``auth``).  Three kinds of token servers get it.  One kind is in the registry's own domain: the
registry's host, a host below it, or a host in the domain above, unless strangers get names in that
domain.  The second kind is a publicly known pair of registry and token server.  The third is named
in the user's ``registries.conf``.

This module has no list of all public suffixes.  It assumes that strangers have names below a single
label, below a country's usual second-level domains, and below the domains of a short table.  If the
table lacks a provider, a registry there can direct its own password to another customer of that
provider, and nowhere else.
"""

from __future__ import annotations

from sundog.image.registry.address import Address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Registries, or their domains, and their token servers, as of 2026.
_ELSEWHERE = {
    "registry.hub.docker.com": "auth.docker.io",
    "registry.connect.redhat.com": "sso.redhat.com",
    "scw.cloud": "api.scaleway.com",
}

# co.uk, ac.jp and the like: below a country's two letters.
_SECOND_LEVEL = frozenset((
    "ac", "co", "com", "ed", "edu", "go", "gob", "gouv", "gov", "gv", "id", "info", "mil", "ne",
    "net", "nom", "or", "org", "plc", "sch",
))  # fmt: skip

# Domains in which strangers get names beside each other.
_SHARED = frozenset((
    "amazonaws.com", "azurecr.io", "azurewebsites.net", "cloudapp.net", "cloudfront.net",
    "ddns.net", "dedyn.io", "digitaloceanspaces.com", "duckdns.org", "dyndns.org", "fly.dev",
    "github.io", "gitlab.io", "herokuapp.com", "jfrog.io", "netlify.app", "ngrok-free.app",
    "ngrok.app", "ngrok.io", "nip.io", "no-ip.org", "onrender.com", "pages.dev", "run.app",
    "sslip.io", "trycloudflare.com", "ts.net", "vercel.app", "web.app", "workers.dev",
))  # fmt: skip


def is_entitled(realm: str, registry: str, named: Sequence[str] = ()) -> bool:
    """Tell whether the token server on the host ``realm`` may get the password for ``registry``.

    ``registry`` is ``HOST[:PORT]``; ``named`` are the hosts that the user's settings trust.
    """
    if realm in (host.lower() for host in named):
        return True
    address = Address.parse(f"https://{registry}")
    server = Address.parse(f"https://{f'[{realm}]' if ':' in realm else realm}")
    if realm == address.host or (server.is_loopback and address.is_loopback):
        return True
    if server.is_number or address.is_number:
        return False
    if any(
        _is_below(address.host, domain) and realm == server_of_it
        for domain, server_of_it in _ELSEWHERE.items()
    ):
        return True
    domains = (address.host, address.host.partition(".")[2])
    return any(not _is_shared(domain) and _is_below(realm, domain) for domain in domains)


def _is_below(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def _is_shared(domain: str) -> bool:
    """Tell whether strangers have names below ``domain``."""
    labels = domain.split(".")
    if len(labels) < 2:
        return True
    if len(labels) == 2 and len(labels[1]) == 2 and labels[0] in _SECOND_LEVEL:
        return True
    return any(_is_below(domain, suffix) for suffix in _SHARED)
