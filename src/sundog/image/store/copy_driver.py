"""The ``copy`` driver: a flat copy for each instruction, on any file system.

    trees/ID/   the merged layers of an image, from which ``ch-run`` runs it

Inode, change time and size tell what an instruction changed.  Copies share their data with the
layers where the file system supports it (reflinks).
"""

from __future__ import annotations

import os

from sundog.image.store.layer_ids import layer_id
from sundog.image.store.snapshot import DraftedSnapshot
from sundog.image.store.tree_work import (
    extract_changes,
    flatten_layers,
    make_directory,
    prepare_copy,
    rename,
)
from sundog.image.store.volumes import make_volumes_of_tree
from sundog.runtime.container.root import DirectoryRoot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.layers import Layers
    from sundog.image.store.storage import Storage
    from sundog.runtime.container.root import Root


class CopyDriver:
    """See ``drivers.Driver``."""

    name = "copy"

    def __init__(self, storage: Storage, layers: Layers) -> None:
        self._storage = storage
        self._layers = layers

    def root(self, layers: Sequence[LayerId]) -> DirectoryRoot:
        """Return a view of exactly the layers' contents, to be mounted read-only."""
        storage = self._storage
        visible = self._layers.visible(layers)
        if not visible:
            return DirectoryRoot(storage.at(b"empty"))
        if len(visible) == 1 and not self._layers.is_file(visible[0]):
            return DirectoryRoot(self._layers.tree(visible[0]))
        tree = self._flattened(layers, skeleton=None)
        # No image is run from this tree.
        storage.unreferenced.add(storage.at(b"trees", tree), is_own=True)
        copied = [self._layers.tree(layer) for layer in visible]
        return DirectoryRoot(storage.at(b"trees", tree), copied=copied)

    def begin(
        self, layers: Sequence[LayerId], *, real_sync: bool = False, bare: bool = False
    ) -> CopySnapshot:
        """Start an instruction on ``layers``, see ``drivers.Driver``."""
        return CopySnapshot(self._storage, self._layers, layers, real_sync=real_sync, bare=bare)

    def check_runnable(self, layers: Sequence[LayerId]) -> None:
        """Do nothing: the flattened tree is mounted, and no layers."""

    def tree_of_image(self, layers: Sequence[LayerId], volumes: Sequence[bytes] = ()) -> bytes:
        """Return the ID of the flattened tree from which an image is run; make it if need be."""
        return self._flattened(layers, skeleton=self._storage.at(b"skeleton"), volumes=volumes)

    def add_volumes(self, layers: Sequence[LayerId], volumes: Sequence[bytes], own: bytes) -> None:
        """Do nothing: the flattened tree has these directories."""

    def _flattened(
        self, layers: Sequence[LayerId], skeleton: bytes | None, volumes: Sequence[bytes] = ()
    ) -> bytes:
        storage = self._storage
        identity = [*layers, *(f"volume {volume.hex()}" for volume in volumes)]
        tree = layer_id("flattened", "bare" if skeleton is None else "to run", *identity).encode()
        target = storage.at(b"trees", tree)
        storage.hold()
        if os.path.isdir(target):
            return tree
        with storage.faults:
            draft = storage.scratch.name()
            storage.worker.call(flatten_layers, self._layers.paths(layers), skeleton, draft)
            if skeleton is not None:
                # A mount point for the image's own /ch, unless the layers have something there.
                ch = os.path.join(draft, b"ch")
                if not os.path.lexists(ch):
                    storage.worker.call(make_directory, ch)
            if volumes:
                storage.worker.call(make_volumes_of_tree, volumes, draft)
            storage.device.sync()
            # In the worker, rename works without write permission for the root of the tree.
            if storage.place(draft, target, lambda old, new: storage.worker.call(rename, old, new)):
                storage.unreferenced.add(target, is_own=skeleton is None)
        return tree


class CopySnapshot(DraftedSnapshot):
    """See ``drivers.Snapshot``: the draft has a copy, and a scan of it from before the step."""

    def __init__(
        self,
        storage: Storage,
        layers: Layers,
        below: Sequence[LayerId],
        *,
        real_sync: bool,
        bare: bool,
    ) -> None:
        self.fake_sync = not real_sync
        with storage.faults:
            super().__init__(
                storage,
                layers,
                below,
                bare=bare,
                changes=b"work",
                extract=extract_changes,
                is_stable=False,
            )
            paths = layers.paths(below)
            storage.worker.call(prepare_copy, self._draft, paths, storage.at(self._skeleton))
        copied = [path.tree for path in paths]
        self.root = DirectoryRoot(os.path.join(self._draft, b"work"), copied=copied)

    def reopened(self) -> Root:
        """See ``drivers.Snapshot``: a directory can be mounted again."""
        return self.root
