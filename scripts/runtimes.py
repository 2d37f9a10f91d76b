"""Starts of containers with crun, runc and podman by a user without subordinate IDs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

Json = dict[str, Any]

NEEDS = ("crun", "mount", "podman", "runc", "util-linux")
RUNTIMES = ("crun", "runc")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

CGROUPS = Path("/sys/fs/cgroup")
# crun wants a machine on which cgroup2 alone is mounted.  This shows one to it.
ONLY_CGROUP2 = """
mount --make-rshared /
mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup
exec unshare --user --map-user="$0" --map-group="$1" -- "$2" "${@:3}"
"""


def as_with_cgroup2(argv: Sequence[str], uid: int, gid: int) -> list[str]:
    """Return the words that run ``argv`` as on a machine that has cgroup2 alone."""
    if not (CGROUPS / "unified").exists():
        return list(argv)
    ids = (str(uid), str(gid))
    return ["unshare", "--map-root-user", "--mount", "bash", "-ec", ONLY_CGROUP2, *ids, *argv]


def configuration(root: str, command: Sequence[str], uid: int, gid: int) -> Json:
    """Return the ``config.json`` of a container in which the user ``uid``:``gid`` is root."""

    def mount(destination: str, kind: str, *options: str) -> Json:
        source = destination if kind == "none" else kind
        return {
            "destination": destination,
            "type": kind,
            "source": source,
            "options": ["nosuid", *options],
        }

    def mapping(outside: int) -> list[Json]:
        return [{"containerID": 0, "hostID": outside, "size": 1}]

    kinds = ("pid", "ipc", "uts", "mount", "user")
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": list(command),
            "env": [f"PATH={PATH}", "HOME=/root"],
            "cwd": "/",
            "noNewPrivileges": True,
        },
        "root": {"path": root},
        "hostname": "container",
        "mounts": [
            mount("/proc", "proc"),
            mount("/dev", "tmpfs", "mode=755"),
            mount("/dev/pts", "devpts", "newinstance", "ptmxmode=0666", "mode=0620"),
            mount("/dev/shm", "tmpfs", "nodev", "mode=1777"),
            mount("/sys", "none", "rbind", "ro"),
        ],
        "linux": {
            "uidMappings": mapping(uid),
            "gidMappings": mapping(gid),
            "namespaces": [{"type": kind} for kind in kinds],
        },
    }


def write_bundle(bundle: Path, config: Json) -> None:
    """Make ``config`` that of ``bundle``."""
    (bundle / "config.json").write_text(json.dumps(config))


def runtime(name: str, state: Path, words: Sequence[str], uid: int, gid: int) -> list[str]:
    """Return the words that run a command of crun or runc; ``state`` is its directory."""
    if name == "runc":
        return ["runc", f"--root={state}/runc", *words]
    argv = ["crun", "--cgroup-manager=disabled", f"--root={state}/crun", *words]
    return as_with_cgroup2(argv, uid, gid)


def podman(
    name: str, state: Path, words: Sequence[str], uid: int, gid: int, *, driver: str = "vfs"
) -> list[str]:
    """Return the words that run a command of podman.

    ``name`` is the runtime, and ``state`` is podman's directory.
    """
    subcommand, *rest = words
    argv = [
        *("podman", f"--root={state}/root", f"--runroot={state}/run", f"--storage-driver={driver}"),
        *("--cgroup-manager=cgroupfs", "--events-backend=file", f"--runtime={name}"),
    ]
    if driver == "overlay":
        argv.append("--storage-opt=ignore_chown_errors=true")
    argv.append(subcommand)
    if subcommand == "run":
        argv.append("--network=host")
        if name == "crun":
            argv.append("--cgroups=disabled")
    argv += rest
    return argv if name == "runc" else as_with_cgroup2(argv, uid, gid)


def podman_variables(state: Path) -> dict[str, str]:
    """Return the environment that podman needs beside PATH, and make its directories."""
    runtime_directory = state / "xdg"
    runtime_directory.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        status = state.stat()
        os.chown(runtime_directory, status.st_uid, status.st_gid)
    return {
        "HOME": str(state),
        "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
        "TMPDIR": str(state),
        "XDG_RUNTIME_DIR": str(runtime_directory),
    }
