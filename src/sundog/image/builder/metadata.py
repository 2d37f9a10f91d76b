"""Instructions that change an image's configuration and none of its files.

Specification: the Dockerfile reference; OCI image-spec v1.1, config.md, for the place of each in
the configuration.  Pure: takes an instruction after substitution and a configuration, returns the
changes.
"""

from __future__ import annotations

import json
import re
import signal
from dataclasses import replace

from sundog.errors import BuildError
from sundog.image.builder.scope import PROXY_ARGS
from sundog.image.dockerfile.instructions import (
    Cmd,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Label,
    Maintainer,
    Onbuild,
    Shell,
    Stopsignal,
    User,
    Volume,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.dockerfile.instructions import CommandInstruction, From, Instruction
    from sundog.image.oci.config import ImageConfig

    # The text that announces an instruction, and the configuration after it.
    Change = tuple[str, ImageConfig]

DEFAULT_SHELL = ("/bin/sh", "-c")
_PROTOCOLS = ("tcp", "udp", "sctp")
_PORT_LIMIT = 65535
_DIGITS_LIMIT = 20  # of a number; Python refuses to read very long ones


def changes(instruction: Instruction, config: ImageConfig) -> list[Change] | None:
    """Return the changes that an instruction makes, one for each line that announces it.

    Returns None for an instruction of another kind.  Raises BuildError for an invalid port or
    signal.
    """
    match instruction:
        case Env():
            return _env(instruction, config)
        case Label():
            return _label(instruction, config)
        case Cmd() | Entrypoint():
            return [_command(instruction, config)]
        case Shell(shell=shell):
            return [(f"SHELL {list(shell)!r}", config.replace(shell=shell))]
        case User(user=user):
            return [(f"USER {user}", config.replace(user=user))]
        case Stopsignal():
            return [_stop_signal(instruction, config)]
        case Onbuild(trigger_text=text):
            return [(f"ONBUILD {text}", config.replace(on_build=(*config.on_build, text)))]
        case Maintainer(maintainer=maintainer):
            return [(f"MAINTAINER {maintainer}", config.replace(author=maintainer))]
        case Expose():
            return [_expose(instruction, config)]
        case Volume(volumes=volumes):
            merged = tuple(dict.fromkeys([*config.volumes, *volumes]))
            return [(f"VOLUME {' '.join(volumes)}", config.replace(volumes=merged))]
        case Healthcheck():
            return [_healthcheck(instruction, config)]
    return None


def command_text(instruction: CommandInstruction, keyword: str) -> str:
    """Return a command for the output: exec form as JSON, shell form as written."""
    if instruction.is_exec:
        return f"{keyword} {json.dumps(instruction.args, ensure_ascii=False)}"
    return f"{keyword} {instruction.args[0]}"


def from_text(start: From) -> str:
    """Return a FROM for the output."""
    platform = f"--platform={start.platform} " if start.platform else ""
    variables = "".join(
        # The value of a proxy may hold a password.
        f"--arg={name}{'' if default is None or name in PROXY_ARGS else f'={default}'} "
        for name, default in start.variables
    )
    alias = f" AS {start.alias}" if start.alias else ""
    return f"FROM {platform}{variables}{start.image_text}{alias}"


def pair_text(keyword: str, name: str, value: str | None) -> str:
    """Return ``KEYWORD NAME='VALUE'``; without quotes if there is no value."""
    return f"{keyword} {name}={'' if value is None else repr(value)}"


def _env(instruction: Env, config: ImageConfig) -> list[Change]:
    result = []
    for name, value in instruction.pairs:
        config = config.with_env(name, value)
        result.append((pair_text(instruction.name, name, value), config))
    return result


def _label(instruction: Label, config: ImageConfig) -> list[Change]:
    result = []
    for name, value in instruction.pairs:
        config = config.replace(labels={**config.labels, name: value})
        result.append((pair_text(instruction.name, name, value), config))
    return result


def _command(instruction: Cmd | Entrypoint, config: ImageConfig) -> Change:
    argv = tuple(instruction.argv(config.shell or DEFAULT_SHELL))
    text = command_text(instruction, instruction.name)
    if isinstance(instruction, Cmd):
        return text, config.replace(cmd=argv)
    return text, config.replace(entrypoint=argv)


def _stop_signal(instruction: Stopsignal, config: ImageConfig) -> Change:
    """Keep a signal (a name with or without SIG, or a number) as it is written."""
    text = instruction.signal
    name = "SIG" + text.upper().removeprefix("SIG")
    is_real_time = re.fullmatch(r"SIGRT(MIN|MAX)([+-][0-9]{1,2})?", name) is not None
    is_number = _is_number(text) and 0 < int(text) <= signal.SIGRTMAX
    if name not in signal.Signals.__members__ and not (is_real_time or is_number):
        raise BuildError(f"not a signal: {text}", "for example STOPSIGNAL SIGTERM or STOPSIGNAL 15")
    return f"STOPSIGNAL {text}", config.replace(stop_signal=text)


def _expose(instruction: Expose, config: ImageConfig) -> Change:
    ports = [port for word in instruction.ports for port in _ports(word)]
    merged = dict.fromkeys([*config.exposed_ports, *ports])
    text = f"EXPOSE {' '.join(instruction.ports)}"
    return text, config.replace(exposed_ports=tuple(merged))


def _ports(word: str) -> list[str]:
    """Convert ``PORT[-PORT][/PROTOCOL]`` to the configuration's form."""
    numbers, _, protocol = word.partition("/")
    first, dash, last = numbers.partition("-")
    protocol = protocol.lower() or _PROTOCOLS[0]
    if not _is_number(first) or (dash and not _is_number(last)):
        raise _bad_port(word)
    low, high = int(first), int(last or first)
    if not low <= high <= _PORT_LIMIT or protocol not in _PROTOCOLS:
        raise _bad_port(word)
    return [f"{port}/{protocol}" for port in range(low, high + 1)]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS_LIMIT


def _bad_port(word: str) -> BuildError:
    return BuildError(f"not a port: {word}", "EXPOSE takes PORT[-PORT][/tcp|/udp|/sctp]")


def _healthcheck(instruction: Healthcheck, config: ImageConfig) -> Change:
    healthcheck: dict[str, object] = {"Test": list(instruction.test)}
    options = {
        "Interval": instruction.interval,
        "Timeout": instruction.timeout,
        "StartPeriod": instruction.start_period,
        "StartInterval": instruction.start_interval,
        "Retries": instruction.retries,
    }
    healthcheck.update((name, value) for name, value in options.items() if value)
    return instruction.text, config.replace(healthcheck=healthcheck)


def without_times(config: ImageConfig) -> ImageConfig:
    """Return the part of a configuration that two equal builds have in common."""
    history = tuple(replace(entry, created="") for entry in config.history)
    return config.replace(created="", history=history)
