"""What surrounds Sundog on this machine: the user, temporary directories, programs, proxies."""

from __future__ import annotations

import os
import shutil
import tempfile

from sundog.doctor.devices import DEVICES
from sundog.doctor.outcome import Check, NotHere
from sundog.errors import SundogError
from sundog.kernel.refusal import file_system_of

_LITTLE = 100 << 20  # bytes
# What one of these programs is for.
_PROGRAMS = (
    (("mksquashfs", "tar2sqfs"), "ch-convert makes SquashFS files with one of them"),
    (("git",), "ch-image build takes contexts from Git with it"),
    (("rsync",), "RSYNC of a Dockerfile copies with it"),
    (("ssh-agent",), "ch-image build --ssh with a key starts it"),
    (("ldd",), "ch-fromhost finds what a provider of libfabric needs with it"),
)
_MUNGE_SOCKET = "/run/munge/munge.socket.2"
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def _user() -> str:
    who = f"uid {os.getuid()}, gid {os.getgid()}"
    name = os.environ.get("USER")
    if not name:
        raise NotHere(f"$USER is not set ({who}); Sundog takes the name of the account")
    return f"{name}, {who}"


def _temporary() -> str:
    directory = os.environ.get("TMPDIR") or "/tmp"
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(b"1")
        file.flush()
    state = os.statvfs(directory)
    free = state.f_bavail * state.f_frsize
    text = f"{directory} on {file_system_of(os.fsencode(directory))}: {free >> 20} MiB free"
    if free < _LITTLE:
        raise SundogError(f"too little space: {text}", "name another directory by $TMPDIR")
    return text


def _programs() -> str:
    missing = [
        f"no {' or '.join(names)}: {purpose}"
        for names, purpose in _PROGRAMS
        if not any(map(shutil.which, names))
    ]
    if missing:
        raise NotHere("; ".join(missing))
    return ", ".join(name for names, _ in _PROGRAMS for name in names if shutil.which(name))


def _proxies() -> str:
    found = [name for lower in _PROXIES for name in (lower, lower.upper()) if os.environ.get(name)]
    return f"set: {', '.join(found)}" if found else "none"


def _slurm() -> str:
    srun = shutil.which("srun")
    if srun is None:
        raise NotHere("no srun in $PATH")
    job = os.environ.get("SLURM_JOB_ID")
    where = f"in job {job}" if job else "not in a job"
    munge = "there" if os.path.exists(_MUNGE_SOCKET) else "not there"
    return f"{srun}; {where}; munge's socket is {munge}"


def _subordinate_ids() -> str:
    return "neither /etc/subuid nor a setuid helper is needed"


HOST = (
    Check("user", _user, in_child=False),
    Check("temporary directory", _temporary, in_child=False),
    Check("programs", _programs, in_child=False),
    Check("proxies", _proxies, in_child=False),
    Check("Slurm", _slurm, in_child=False),
    Check("subordinate IDs", _subordinate_ids, in_child=False),
    DEVICES,
)
