"""The emulators for images of other machines, each looked for once in a build."""

from __future__ import annotations

import os
from functools import cache

from sundog.errors import BuildError, SundogError
from sundog.runtime.container.binfmt import needed_emulator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.binfmt import Emulator


@cache
def emulator_for(machine: str) -> Emulator | None:
    """Return the emulator that ``machine`` needs here, or None; raise BuildError."""
    try:
        return needed_emulator(machine, os.environb)
    except SundogError as error:
        raise BuildError(error.message, error.hint) from error
