"""Checks of Sundog's surroundings: the user, temporary directories, architectures."""

from __future__ import annotations

import os
import tempfile

from sundog.base.kernel.numbers import ABIS
from sundog.base.kernel.refusal import file_system_of
from sundog.errors import EmulatorMissing, NotHere, SundogError
from sundog.front.doctor.devices import DEVICES
from sundog.front.doctor.outcome import Check
from sundog.runtime.container.binfmt import INSTALL, needed_emulator
from sundog.runtime.process.emulator import MACHINES

_LITTLE = 100 << 20  # bytes
_ELSEWHERE = "name another directory by $TMPDIR"
_SUBORDINATE = ("/etc/subuid", "/etc/subgid")


def _user() -> str:
    who = f"uid {os.getuid()}, gid {os.getgid()}"
    if 0 in (os.getuid(), os.getgid()):
        who += " (Sundog needs no root: an ordinary account does)"
    name = os.environ.get("USER")
    if not name:
        raise NotHere(f"$USER is not set ({who}); Sundog takes the name of the account")
    return f"{name}, {who}"


def _temporary() -> str:
    directory = os.environ.get("TMPDIR", "")
    directory = directory if os.path.isdir(directory) else "/tmp"
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"1")
            file.flush()
    except OSError as error:
        raise SundogError(f"can't write to {directory}: {error.strerror}", _ELSEWHERE) from None
    state = os.statvfs(directory)
    free = state.f_bavail * state.f_frsize
    text = f"{directory} on {file_system_of(os.fsencode(directory))}: {free >> 20} MiB free"
    if free < _LITTLE:
        raise SundogError(f"too little space: {text}", _ELSEWHERE)
    return text


def _architectures() -> str:
    """List the other machines whose programs run here, and those whose emulator is of no use."""
    own, found, failure = ABIS.get(os.uname().machine, ()), [], None
    for machine in MACHINES:
        if machine in own:
            continue
        try:
            emulator = needed_emulator(machine, os.environb)
        except EmulatorMissing:
            continue
        except SundogError as error:
            failure = error
        else:
            found.append(f"{machine} (registered for all users)" if emulator is None else machine)
    if found:
        return f"programs of {', '.join(found)} run here"
    if failure is not None:
        raise NotHere(failure.message, failure.hint)
    raise NotHere(
        "no emulator of QEMU: you can pull images of other architectures, but not run them",
        INSTALL,
    )


def _subordinate_ids() -> str:
    """Say whether this user is in /etc/subuid, and that Sundog does not need it."""
    name = os.environ.get("USER") or str(os.getuid())
    lists = [path for path in _SUBORDINATE if _names(path, name)]
    there = f"{name} is in {' and '.join(lists)}" if lists else f"{name} has none"
    return f"{there}; Sundog needs none, and no setuid helper"


def _names(path: str, user: str) -> bool:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return any(line.partition(":")[0] in (user, str(os.getuid())) for line in file)
    except OSError:
        return False


HOST = (
    Check("user", _user, in_child=False),
    Check("subordinate IDs", _subordinate_ids, in_child=False),
    Check("temporary directory", _temporary, in_child=False),
    Check("other architectures", _architectures, in_child=False),
    DEVICES,
)
