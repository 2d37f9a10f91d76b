"""Flux, as somebody has installed it: `make flux`.  No distribution that we use has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.place import installed

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "SUNDOG_FLUX"  # names the directory of its programs, for the tests


def programs(prefix: Path) -> Path:
    """Return the directory of the programs of an installation.  Raises WorkshopError."""
    usage = "make flux FLUX=DIR, with the prefix of an installation of flux-core"
    installed(prefix, "Flux", "bin/flux", usage)
    return prefix / "bin"
