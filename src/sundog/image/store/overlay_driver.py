"""The ``overlay`` driver: layers stacked by overlayfs, mounted by the user with ``userxattr``.

The start of an instruction copies nothing; its changes are apart from the layers when it ends.
Specification: the kernel's Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import errno
import os

from sundog.base.record.layer_path import LAYER_TREE
from sundog.errors import KernelError, StoreError
from sundog.image.store.snapshot import DraftedSnapshot
from sundog.image.store.tree_work import seal
from sundog.image.store.volumes import make_volumes
from sundog.runtime.container.root import DirectoryRoot, OverlayRoot
from sundog.runtime.steps.step import in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.layers import Layers
    from sundog.image.store.storage import Storage
    from sundog.runtime.container.root import Root


_CERTAIN_LAYERS = 100  # their names fit into one page, which each kernel takes


class OverlayDriver:
    """See ``drivers.Driver``."""

    name = "overlay"

    def __init__(self, storage: Storage, layers: Layers) -> None:
        self._storage = storage
        self._layers = layers

    def root(self, layers: Sequence[LayerId]) -> Root:
        """Return a view of exactly the layers' contents, to be mounted read-only."""
        storage = self._storage
        visible = self._layers.visible(layers)
        if not visible:
            return DirectoryRoot(storage.at(b"empty"))
        if len(visible) == 1:  # overlayfs needs two lower directories; one needs no merging
            return DirectoryRoot(self._layers.tree(visible[0]))
        mixed = any(map(self._layers.is_file, visible))
        return OverlayRoot(storage.at(b"layers"), _lowers(visible), mixed=mixed)

    def begin(
        self, layers: Sequence[LayerId], *, real_sync: bool = False, bare: bool = False
    ) -> OverlaySnapshot:
        """Start an instruction on ``layers``, see ``drivers.Driver``."""
        return OverlaySnapshot(self._storage, self._layers, layers, real_sync=real_sync, bare=bare)

    def check_runnable(self, layers: Sequence[LayerId]) -> None:
        """Mount as many directories as ``ch-run`` will; raise StoreError if that is too many.

        They are the layers, the image's own directory, in whose place stands another one here, and
        the skeleton.
        """
        visible = self._layers.visible(layers)
        if len(visible) <= _CERTAIN_LAYERS:
            return
        lowers = [b"../skeleton-build", *_lowers(visible), b"../skeleton"]
        root = OverlayRoot(self._storage.at(b"layers"), lowers)
        try:
            in_root([root], lambda _: None)
        except KernelError as error:
            if error.errno != errno.E2BIG:
                raise
            raise StoreError(
                f"an image of {len(visible)} layers: more than this kernel stacks", error.hint
            ) from error

    def tree_of_image(
        self,
        layers: Sequence[LayerId],  # noqa: ARG002
        volumes: Sequence[bytes] = (),  # noqa: ARG002
    ) -> bytes:
        """Return b"": images are run from their layers."""
        return b""

    def add_volumes(self, layers: Sequence[LayerId], volumes: Sequence[bytes], own: bytes) -> None:
        """Make those of ``volumes`` that the layers lack in the directory ``own``."""

        def make(roots: list[int]) -> None:
            fd = os.open(own, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            make_volumes(volumes, roots[0], fd)

        if volumes:
            in_root([self.root(layers)], make)


class OverlaySnapshot(DraftedSnapshot):
    """See ``drivers.Snapshot``: the draft has an upper and a work directory."""

    fake_sync = False

    def __init__(
        self,
        storage: Storage,
        layers: Layers,
        below: Sequence[LayerId],
        *,
        real_sync: bool,
        bare: bool,
    ) -> None:
        with storage.faults:
            super().__init__(
                storage,
                layers,
                below,
                bare=bare,
                changes=b"upper",
                extract=seal,
                is_stable=True,
            )
            upper = os.path.join(self._draft, b"upper")
            work = os.path.join(self._draft, b"work")
            os.mkdir(work, 0o700)
            os.mkdir(upper, 0o700)
            os.chmod(upper, layers.root_mode(below))
        # Paths are relative to the layers' directory: those of one mount have to fit into one page.
        base = storage.at(b"layers")
        self.root = OverlayRoot(
            base,
            [*_lowers(layers.visible(below)), b"../" + self._skeleton],
            os.path.relpath(upper, base),
            os.path.relpath(work, base),
            volatile=not real_sync,
        )

    def reopened(self) -> Root:
        """See ``drivers.Snapshot``."""
        root = self.root
        return OverlayRoot(
            root.base, root.layers, root.upper, root.work, volatile=root.volatile, again=True
        )


def _lowers(layers: Sequence[LayerId]) -> list[bytes]:
    return [layer.encode() + LAYER_TREE for layer in layers]
