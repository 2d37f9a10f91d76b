"""What a conversion is asked for, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sundog.image.transfer.packing import Packing
    from sundog.image.transfer.report import Transfer, WatchingReport


class Progress(Protocol):
    """What a conversion tells; ``cli/`` shows it."""

    @property
    def report(self) -> WatchingReport:
        """The messages."""

    def stage(self, verb: str, total: int | None) -> Transfer:
        """Tell that a stage begins, which moves ``total`` bytes (None: unknown)."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to convert; ``storage`` and ``temporary`` are None where the defaults apply."""

    storage: str | None
    temporary: str | None
    keeps_xattrs: bool
    clobbers: bool
    is_dry: bool
    packing: Packing
