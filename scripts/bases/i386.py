"""Debian of 32-bit programs, for a machine with x86-64."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from scripts.bases.bootstrap import LEFT_OUT, SUITE, apt_settings
from scripts.bases.debian import HOOK
from scripts.packages import TOOLS
from scripts.place import WorkshopError

if TYPE_CHECKING:
    from pathlib import Path

NEEDS = ("arch-test", "mmdebstrap")
# Only the suite itself: mirrors get the updates of other architectures later than this machine's.
FIND = ("apt-get", "indextargets", "--format", "$(REPO_URI)", f"Codename: {SUITE}")


def make(out: Path) -> None:
    """Write the tarball, as root."""
    mirrors = subprocess.run(FIND, capture_output=True, text=True, check=True).stdout.split()
    if not mirrors:
        raise WorkshopError(f"no mirror of {SUITE}\nhint: apt-get update")
    source = f"deb {mirrors[0]} {SUITE} main"
    options = ["--quiet", "--mode=root", "--variant=apt", "--format=tar", "--architectures=i386"]
    options += [f"--dpkgopt=path-exclude=/usr/share/{pattern}" for pattern in LEFT_OUT]
    done = subprocess.run(
        ["mmdebstrap", *options, f"--customize-hook={HOOK}", SUITE, str(out), source],
        env=os.environ | TOOLS | {"APT_SETTINGS": apt_settings()},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise WorkshopError(f"mmdebstrap: exit status {done.returncode}\n{tail}")
