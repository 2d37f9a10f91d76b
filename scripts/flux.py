"""Flux, as somebody has installed it: `make flux`.  No distribution that we use has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.place import WorkshopError

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "SUNDOG_FLUX"  # names the directory of its programs, for the tests


def programs(prefix: Path) -> Path:
    """Return the directory of the programs of an installation.  Raises WorkshopError."""
    directory = prefix / "bin"
    if not (directory / "flux").is_file():
        raise WorkshopError(
            f"no Flux in {prefix}: no file bin/flux\n"
            "hint: make flux FLUX=DIR, with the prefix of an installation of flux-core"
        )
    return directory
