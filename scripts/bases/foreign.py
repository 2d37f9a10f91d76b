"""Debian's packages of other architectures, unpacked: no program of theirs runs here."""

from __future__ import annotations

import os
import tarfile
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.bases import bootstrap, busybox
from scripts.bases.debian import HOOK

if TYPE_CHECKING:
    from collections.abc import Callable

# What must be there before the first script of a package runs.
FIRST = """\
for name in bin lib sbin; do test -e $name || ln -s usr/$name $name; done
for name in passwd group; do
    test ! -e usr/share/base-passwd || cp usr/share/base-passwd/$name.master etc/$name
done
"""
NEEDS = tuple(dict.fromkeys([*bootstrap.needs(), *busybox.NEEDS]))


def debian(architecture: str) -> Callable[[Path], None]:
    """Return the maker of a tree of the essential packages and apt, none of which is configured.

    `apt-get install '?essential' apt` in it configures them.
    """
    return partial(_extract, architecture, ("?essential", "apt"))


def busybox_of(architecture: str) -> Callable[[Path], None]:
    """Return the maker of a tree of static programs, as `busybox` is one."""

    def make(out: Path) -> None:
        with tempfile.TemporaryDirectory() as directory:
            whole = Path(directory) / "whole.tar"
            _extract(architecture, ("busybox-static",), whole)
            with tarfile.open(whole) as tar:
                member = tar.extractfile("./usr/bin/busybox")
                assert member is not None
                busybox.write(out, member.read())

    return make


def _extract(architecture: str, packages: tuple[str, ...], out: Path) -> None:
    """Write the tarball of `packages` and those that they need.  Raises WorkshopError."""
    mode = "root" if os.geteuid() == 0 else "fakechroot"
    options = [f"--mode={mode}", "--variant=extract", f"--customize-hook={HOOK}{FIRST}"]
    options += [f"--architectures={architecture}", *(f"--include={each}" for each in packages)]
    options += [f"--dpkgopt=path-exclude=/usr/share/{pattern}" for pattern in bootstrap.LEFT_OUT]
    # Only the suite itself: mirrors get updates of other architectures later than this machine's.
    source = f"deb {bootstrap.mirror()} {bootstrap.SUITE} main"
    settings = {"APT_SETTINGS": bootstrap.apt_settings()}
    bootstrap.mmdebstrap(options, out, [source], settings)
