"""--device and --gpus of ``sundog run``, and $NVIDIA_VISIBLE_DEVICES, as devices of ``ch-run``.

Specification: podman-run(1) and docker-run(1); for the variable, NVIDIA's container toolkit.
"""

from __future__ import annotations

import os

from sundog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sundog.front.options import Line

GPU_VARIABLE = "NVIDIA_VISIBLE_DEVICES"
_GPU_KIND = "nvidia.com/gpu"
_ALL = ("all", "-1")
_NO_GPUS = ("", "none", "void")
_GPUS_LIMIT = 256
_GPUS_HINT = "write --gpus all, --gpus 2, or --gpus device=0"
_OTHER_GPU_KEYS = ("capabilities", "driver", "options")


def device_options(line: Line, variables: Mapping[str, str]) -> list[str]:
    """Return the options of ``ch-run`` for the devices of ``line``.

    ``variables`` are those that the user has chosen for the container.  Raises UsageError.
    """
    words = [text for text in line.all("device") if not _is_same_device(text)]
    gpus = line.last("gpus")
    names = _gpus(gpus) if gpus is not None else _visible(variables.get(GPU_VARIABLE, ""))
    return [f"--device={word}" for word in [*words, *names]]


def _is_same_device(value: str) -> bool:
    """Tell whether a device of the host keeps its name: all are in the container's /dev.

    One that does not exist is left to ``ch-run``, which says so.
    """
    source, _, rest = value.partition(":")
    target = rest.partition(":")[0] or source
    same = target == source or not target.startswith("/")
    return same and source.startswith("/dev/") and os.path.lexists(source)


def _gpus(text: str) -> list[str]:
    """Return the devices of --gpus ``text``."""
    wanted: list[str] = []
    for field in text.replace('"', "").split(","):
        key, equals, value = field.partition("=")
        if equals and key in _OTHER_GPU_KEYS:
            continue
        if equals and key not in ("device", "count"):
            raise UsageError(f"--gpus {text}: no such key: {key}", _GPUS_HINT)
        if key == "device":
            wanted.append(value)
        elif wanted and not equals:
            wanted.append(field)  # device=0,1
        else:
            wanted += _counted(value if equals else field, text)
    if not wanted:
        raise UsageError(f"--gpus {text}: no GPU", _GPUS_HINT)
    return _names(wanted)


def _counted(value: str, text: str) -> list[str]:
    """Return the first ``value`` GPUs, or all."""
    if value in _ALL:
        return ["all"]
    if not value.isdecimal() or not 0 < len(value) < 4 or int(value) > _GPUS_LIMIT:
        raise UsageError(f"--gpus {text}: not a number of GPUs: {value}", _GPUS_HINT)
    return [str(number) for number in range(int(value))]


def _visible(text: str) -> list[str]:
    """Return the devices of the variable's value ``text``."""
    return [] if text in _NO_GPUS else _names(text.split(","))


def _names(devices: Iterable[str]) -> list[str]:
    """Return the names of GPUs, given by number, UUID or name, for CDI."""
    return [f"{_GPU_KIND}={device}" for device in dict.fromkeys(devices) if device]
