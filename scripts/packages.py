"""Debian packages that the workshop needs: root installs them, a user is told their names."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from scripts.place import WorkshopError

if TYPE_CHECKING:
    from collections.abc import Sequence

# The environment of packaged programs. They are written for Debian's python3, so no pyenv or venv
# may come before it in PATH. Some are in directories that an ordinary user's PATH lacks.
TOOLS = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
INSTALL = ("apt-get", "install", "-y", "--no-install-recommends")


def missing(packages: Sequence[str]) -> list[str]:
    """Return the packages that are not installed."""
    query = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages]
    if shutil.which("dpkg-query") is None:
        raise WorkshopError(
            "this needs Debian's packages (or those of a derivative): no dpkg-query in PATH"
        )
    answer = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    installed = {line.split()[0] for line in answer.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in installed]


def require(packages: Sequence[str]) -> None:
    """Install missing packages as root; as anyone else, raise WorkshopError with the command."""
    wanted = missing(packages)
    if not wanted:
        return
    if os.geteuid() != 0:
        raise WorkshopError(
            f"missing on this machine: {' '.join(wanted)}\n"
            f"hint: as root: {' '.join(INSTALL)} {' '.join(wanted)}"
        )
    print(f"  installing with apt-get: {' '.join(wanted)}", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    patient = ("-qq", "-o", "DPkg::Lock::Timeout=600")
    for command in (
        ["apt-get", *patient, "update"],
        [INSTALL[0], *patient, *INSTALL[1:], *wanted],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
            raise WorkshopError(f"{' '.join(command)}: exit status {done.returncode}\n{tail}")


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the installed packages' upstream versions."""
    query = ["dpkg-query", "-W", "-f", "${Package} ${source:Upstream-Version}\n", *packages]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())
