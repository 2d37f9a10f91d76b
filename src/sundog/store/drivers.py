"""Snapshot drivers: how an instruction gets a writable image, and what it changed becomes a layer.

``overlay`` stacks the layers and finds the changes in the overlay's upper directory; ``copy`` makes
a flat copy, on any file system, and finds the changes by comparison.  Which one is used is a matter
of the file system and the kernel; the layers are the same.
"""

from __future__ import annotations

import os
from typing import Protocol

from sundog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from sundog.container.mounted_tree import MountedTree
    from sundog.container.root import Root
    from sundog.container.supervision import Emulation
    from sundog.layer.inherit import StepOwners
    from sundog.store.layers import LayerId
    from sundog.store.store import Store


DRIVER_VARIABLE = "CH_IMAGE_DRIVER"
DRIVERS = ("overlay", "copy")


class Snapshot(Protocol):
    """A writable image for one instruction; leaving its context discards what is not committed.

    ``owners`` is for the instruction to set, if it knows who is to own what it made.
    """

    owners: StepOwners | None

    @property
    def root(self) -> Root:
        """What the instruction works on."""

    @property
    def fake_sync(self) -> bool:
        """Whether a RUN is to be given syncs that do nothing; else the root sees to that."""

    def emulation(self, mounted: Sequence[MountedTree]) -> Emulation:
        """Return what a supervisor starts from; what it records goes to ``owners``."""

    def commit(self, instruction: str = "") -> LayerId | None:
        """Make a layer of what ``instruction`` changed; None if nothing was.

        Nothing may work on ``root`` any more.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Driver(Protocol):
    """What a store asks of its driver.  Layers are those of an image, bottom first."""

    name: str

    def root(self, layers: Sequence[LayerId]) -> Root:
        """Return a view of exactly what the layers hold, to be read only."""

    def begin(
        self, layers: Sequence[LayerId], *, real_sync: bool = False, bare: bool = False
    ) -> Snapshot:
        """Start an instruction on ``layers``; with ``real_sync`` its syncs are real.

        With ``bare`` the image has no mount points but its own, for what runs nothing in it.
        """

    def tree_of_image(self, layers: Sequence[LayerId], volumes: Sequence[bytes] = ()) -> bytes:
        """Return the ID of the flattened tree from which an image is run; b"" if it needs none.

        It has the directories ``volumes``.
        """

    def add_volumes(self, layers: Sequence[LayerId], volumes: Sequence[bytes], own: bytes) -> None:
        """Make ``volumes``, as far as they are missing, in what ``own`` puts on top of the layers.

        Of no effect where ``tree_of_image`` has them.
        """


def choose_driver(store: Store, name: str | None) -> Driver:
    """Return the driver ``name``, else the one that the environment names, else one that works.

    Raises UsageError on an unknown name.
    """
    name = name or os.environ.get(DRIVER_VARIABLE) or _working_driver(store)
    if name == "overlay":
        from sundog.store.overlay_driver import OverlayDriver  # noqa: PLC0415

        return OverlayDriver(store)
    if name == "copy":
        from sundog.store.copy_driver import CopyDriver  # noqa: PLC0415

        return CopyDriver(store)
    raise UsageError(f"unknown storage driver: {name}", f"known: {', '.join(DRIVERS)}")


def _working_driver(store: Store) -> str:
    """Return what the probe found, on this kernel and file system, now or some time before."""
    device = os.stat(store.path).st_dev
    note = store.at(b"probe", os.fsencode(f"{os.uname().release}-{device:x}"))
    try:
        with open(note, encoding="utf-8") as file:
            name = file.readline().strip()
    except FileNotFoundError:
        name = ""
    if name not in DRIVERS:
        from sundog.store.probe import probe  # noqa: PLC0415 - seldom needed

        with store.faults:
            place = store.scratch.new()
            name, reason = probe(place)
            making = store.scratch.name()
            with open(making, "w", encoding="utf-8") as file:
                file.write(f"{name}\n{reason}\n")
            os.rename(making, note)
            store.scratch.dispose(place)
    return name
