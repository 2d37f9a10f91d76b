"""The user's logins to registries: those that docker, podman and ch-image stored.

Specification: containers-auth.json(5); docker-login, "Credential stores" and "Credential helpers"
(https://docs.docker.com/reference/cli/docker/login/): ``docker-credential-NAME get`` reads the
server's name from standard input and writes JSON to standard output.

A secret is never in an argument list, a message or ``repr``; files with secrets have mode 0600.
"""

from __future__ import annotations

import base64
import json
import os
import stat
from dataclasses import dataclass, field

from sundog.base.fields import Fields, parse_json
from sundog.base.kernel.drafts import replace_file
from sundog.errors import CredentialsError
from sundog.image.registry.user_files import (
    containers_directory,
    home_directory,
    runtime_directory,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from sundog.base.fields import JsonObject

_HUB = "docker.io"
_HUB_SERVER = "https://index.docker.io/v1/"  # Docker's name for it
_HUB_ALIASES = frozenset(("docker.io", "index.docker.io", "registry-1.docker.io"))
_IDENTITY_USER = "<token>"  # a helper says so that the secret is an identity token
_HELPER_SECONDS = 60
_MEND = "mend the file, or remove it and log in again"
_NOT_FOUND = "credentials not found"

USERNAME_VARIABLE = "CH_IMAGE_USERNAME"
PASSWORD_VARIABLE = "CH_IMAGE_PASSWORD"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name with a password, or an identity token; ``source`` says where they came from."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    source: str = ""

    @property
    def encoded(self) -> str:
        """Name and password as HTTP's Basic and files of logins have them (RFC 7617).

        Bytes that are not UTF-8 survive unchanged.
        """
        pair = f"{self.username}:{self.password}".encode(errors="surrogateescape")
        return base64.b64encode(pair).decode()


def from_environment(environment: Mapping[str, str]) -> Credentials | None:
    """Return the credentials in ``$CH_IMAGE_USERNAME`` and ``$CH_IMAGE_PASSWORD``, or None."""
    username = environment.get(USERNAME_VARIABLE)
    password = environment.get(PASSWORD_VARIABLE)
    if username is None or password is None:
        return None
    return Credentials(username, password, source=f"${USERNAME_VARIABLE}")


class CredentialFiles:
    """The files that hold logins; the first one that knows a registry decides.

    ``tell`` gets warnings: a file that others may read, a helper that is not installed.
    """

    def __init__(
        self, environment: Mapping[str, str], tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self._tell = tell
        self._own = os.path.join(containers_directory(environment), "auth.json")
        if chosen := environment.get("REGISTRY_AUTH_FILE"):
            self._own = chosen
            self.paths = [chosen]
            return
        self.paths = [self._own]
        if runtime := runtime_directory(environment):
            self.paths.insert(0, os.path.join(runtime, "auth.json"))
        docker = environment.get("DOCKER_CONFIG")
        if not docker:
            docker = os.path.join(home_directory(environment), ".docker")
        self.paths.append(os.path.join(docker, "config.json"))

    def find(self, registry: str, repository: str = "") -> Credentials | None:
        """Return the credentials for this repository of ``registry``, or for all of it; else None.

        Raises CredentialsError when a file is damaged or a helper fails.
        """
        for path in self.paths:
            found = self._find_in(self._read(path), registry, repository)
            if found is not None:
                return found
        return None

    def registries(self) -> tuple[str, ...]:
        """Return the registries with a login, without those that only ``credsStore`` knows.

        Raises CredentialsError when a file is damaged.
        """
        keys = [key for path in self.paths for key in self._read(path).keys]
        return tuple(dict.fromkeys(map(_host_of, keys)))

    def store(self, registry: str, credentials: Credentials) -> str:
        """Store credentials; return where: a file, or the helper that the files name.

        The file that has a login for this registry gets them, so that the new login replaces the
        old one; otherwise the user's ``auth.json`` gets them.
        """
        place = self._own
        for path in self.paths:
            file = self._read(path)
            if helper := file.helper_of(registry):
                secret = {
                    "ServerURL": _server(registry),
                    "Username": credentials.username,
                    "Secret": credentials.password,
                }
                self._run_helper(helper, "store", json.dumps(secret))
                return f"docker-credential-{helper}"
            if any(_is_for(key, registry, "") for key in file.auths):
                place = path
                break
        file = self._read(place)
        auths = file.without(registry)
        auths[_key(place, registry)] = {"auth": credentials.encoded}
        _write(place, {**file.content, "auths": auths})
        return place

    def erase(self, registry: str) -> list[str]:
        """Forget every login for ``registry``; return the files and helpers that had one."""
        places = []
        for path in self.paths:
            file = self._read(path)
            if helper := file.helper_of(registry):
                if self._ask_helper(helper, registry) is not None:
                    self._run_helper(helper, "erase", _server(registry))
                    places.append(f"docker-credential-{helper}")
                continue
            kept = file.without(registry)
            if len(kept) < len(file.auths):
                _write(path, {**file.content, "auths": kept})
                places.append(path)
        return places

    def _find_in(self, file: _LoginFile, registry: str, repository: str) -> Credentials | None:
        if helper := file.helper_of(registry):
            return self._ask_helper(helper, registry)
        for name in _namespaces(repository):
            for key, entry in file.auths.items():
                if _is_for(key, registry, name) and entry is not None:
                    found = _from_entry(entry, key, file.path)
                    if found is not None:
                        return found
        return None

    def _read(self, path: str) -> _LoginFile:
        """Read a file; one that is missing or not permitted is empty.  Raises CredentialsError."""
        nothing = _LoginFile(path, {})
        try:
            with open(path, "rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return nothing
        except PermissionError:  # another user's file, after su(1)
            self._tell(f"can't read {path}: permission denied; continuing without it")
            return nothing
        except OSError as error:
            raise CredentialsError(f"can't read {path}: {error.strerror}") from error
        found = _LoginFile(path, parse_json(text, path, _damaged))
        if mode & (stat.S_IRGRP | stat.S_IROTH) and found.auths:
            self._tell(f"others may read your passwords in {path}: chmod 600 {path}")
        return found

    def _ask_helper(self, helper: str, registry: str) -> Credentials | None:
        output = self._run_helper(helper, "get", _server(registry))
        if output is None:
            return None
        source = f"docker-credential-{helper}"
        answer = Fields.parse(output, source, CredentialsError)
        username, secret = answer.required_string("Username"), answer.required_string("Secret")
        if username == _IDENTITY_USER:
            return Credentials(identity_token=secret, source=source)
        return Credentials(username, secret, source=source) if username else None

    def _run_helper(self, helper: str, verb: str, text: str) -> str | None:
        """Run a helper; return None if it has no login for the server, or is not installed."""
        import shutil  # few have helpers
        import subprocess

        name = f"docker-credential-{helper}"
        program = shutil.which(name)
        if program is None:
            if verb == "store":
                raise CredentialsError(
                    f"credential helper is not installed: {name}",
                    "remove credsStore and credHelpers from the file, or set $REGISTRY_AUTH_FILE",
                )
            self._tell(f"credential helper is not installed: {name}")
            return None
        try:
            done = subprocess.run(
                [program, verb],
                input=text,
                capture_output=True,
                text=True,
                timeout=_HELPER_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CredentialsError(f"{name} failed: {error}") from error
        if done.returncode:
            message = (done.stdout or done.stderr).strip()
            if verb == "get" and _NOT_FOUND in message.lower():
                return None
            raise CredentialsError(f"{name} {verb} failed: {message[:200] or done.returncode}")
        return done.stdout


class _LoginFile:
    """A file of logins: its entries by registry, and the names of credential helpers.

    ``content`` is the whole object, for writing it back.
    """

    def __init__(self, path: str, value: object) -> None:
        fields = Fields(value, path, _damaged)
        self.path = path
        self.content = dict(fields.rest)
        self.auths = fields.mapping("auths")
        self._helpers = fields.string_map("credHelpers")
        self._store = fields.string("credsStore")

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of registries in the file."""
        return (*self.auths, *self._helpers)

    def without(self, registry: str) -> JsonObject:
        """Return the entries of all other registries."""
        return {key: entry for key, entry in self.auths.items() if not _is_for(key, registry, "")}

    def helper_of(self, registry: str) -> str:
        """Return the name of the helper that keeps the login for ``registry``; "" if none does."""
        for key, helper in self._helpers.items():
            if _is_for(key, registry, "") and helper:
                return _checked(helper)
        return _checked(self._store)


def _damaged(message: str) -> CredentialsError:
    return CredentialsError(message, _MEND)


def _from_entry(value: object, key: str, path: str) -> Credentials | None:
    what = f"{path}: auths: {key}"
    entry = Fields(value, what, _damaged)
    if identity := entry.string("identitytoken"):
        return Credentials(identity_token=identity, source=path)
    if encoded := entry.string("auth"):
        try:
            pair = base64.b64decode(encoded, validate=True).decode(errors="surrogateescape")
        except ValueError:  # binascii.Error too
            raise CredentialsError(f"{what}: damaged (not base64)", "log in anew") from None
        username, colon, password = pair.partition(":")
        if not colon:
            raise CredentialsError(f"{what}: no password", "log in anew")
        return Credentials(username, password.rstrip("\0"), source=path)
    if name := entry.string("username"):
        return Credentials(name, entry.string("password"), source=path)
    return None  # Docker leaves empty entries for logins that a helper keeps


def _checked(helper: str) -> str:
    if "/" in helper:
        raise CredentialsError(f"not the name of a credential helper: {helper}")
    return helper


def _server(registry: str) -> str:
    return _HUB_SERVER if registry == _HUB else registry


def _key(path: str, registry: str) -> str:
    """Return the name of ``registry`` in a file: Docker's file has an old name for its Hub."""
    return _server(registry) if os.path.basename(path) == "config.json" else registry


def _is_for(key: str, registry: str, namespace: str) -> bool:
    """Tell whether a key in a file means exactly this namespace of this registry."""
    rest = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    path = rest.partition("/")[2]
    if path in ("v1", "v2"):
        path = ""
    return _host_of(key) == registry and path == namespace


def _host_of(key: str) -> str:
    """Return the registry that a key in a file is about."""
    host = key.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return _HUB if host in _HUB_ALIASES else host


def _namespaces(repository: str) -> Iterator[str]:
    """Yield ``a/b/c``, ``a/b``, ``a`` and "" for the repository ``a/b/c``."""
    while repository:
        yield repository
        repository = repository.rpartition("/")[0]
    yield ""


def _write(path: str, content: dict[str, Any]) -> None:
    """Replace a file of secrets atomically; no other user can read it at any moment."""
    path = os.path.realpath(path)
    text = json.dumps(content, indent=4) + "\n"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        replace_file(os.fsencode(path), text.encode(), mode=0o600)
    except OSError as error:
        raise CredentialsError(f"can't write {path}: {error.strerror}") from error
