"""The defaults for builds: a variable of the environment, else the configuration.

The user's part of that may also be in an older file of settings,
``$XDG_CONFIG_HOME/sundog/build.toml``, by default ``~/.config/sundog/build.toml``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypedDict, cast

from sundog.base.configuration.holding import read_configuration
from sundog.base.configuration.keys import BUILD_FORCE, BUILD_RETRY, YES
from sundog.base.kernel.libc import decode_text, escaped
from sundog.errors import UsageError
from sundog.image.builder.force import Force, preferred
from sundog.image.registry.configured import in_bytes
from sundog.image.registry.user_files import settings_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.base.configuration.holding import Holding

_VARIABLE = "CH_IMAGE_FORCE"
_FORCE, _RETRY, _DEFAULT = "force", "retry", "seccomp"
_SIZE_LIMIT = 1 << 16


class Settings(TypedDict, total=False):
    """The file of settings."""

    force: str
    retry: bool


@dataclass(frozen=True, slots=True)
class DefaultForce:
    """The ``mode`` of ``--force`` without that option.

    ``retries`` tells that nobody has chosen it, nor refused to try a RUN again under ``notify``.
    """

    mode: str
    retries: bool = False


def default_force(
    environment: Mapping[str, str], otherwise: str | None = None, holding: Holding | None = None
) -> DefaultForce:
    """Return the mode of ``--force`` that counts without the option.  Raises UsageError.

    If nothing says a mode, it is ``otherwise``, by default ``seccomp``.  ``holding`` is the
    configuration, if the caller has read it.
    """
    mode = environment.get(_VARIABLE, "")
    if mode:
        return DefaultForce(_checked(mode, f"${_VARIABLE}"))
    holding = holding or read_configuration(in_bytes(environment))
    force, says_retry = holding.said(BUILD_FORCE), holding.said(BUILD_RETRY)
    path = os.path.join(settings_directory(environment), "sundog", "build.toml")
    settings = _settings(path)
    if force and (holding.is_users(BUILD_FORCE) or "force" not in settings):
        return DefaultForce(_checked(decode_text(force[0]), holding.source(BUILD_FORCE)))
    retries = settings.get("retry", True)
    if says_retry and (holding.is_users(BUILD_RETRY) or "retry" not in settings):
        retries = says_retry == YES
    if "force" in settings:
        return DefaultForce(_checked(settings["force"], f"{path}: {_FORCE}"))
    mode = _DEFAULT if otherwise is None else _checked(otherwise, "--emulation-default")
    return DefaultForce(mode, retries)


def _checked(mode: str, source: str) -> str:
    """Return ``mode``; an error names its source."""
    try:
        Force.choose(preferred(mode))
    except UsageError as error:
        raise UsageError(f"{source}: no such mode: {escaped(mode)}", error.hint) from None
    return mode


def _settings(path: str) -> Settings:
    """Return the settings in the file ``path``, none if there is no file.  Raises UsageError."""
    settings = _read_settings(path)
    for name in settings:
        if name not in (_FORCE, _RETRY):
            known = f"known are: {_FORCE}, {_RETRY}"
            raise UsageError(f"{path}: unknown setting: {escaped(name)}", known)
    if not isinstance(settings.get(_RETRY, True), bool):
        raise UsageError(f"{path}: {_RETRY}: not a Boolean", f"write {_RETRY} = false")
    if not isinstance(settings.get(_FORCE, ""), str):
        raise UsageError(f"{path}: {_FORCE}: not a string", f'write {_FORCE} = "auto"')
    return cast("Settings", settings)


def _read_settings(path: str) -> Mapping[str, object]:
    """Return what is in the file, nothing if there is no file."""
    try:
        with open(path, "rb") as file:
            data = file.read(_SIZE_LIMIT + 1)
    except OSError as error:
        if not os.path.exists(path):  # or another user's $HOME, which can't be searched
            return {}
        raise UsageError(f"can't read {path}: {error.strerror}", "make it readable") from error
    import tomllib  # few users have the file

    try:
        if len(data) > _SIZE_LIMIT:
            raise ValueError(f"larger than {_SIZE_LIMIT:,} bytes")
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not TOML: {error}", f'write {_FORCE} = "auto"') from error
