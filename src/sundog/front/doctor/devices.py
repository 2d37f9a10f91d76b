"""The devices that CDI describes on this machine: read each file, and open each node."""

from __future__ import annotations

import os

from sundog.base.configuration.holding import read_configuration
from sundog.base.configuration.keys import CDI_DIRECTORIES
from sundog.errors import Hint, NotHere, SundogError
from sundog.front.doctor.outcome import Check
from sundog.runtime.cdi.directories import cdi_directories
from sundog.runtime.cdi.registry import device_names, edits_for_all
from sundog.runtime.devices.injection import BIND_MOUNT_TYPES, NO_ACCESS

_NONE_HINT = Hint(
    "GPUs need one",
    command="mkdir -p ~/.config/cdi && "
    "nvidia-ctk cdi generate --format=json >~/.config/cdi/nvidia.json",
)
_SHOWN_LIMIT = 5


def _devices() -> str:
    said = read_configuration(os.environb).said(CDI_DIRECTORIES)
    directories = cdi_directories(None, os.environb.get, said)
    faults: list[str] = []
    names = device_names(directories, faults.append)
    if not names and not faults:
        places = ", ".join(map(os.fsdecode, directories))
        raise NotHere(f"no CDI specification in {places}", _NONE_HINT)
    edits = edits_for_all(directories, lambda _: None)
    for mount in edits.mounts:
        if mount.mount_type in BIND_MOUNT_TYPES and not os.path.exists(mount.host_path):
            faults.append(f"{os.fsdecode(mount.host_path)} is missing")
    for node in edits.device_nodes:
        if node.permissions != NO_ACCESS:
            faults += _opened(node.host_path, node.permissions)
    if faults:
        raise SundogError(
            "; ".join(faults[:_SHOWN_LIMIT]),
            "after an update of a driver, generate its CDI specification again; a device "
            "that can't be opened belongs to another job, or to a group that you are not in",
        )
    shown = ", ".join(names[:_SHOWN_LIMIT])
    return f"{shown} and {len(names) - _SHOWN_LIMIT} more" if names[_SHOWN_LIMIT:] else shown


def _opened(path: bytes, permissions: str) -> list[str]:
    """Open a device node; return what is wrong with it."""
    mode = os.O_RDONLY if permissions == "r" else os.O_RDWR
    try:
        os.close(os.open(path, mode | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError as error:
        return [f"{os.fsdecode(path)}: {error.strerror}"]
    return []


DEVICES = Check("devices (CDI)", _devices)
