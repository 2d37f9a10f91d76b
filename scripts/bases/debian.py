"""Debian with an apt that works inside as it does on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.bases.bootstrap import apt_settings, bootstrap

if TYPE_CHECKING:
    from pathlib import Path

# In the tree $1: write apt's settings, keep packages from starting services, and remove all traces
# of this machine.
HOOK = r"""
cd "$1"
printf '%s' "$APT_SETTINGS" >etc/apt/apt.conf.d/99mirror
printf '#!/bin/sh\nexit 101\n' >usr/sbin/policy-rc.d
chmod 755 usr/sbin/policy-rc.d
rm -f etc/hostname etc/resolv.conf
"""


def make(out: Path, architecture: str = "") -> None:
    """Write the tarball."""
    settings = {"APT_SETTINGS": apt_settings()}
    bootstrap(out, variant="apt", hooks=[HOOK], environment=settings, architecture=architecture)


def make_i386(out: Path) -> None:
    """Write the tarball of a Debian of 32-bit programs."""
    make(out, "i386")
