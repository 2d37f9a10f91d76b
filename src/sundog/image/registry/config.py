"""Settings for registries: ``registries.conf``, the configuration, and Charliecloud's variables.

Specification: containers-registries.conf(5), version 2, of which these keys are honoured:
``unqualified-search-registries``; ``[[registry]]`` with ``prefix``, ``location``, ``insecure``,
``blocked``, ``mirror-by-digest-only``; ``[[registry.mirror]]`` with ``location``, ``insecure``,
``pull-from-mirror``; and ``[aliases]``.  The user's file replaces the machine's; the files in
``registries.conf.d`` complete it.  Two keys of a registry or mirror are Sundog's own, which other
programs ignore: ``token-servers`` are hosts that may get its password; ``index-referrers`` says
that starts may use the indexes of layers that somebody has pushed there.

The key ``registry.mirrors`` of the configuration has mirrors, too.  For the same prefix, the user's
come before the files of registries.conf, and these before the site's.  A file that
``$CONTAINERS_REGISTRIES_CONF`` names comes before both.

``$CH_REGY_DEFAULT_HOST``, ``$CH_REGY_DEFAULT_PORT`` and ``$CH_REGY_PATH_PREFIX`` say where to look
for names without a host, as in Charliecloud; they overrule the files.

This module does not decide under which name an image is stored: that name does not depend on where
the image came from.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from sundog.base.configuration.keys import MIRRORS
from sundog.base.fields import Table
from sundog.base.record.names import DEFAULT_REGISTRY
from sundog.errors import AddressError, ConfigurationError
from sundog.image.oci.reference import Reference
from sundog.image.registry.address import Address
from sundog.image.registry.configured import configured_mirrors, registry_settings
from sundog.image.registry.user_files import containers_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from sundog.base.configuration.holding import Holding

_HUB_NAMES = ("docker.io/", "index.docker.io/")
_OFFICIAL = "library/"
_SYSTEM = "/etc/containers"
_ONLY_FILE = "CONTAINERS_REGISTRIES_CONF"  # a variable
_INDEX_REFERRERS = "index-referrers"
_PULLS = ("all", "digest-only", "tag-only")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place to ask: ``host[:port]`` and the repository's name there.

    ``insecure`` allows a certificate of an unknown authority, and HTTP without TLS.
    ``token_servers`` are hosts of other domains that may get the password for this place.
    ``index_referrers``: whether referrers there may name indexes of an image's layers.
    """

    host: str
    repository: str
    insecure: bool = False
    token_servers: tuple[str, ...] = ()
    index_referrers: bool = False

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}"


@dataclass(frozen=True, slots=True)
class Remote:
    """A reference with a registry in it, and the places to ask for it: mirrors first."""

    reference: Reference
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class _Mirror:
    location: str
    insecure: bool = False
    pulls: str = "all"  # or another of _PULLS
    token_servers: tuple[str, ...] = ()
    index_referrers: bool = False

    def serves(self, reference: Reference) -> bool:
        wanted = "tag-only" if reference.digest is None else "digest-only"
        return self.pulls in ("all", wanted)


@dataclass(frozen=True, slots=True)
class _Registry:
    prefix: str
    location: str
    insecure: bool = False
    blocked: bool = False
    mirrors: tuple[_Mirror, ...] = ()
    token_servers: tuple[str, ...] = ()
    index_referrers: bool = False

    def matches(self, reference: Reference) -> bool:
        name = reference.name
        if self.prefix.startswith("*."):
            host, slash, path = self.prefix[1:].partition("/")
            return reference.registry.partition(":")[0].endswith(host) and (
                not slash or _is_below(reference.repository, path)
            )
        return _is_below(name, self.prefix) or self.prefix == reference.canonical

    def rest(self, reference: Reference) -> str:
        """Return what to append to ``location``."""
        if self.prefix.startswith("*."):
            return "/" + reference.repository
        return reference.name[len(self.prefix) :]


