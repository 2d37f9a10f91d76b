"""The options of a conversion, and its reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sundog.base.configuration.stores import SharedStores
    from sundog.image.oci.platform import Platform
    from sundog.image.store.image_files import Image
    from sundog.image.store.store import Store
    from sundog.image.transfer.packing import Packing
    from sundog.image.transfer.report import Report, Transfer, WatchingReport


class Progress(Protocol):
    """The reports of a conversion; ``cli/`` shows them."""

    @property
    def report(self) -> WatchingReport:
        """The messages."""

    def stage(self, verb: str, total: int | None) -> Transfer:
        """Tell that a stage begins, which moves ``total`` bytes (None: unknown)."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a conversion; ``storage`` and ``temporary`` are None where the defaults apply.

    ``shared`` has the stores in which to look for an image that ``storage`` lacks, if any.
    ``platform`` is that of the image to take; None: this machine's, or the only one in storage.
    ``complete`` brings what is not here yet of images whose layers are to leave as they came.
    """

    storage: str | None
    temporary: str | None
    keeps_xattrs: bool
    clobbers: bool
    is_dry: bool
    packing: Packing
    shared: SharedStores | None = None
    platform: Platform | None = None
    complete: Callable[[Store, Iterable[Image], Report], None] | None = None
