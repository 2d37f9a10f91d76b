"""Debian of 32-bit programs, for a machine with x86-64."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from scripts.bases.bootstrap import LEFT_OUT, SUITE, apt_settings, mmdebstrap
from scripts.bases.debian import HOOK
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
    options = ["--mode=root", "--variant=apt", "--architectures=i386", f"--customize-hook={HOOK}"]
    options += [f"--dpkgopt=path-exclude=/usr/share/{pattern}" for pattern in LEFT_OUT]
    mmdebstrap(options, out, [source], {"APT_SETTINGS": apt_settings()})