@dataclass(frozen=True)
class Registries:
    """All settings about registries."""

    registries: tuple[_Registry, ...] = ()
    search: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    default_host: str = ""
    path_prefix: str = ""

    @classmethod
    def load(cls, environment: Mapping[str, str], holding: Holding | None = None) -> Registries:
        """Read the files and variables that apply to this user; raise ConfigurationError.

        ``holding`` is the configuration, if the caller has read it.
        """
        holding = holding or registry_settings(environment)
        configured = {} if environment.get(_ONLY_FILE) else _configured(holding)
        is_users = holding.is_users(MIRRORS)
        registries: dict[str, _Registry] = {} if is_users else dict(configured)
        search: tuple[str, ...] = ()
        aliases: dict[str, str] = {}
        for path in _files(environment):
            table = Table(_parsed(path), path, ConfigurationError)
            for entry in table.objects("registry"):
                registry = _registry(entry)
                registries[registry.prefix] = registry
            found = table.strings("unqualified-search-registries")
            if found is not None:
                search = found
            aliases |= table.string_map("aliases")
        for prefix, registry in configured.items() if is_users else ():
            found_registry = registries.get(prefix, registry)
            registries[prefix] = replace(found_registry, mirrors=registry.mirrors)
        host = environment.get("CH_REGY_DEFAULT_HOST", "")
        port = environment.get("CH_REGY_DEFAULT_PORT", "")
        if port and not (port.isascii() and port.isdigit()):
            raise ConfigurationError(f"$CH_REGY_DEFAULT_PORT: not a port: {port}")
        if port and not host:
            raise ConfigurationError(
                "$CH_REGY_DEFAULT_PORT without $CH_REGY_DEFAULT_HOST", "set both, or neither"
            )
        return cls(
            tuple(registries.values()),
            search,
            aliases,
            f"{host}:{port}" if port else host,
            environment.get("CH_REGY_PATH_PREFIX", "").strip("/"),
        )

    @property
    def hosts(self) -> tuple[str, ...]:
        """The registries and mirrors in the settings, without those that are blocked."""
        used = [one for one in self.registries if not one.blocked]
        mirrors = [mirror.location for one in used for mirror in one.mirrors]
        named = (*(one.location for one in used), *mirrors)
        return tuple(dict.fromkeys(name.partition("/")[0] for name in named if name))

    def remotes(self, text: str) -> list[Remote]:
        """Return the remotes to ask for what ``text`` names, in order.

        There is more than one only for a name without a host.  Raises ReferenceSyntaxError, or
        ConfigurationError when the registry is blocked.
        """
        return [Remote(one, self._endpoints(one)) for one in self._qualified(text)]

    def _qualified(self, text: str) -> list[Reference]:
        """Return references with a registry for ``text``, which may lack the registry."""
        reference = Reference.parse(text)
        if reference.registry != DEFAULT_REGISTRY or text.startswith(_HUB_NAMES):
            return [reference]
        name = reference.repository
        if not text.startswith(_OFFICIAL):
            name = name.removeprefix(_OFFICIAL)
        version = reference.canonical[len(reference.name) :]
        if self.default_host or self.path_prefix:
            path = f"{self.path_prefix}/{name}" if self.path_prefix else name
            return [Reference.parse(f"{self.default_host or DEFAULT_REGISTRY}/{path}{version}")]
        if alias := self.aliases.get(name):
            return [Reference.parse(alias + version)]
        if self.search:
            return [Reference.parse(f"{host}/{name}{version}") for host in self.search]
        return [reference]

    def _endpoints(self, reference: Reference) -> tuple[Endpoint, ...]:
        matching = [registry for registry in self.registries if registry.matches(reference)]
        if not matching:
            return (Endpoint(reference.registry, reference.repository),)
        registry = max(matching, key=lambda one: len(one.prefix))
        if registry.blocked:
            raise ConfigurationError(
                f"registry is blocked by registries.conf: {registry.prefix}: {reference}"
            )
        rest = registry.rest(reference)
        mirrors = [
            _endpoint(mirror.location + rest, mirror)
            for mirror in registry.mirrors
            if mirror.serves(reference)
        ]
        return (*mirrors, _endpoint(registry.location + rest, registry))


