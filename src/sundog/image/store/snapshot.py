"""The common part of both drivers' snapshots: a draft becomes a layer, or is discarded."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from sundog.base.record.layer_path import LayerPath
    from sundog.image.layer.inherit import StepOwners
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.layer_info import LayerInfo
    from sundog.image.store.layers import Layers
    from sundog.image.store.storage import Storage
    from sundog.runtime.container.mounted_tree import MountedTree
    from sundog.runtime.supervision.emulation import Emulation

    # Takes the draft, the layers below, the skeleton and the owners that the instruction knows.
    Extract = Callable[[bytes, Sequence[LayerPath], bytes, StepOwners | None], LayerInfo | None]


class DraftedSnapshot:
    """See ``drivers.Snapshot``; each driver fills the draft and makes ``root`` from it.

    ``below`` are the image's layers.  An instruction's changes end up in the directory ``changes``
    of the draft; ``extract`` runs in the worker and makes a layer from them.  ``is_stable`` is as
    in ``Emulation``.
    """

    def __init__(
        self,
        storage: Storage,
        layers: Layers,
        below: Sequence[LayerId],
        *,
        bare: bool,
        changes: bytes,
        extract: Extract,
        is_stable: bool,
    ) -> None:
        self._changes = changes
        self._extract = extract
        self._is_stable = is_stable
        self._storage = storage
        self._layers = layers
        self._below = below
        self._skeleton = b"empty" if bare else b"skeleton-build"
        self._draft = storage.scratch.new()
        self.owners: StepOwners | None = None

    def emulation(self, mounted: Sequence[MountedTree], *, strict: bool) -> Emulation:
        """Return what a supervisor starts with; ``mounted`` is mounted in the container.

        With ``strict``, reading and writing obey owners and modes.
        """
        from sundog.runtime.supervision.emulation import Emulation

        recorded = self._layers.paths(self._below)
        changes = os.path.join(self._draft, self._changes)
        return Emulation(
            recorded,
            changes,
            is_stable=self._is_stable,
            mounted=mounted,
            strict=strict,
            has_ports=True,
        )

    def mounted_at(self, place: bytes) -> MountedTree:
        """Return what a supervisor has to know if ``root`` is mounted at ``place``."""
        from sundog.runtime.container.mounted_tree import MountedTree

        changes = os.path.join(self._draft, self._changes)
        below = self._layers.paths(self._below)
        return MountedTree(place, below, tree=changes, is_upper=True)

    def commit(self, instruction: str = "") -> LayerId | None:
        """Make a layer of the changes; return None if there are none."""
        storage = self._storage
        with storage.faults:
            paths = self._layers.paths(self._below)
            skeleton = storage.at(self._skeleton)
            info = storage.worker.call(self._extract, self._draft, paths, skeleton, self.owners)
            if info is None:
                return None
            info = info.made_by(instruction, self._below)
            return self._layers.add_own(self._draft, info)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._storage.scratch.dispose(self._draft)
