"""What the snapshots of both drivers have in common: from a draft to a layer, or to nothing."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from sundog.container.mounted_tree import MountedTree
    from sundog.container.supervision import Emulation
    from sundog.layer.inherit import StepOwners
    from sundog.record.layer_path import LayerPath
    from sundog.store.layer_info import LayerInfo
    from sundog.store.layers import LayerId
    from sundog.store.store import Store

    # Of the draft, the layers, the skeleton, and what the instruction knows of owners.
    Extract = Callable[[bytes, Sequence[LayerPath], bytes, StepOwners | None], LayerInfo | None]


class DraftedSnapshot:
    """See ``drivers.Snapshot``; each driver furnishes the draft, and makes ``root`` of it.

    ``changes`` is the directory in the draft that comes to hold what an instruction changes, and
    ``extract`` makes a layer of that, in the worker. ``is_stable`` is as in ``Emulation``.
    """

    def __init__(
        self,
        store: Store,
        layers: Sequence[LayerId],
        *,
        bare: bool,
        changes: bytes,
        extract: Extract,
        is_stable: bool,
    ) -> None:
        self._changes = changes
        self._extract = extract
        self._is_stable = is_stable
        self._store = store
        self._layers = layers
        self._skeleton = b"empty" if bare else b"skeleton-build"
        self._draft = store.scratch.new()
        self.owners: StepOwners | None = None

    def emulation(self, mounted: Sequence[MountedTree]) -> Emulation:
        """Return what a supervisor starts from, where ``mounted`` is mounted in it."""
        from sundog.container.supervision import Emulation  # noqa: PLC0415

        layers = self._store.layers.paths(self._layers)
        changes = os.path.join(self._draft, self._changes)
        return Emulation(layers, changes, is_stable=self._is_stable, mounted=mounted)

    def commit(self, instruction: str = "") -> LayerId | None:
        """Make a layer of what was changed; None if nothing was."""
        store = self._store
        with store.faults:
            paths = store.layers.paths(self._layers)
            skeleton = store.at(self._skeleton)
            info = store.worker.call(self._extract, self._draft, paths, skeleton, self.owners)
            if info is None:
                return None
            info = info.made_by(instruction, self._layers)
            return store.layers.add_own(self._draft, info)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.scratch.dispose(self._draft)
