"""Snapshot drivers: how an instruction gets a writable image, and what it changed becomes a layer.

``overlay`` stacks the layers, and finds the changes in the overlay's upper directory.  ``copy``
makes a flat copy, on any file system, and finds the changes by comparison.  The file system and the
kernel decide which one is used; the layers are the same.
"""

from __future__ import annotations

import os
from typing import Protocol

from sundog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from sundog.image.layer.inherit import StepOwners
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.layers import Layers
    from sundog.image.store.storage import Storage
    from sundog.runtime.container.mounted_tree import MountedTree
    from sundog.runtime.container.root import Root
    from sundog.runtime.supervision.emulation import Emulation


DRIVER_VARIABLE = "CH_IMAGE_DRIVER"
DRIVERS = ("overlay", "copy")


class Snapshot(Protocol):
    """A writable image for one instruction; leaving its context discards uncommitted changes.

    The instruction sets ``owners`` if it knows the owners of the files that it made.
    """

    owners: StepOwners | None

    @property
    def root(self) -> Root:
        """The root that the instruction works on."""

    @property
    def fake_sync(self) -> bool:
        """Tell whether RUN's syncs must be faked; if not, they are real, or ignored by ``root``."""

    def reopened(self) -> Root:
        """Return ``root`` for a further mount, with what was written to it; no mount is left."""

    def emulation(self, mounted: Sequence[MountedTree], *, strict: bool) -> Emulation:
        """Return what a supervisor starts with; the caller sets ``owners`` to its records."""

    def mounted_at(self, place: bytes) -> MountedTree:
        """Return what a supervisor has to know if ``root`` is mounted at ``place``."""

    def commit(self, instruction: str = "") -> LayerId | None:
        """Make a layer of what ``instruction`` changed; return None if it changed nothing.

        No process may use ``root`` any more.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Driver(Protocol):
    """The protocol of a store's driver.  ``layers`` are those of an image, bottom first."""

    name: str

    def root(self, layers: Sequence[LayerId]) -> Root:
        """Return a view of exactly the layers' contents, to be mounted read-only."""

    def begin(
        self, layers: Sequence[LayerId], *, real_sync: bool = False, bare: bool = False
    ) -> Snapshot:
        """Start an instruction on ``layers``; with ``real_sync`` its syncs are real.

        With ``bare`` the image has only its own mount points, for an instruction that runs nothing.
        """

    def check_runnable(self, layers: Sequence[LayerId]) -> None:
        """Raise StoreError if ``ch-run`` could not mount an image of so many ``layers``."""

    def tree_of_image(self, layers: Sequence[LayerId], volumes: Sequence[bytes] = ()) -> bytes:
        """Return the ID of the flattened tree from which an image is run; b"" if it needs none.

        The tree has the directories ``volumes``.
        """

    def add_volumes(self, layers: Sequence[LayerId], volumes: Sequence[bytes], own: bytes) -> None:
        """Make those of ``volumes`` that the layers lack in ``own``, the image's topmost layer.

        Does nothing if the tree of ``tree_of_image`` has them.
        """


def choose_driver(storage: Storage, layers: Layers, name: str | None) -> Driver:
    """Return the driver ``name``, or else the one in the environment, or else one that works.

    Raises UsageError on an unknown name.
    """
    name = name or os.environ.get(DRIVER_VARIABLE) or _working_driver(storage)
    if name == "overlay":
        from sundog.image.store.overlay_driver import OverlayDriver

        return OverlayDriver(storage, layers)
    if name == "copy":
        from sundog.image.store.copy_driver import CopyDriver

        return CopyDriver(storage, layers)
    raise UsageError(f"unknown storage driver: {name}", f"known: {', '.join(DRIVERS)}")


def _working_driver(storage: Storage) -> str:
    """Return the driver that the probe found for this kernel and file system, now or earlier."""
    device = os.stat(storage.path).st_dev
    note = storage.at(b"probe", os.fsencode(f"{os.uname().release}-{device:x}"))
    try:
        with open(note, encoding="utf-8") as file:
            name = file.readline().strip()
    except FileNotFoundError:
        name = ""
    if name not in DRIVERS:
        from sundog.image.store.probe import probe

        with storage.faults:
            place = storage.scratch.new()
            name, reason = probe(place)
            storage.write_file(note, f"{name}\n{reason}\n".encode())
            storage.scratch.dispose(place)
    return name
