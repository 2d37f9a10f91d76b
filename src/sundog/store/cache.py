"""``cache/``: the build cache, from the key of an instruction to the layer that it made.

An entry is a symlink to the layer: written and read by one call each, atomic, and dangling once the
layer is gone.  An instruction that changed no file has an entry too, to ``none/LAYER`` with the
topmost layer that it was done on, without which the entry is of no use.  The image's configuration
needs no entry: a build computes it from the instructions each time.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from sundog.kernel.files import symlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from sundog.store.layers import LayerId, Layers
    from sundog.store.storage import Storage

_LAYERS = "../layers/"
_NO_LAYER = "none/"


@dataclass(frozen=True, slots=True)
class CacheHit:
    """What an instruction made: a layer, or None where it changed no file."""

    layer: LayerId | None


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """An entry: ``needs`` is the layer without which it is useless, "" for one that needs none.

    ``is_result`` tells whether that is the layer which the instruction made: then the entry keeps
    it.
    """

    key: str
    needs: LayerId
    is_result: bool


class Cache:
    """The build cache of one store."""

    def __init__(self, storage: Storage, layers: Layers) -> None:
        self._storage = storage
        self._layers = layers

    def get(self, key: str) -> CacheHit | None:
        """Return what is known under ``key``, None when nothing is or its layer is gone.

        The layer stays as long as the store is open.
        """
        self._storage.hold()
        target = self._target(key)
        if target.startswith(_NO_LAYER):
            return CacheHit(None)
        layer = target.removeprefix(_LAYERS)
        return CacheHit(layer) if layer and self._layers.exists(layer) else None

    def put(self, key: str, layer: LayerId | None, below: Sequence[LayerId] = ()) -> None:
        """Remember what the instruction of ``key`` made on ``below``, in place of what was known.

        ``layer`` is None where it changed no file.
        """
        target = (_NO_LAYER + "".join(below[-1:])) if layer is None else _LAYERS + layer
        with self._storage.faults:
            making = self._storage.scratch.name()
            symlink(target, making)
            self._storage.device.rename(making, self._path(key))
        if layer is not None:
            self._storage.loose.refer(self._layers.directory(layer))

    def entries(self) -> Iterator[CacheEntry]:
        """Yield all entries, in no order."""
        for name in os.listdir(self._storage.at(b"cache")):
            key = os.fsdecode(name)
            target = self._target(key)
            is_result = target.startswith(_LAYERS)
            yield CacheEntry(key, target.removeprefix(_LAYERS).removeprefix(_NO_LAYER), is_result)

    def prune(self, kept: Container[LayerId]) -> int:
        """Forget what needs another layer than ``kept``; return how many entries that were."""
        useless = [entry for entry in self.entries() if entry.needs and entry.needs not in kept]
        for entry in useless:
            self.forget(entry.key)
        return len(useless)

    def clear(self) -> int:
        """Forget everything; return how many entries that were."""
        entries = list(self.entries())
        for entry in entries:
            self.forget(entry.key)
        return len(entries)

    def forget(self, key: str) -> None:
        """Remove an entry, and on closing the store its layer if nothing else needs it."""
        self._storage.expect_garbage()
        with suppress(FileNotFoundError):  # another command was faster
            os.unlink(self._path(key))
            self._storage.device.changed(self._storage.at(b"cache"))

    def _target(self, key: str) -> str:
        try:
            return os.fsdecode(os.readlink(self._path(key)))
        except FileNotFoundError:
            return ""

    def _path(self, key: str) -> bytes:
        return self._storage.at(b"cache", os.fsencode(key))
