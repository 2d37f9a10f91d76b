"""Paths of the user's own settings and logins for containers.

Specification: XDG Base Directory Specification, ``$XDG_CONFIG_HOME`` and ``$XDG_RUNTIME_DIR``;
containers-registries.conf(5), containers-certs.d(5), containers-auth.json(5).
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_CONTAINERS = "containers"


def home_directory(environment: Mapping[str, str]) -> str:
    """Return the user's home: ``$HOME``, or what the accounts say where it is unset or empty."""
    return environment.get("HOME") or os.path.expanduser("~")


def settings_directory(environment: Mapping[str, str]) -> str:
    """Return where the user's settings of all programs are: by default ``~/.config``."""
    config = environment.get("XDG_CONFIG_HOME")
    return config or os.path.join(home_directory(environment), ".config")


def containers_directory(environment: Mapping[str, str]) -> str:
    """Return where the user's settings for containers are: by default ``~/.config/containers``."""
    return os.path.join(settings_directory(environment), _CONTAINERS)


def runtime_directory(environment: Mapping[str, str]) -> str:
    """Return where logins are that end with the user's session; "" without such a place."""
    runtime = environment.get("XDG_RUNTIME_DIR")
    return os.path.join(runtime, _CONTAINERS) if runtime else ""
