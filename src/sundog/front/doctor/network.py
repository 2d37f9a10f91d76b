"""The way to registries: connect to the proxies, and load the certificate authorities."""

from __future__ import annotations

import os
import socket
import ssl
from urllib.parse import urlsplit

from sundog.errors import ADMINISTRATOR, Hint, NotHere, SundogError
from sundog.front.doctor.outcome import Check
from sundog.image.registry.configured import configured_authorities, trust_authorities

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_SECONDS = 5.0
_DEFAULT_PORTS = {"http": 80, "https": 443}


def _proxies() -> str:
    found = {
        name: value
        for lower in _PROXIES
        for name in (lower, lower.upper())
        if (value := os.environ.get(name))
    }
    if not found:
        raise NotHere("no variable names a proxy")
    for name, value in found.items():
        _connect(name, value)
    exempt = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    names = ", ".join(f"${name}" for name in found)
    return f"{names}: connected; not for {exempt}" if exempt else f"{names}: connected"


def _connect(name: str, value: str) -> None:
    """Connect to a proxy.  A password in ``value`` stays out of messages."""
    try:
        url = urlsplit(value if "://" in value else f"http://{value}")
        host, port = url.hostname or "", url.port or _DEFAULT_PORTS.get(url.scheme, 0)
    except ValueError:
        host, port = "", 0
    hint = f"correct or unset ${name}; your site's administrators know its proxy"
    no_proxy = SundogError(f"${name} is not the URL of an HTTP proxy", hint)
    if not host or not port:
        raise no_proxy
    try:
        socket.create_connection((host, port), timeout=_SECONDS).close()
    except UnicodeError:  # a name that DNS can't have
        raise no_proxy from None
    except OSError as error:
        why = error.strerror or str(error)
        raise SundogError(f"can't connect to ${name}, {host}:{port}: {why}", hint) from None


def _authorities() -> str:
    bundle, source = configured_authorities(os.environ)
    paths = ssl.get_default_verify_paths()
    named = (paths.openssl_cafile_env, paths.openssl_capath_env)
    for who, path in (
        (source, bundle),
        *((f"${variable}", os.environ.get(variable)) for variable in named),
    ):
        if path and not os.access(path, os.R_OK):
            raise SundogError(f"{who} names {path}, which can't be read", f"correct or unset {who}")
    context = ssl.create_default_context()
    try:
        trust_authorities(context, bundle, source)
    except SundogError as error:
        raise SundogError(error.message, f"correct or unset {source}") from None
    loaded = context.cert_store_stats()["x509_ca"]
    # OpenSSL reads a directory when it needs it.
    directories = [path for path in (paths.capath, bundle) if path and os.path.isdir(path)]
    listed = sum(len(os.listdir(path)) for path in directories)
    if not loaded and not listed:
        raise SundogError(
            "this machine has no certificate authorities, so no registry can prove its identity",
            Hint("", ADMINISTRATOR, "apt-get install ca-certificates"),
        )
    return f"{loaded or listed} in {paths.cafile or bundle or paths.capath}"


NETWORK = (
    Check("proxies", _proxies, in_child=False),
    Check("certificate authorities", _authorities, in_child=False),
)
