"""The part of the configuration that is about registries: certificate authorities, and mirrors."""

from __future__ import annotations

import os
from contextlib import suppress

from sundog.base.configuration.holding import read_configuration
from sundog.base.configuration.keys import AUTHORITIES, MIRRORS
from sundog.base.configuration.templates import place_for
from sundog.base.kernel.drafts import write_new_file
from sundog.base.kernel.libc import decode_text
from sundog.errors import AddressError, ConfigurationError, UnreachableError
from sundog.image.registry.address import Address

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from sundog.base.configuration.holding import Holding


def configured_authorities(
    environment: Mapping[str, str], holding: Holding | None = None
) -> tuple[str, str]:
    """Return the path of more certificate authorities, and who names it; "" if nobody does.

    ``holding`` is the configuration, if the caller has read it.  Raises SundogError for a mistake.
    """
    holding = holding or registry_settings(environment)
    if path := environment.get(AUTHORITIES.variable):  # as requests reads it: any path
        return path, f"${AUTHORITIES.variable}"
    said = [place_for(value, in_bytes(environment)) for value in holding.said(AUTHORITIES)]
    return os.fsdecode(b"".join(said)), holding.place(AUTHORITIES) if any(said) else ""


def trust_authorities(context: ssl.SSLContext, path: str, source: str) -> None:
    """Let ``context`` trust the authorities in a file or a directory, if ``path`` is one's.

    ``source`` is who names it.  Raises UnreachableError.
    """
    try:
        if os.path.isdir(path):
            context.load_verify_locations(capath=path)
        elif path:
            context.load_verify_locations(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or str(error)
        raise UnreachableError(
            f"{source}: no certificates in {path}: {reason}", permanent=True
        ) from error


def authorities_for_git(environment: Mapping[str, str], directory: bytes) -> dict[str, str]:
    """Return the variables by which git trusts whom Sundog trusts, but for one server alone.

    A file takes the place of git's own authorities.  So the new file in ``directory`` has all: the
    system's, or those of $SSL_CERT_FILE, and the configuration's.  Raises SundogError.
    """
    path, source = configured_authorities(environment)
    if os.path.isdir(path):
        return {"GIT_SSL_CAPATH": os.path.abspath(path)}
    if not path and not environment.get("SSL_CERT_FILE"):
        return {}
    import ssl

    trust_authorities(ssl.create_default_context(), path, source)
    texts = []
    for name in (ssl.get_default_verify_paths().cafile, path):
        with suppress(OSError), open(name or os.devnull, "rb") as file:
            texts.append(file.read())
    bundle = os.path.join(directory, b"authorities.pem")
    write_new_file(bundle, b"\n".join(texts))
    return {"GIT_SSL_CAINFO": os.fsdecode(bundle)}


def registry_settings(environment: Mapping[str, str]) -> Holding:
    """Return the configuration.  Raises SundogError for a mistake in it."""
    return read_configuration(in_bytes(environment))


def in_bytes(environment: Mapping[str, str]) -> dict[bytes, bytes]:
    """Return variables as the configuration takes them."""
    return {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}


def configured_mirrors(holding: Holding) -> dict[str, tuple[str, ...]]:
    """Return the locations of mirrors by prefix.  Raises ConfigurationError."""
    found: dict[str, tuple[str, ...]] = {}
    for value in holding.said(MIRRORS):
        prefix, _, location = decode_text(value).partition("=")
        for place in (prefix, location):
            try:
                Address.parse(f"https://{place.partition('/')[0]}")
            except AddressError as error:
                raise ConfigurationError(
                    f"{holding.place(MIRRORS)}: {error.message}",
                    "write PREFIX=HOST[:PORT][/PATH], without https://",
                ) from error
        found[prefix] = (*found.get(prefix, ()), location)
    return found