def _is_below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + "/")


def _endpoint(location: str, settings: _Registry | _Mirror) -> Endpoint:
    host, _, repository = location.partition("/")
    try:
        Address.parse(f"https://{host}")
    except AddressError as error:
        raise ConfigurationError(
            f"registries.conf: location: {error.message}",
            "write HOST[:PORT][/PATH], without https://",
        ) from error
    trusted = settings.token_servers, settings.index_referrers
    return Endpoint(host, repository, settings.insecure, *trusted)


def _configured(holding: Holding) -> dict[str, _Registry]:
    """Return the registries for which the configuration names mirrors, by prefix."""
    return {
        prefix: _Registry(prefix, prefix, mirrors=tuple(map(_Mirror, locations)))
        for prefix, locations in configured_mirrors(holding).items()
    }


def _files(environment: Mapping[str, str]) -> list[str]:
    """Return the files that exist, the more important ones later."""
    if chosen := environment.get(_ONLY_FILE):
        return [chosen]
    user = containers_directory(environment)
    candidates = [os.path.join(place, "registries.conf") for place in (user, _SYSTEM)]
    files = [path for path in candidates if os.path.isfile(path)][:1]
    for place in (_SYSTEM, user):
        directory = os.path.join(place, "registries.conf.d")
        if os.path.isdir(directory):
            files += [
                os.path.join(directory, name)
                for name in sorted(os.listdir(directory))
                if name.endswith(".conf")
            ]
    return files


def _parsed(path: str) -> dict[str, Any]:
    import tomllib  # most users have no such file

    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"can't read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # not TOML, or not UTF-8
        raise ConfigurationError(f"{path}: not TOML: {error}") from error
    if "registries" in content:
        raise ConfigurationError(
            f"{path}: version 1 of registries.conf is not supported",
            "write [[registry]] tables, see containers-registries.conf(5)",
        )
    return content


def _registry(entry: Table) -> _Registry:
    location = entry.string("location")
    prefix = entry.string("prefix") or location
    if not prefix or (not location and not prefix.startswith("*.")):
        raise ConfigurationError(f"{entry.what}: it has neither prefix nor location")
    digest_only = entry.boolean("mirror-by-digest-only")
    return _Registry(
        prefix,
        location,
        entry.boolean("insecure"),
        entry.boolean("blocked"),
        tuple(_mirror(mirror, digest_only=digest_only) for mirror in entry.objects("mirror")),
        _token_servers(entry),
        entry.boolean(_INDEX_REFERRERS),
    )


def _mirror(entry: Table, *, digest_only: bool) -> _Mirror:
    location = entry.string("location")
    if not location:
        raise ConfigurationError(f"{entry.what}: it has no location")
    pulls = entry.string("pull-from-mirror") or ("digest-only" if digest_only else "all")
    if pulls not in _PULLS:
        raise ConfigurationError(
            f"{entry.what}: pull-from-mirror: {pulls}", f"one of: {', '.join(_PULLS)}"
        )
    trusted = _token_servers(entry), entry.boolean(_INDEX_REFERRERS)
    return _Mirror(location, entry.boolean("insecure"), pulls, *trusted)


def _token_servers(entry: Table) -> tuple[str, ...]:
    hosts = entry.strings("token-servers") or ()
    for host in hosts:
        try:
            authority = Address.parse(f"https://{host}").authority
        except AddressError:
            authority = ""
        if not host or authority != host or host.rpartition("]")[2].count(":"):
            raise ConfigurationError(f"{entry.what}: token-servers: not a host: {host}")
    return hosts
