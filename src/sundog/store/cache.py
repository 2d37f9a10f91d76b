"""``cache/``: the build cache, from the key of an instruction to the layer that it made.

An entry is a symlink to the layer: written and read by one call each, atomic, and dangling once the
layer is gone.  An instruction that changed no file has an entry too, to ``none``.  The image's
configuration needs no entry: a build computes it from the instructions each time.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sundog.store.layers import LayerId
    from sundog.store.store import Store

_LAYERS = "../layers/"
_NO_LAYER = "none"


@dataclass(frozen=True, slots=True)
class CacheHit:
    """What an instruction made: a layer, or None where it changed no file."""

    layer: LayerId | None


class Cache:
    """The build cache of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, key: str) -> CacheHit | None:
        """Return what is known under ``key``, None when nothing is or its layer is gone.

        The layer stays as long as the store is open.
        """
        self._store.hold()
        target = self._target(key)
        if target == _NO_LAYER:
            return CacheHit(None)
        layer = target.removeprefix(_LAYERS)
        return CacheHit(layer) if layer and self._store.layers.exists(layer) else None

    def put(self, key: str, layer: LayerId | None) -> None:
        """Remember what the instruction of ``key`` made, in place of what was known."""
        with self._store.faults:
            making = self._store.scratch.name()
            os.symlink(_NO_LAYER if layer is None else _LAYERS + layer, making)
            os.rename(making, self._path(key))

    def layers(self) -> Iterator[tuple[str, LayerId]]:
        """Yield the key and the layer of each entry that has one."""
        for name in os.listdir(self._store.at(b"cache")):
            key = os.fsdecode(name)
            target = self._target(key)
            if target.startswith(_LAYERS):
                yield key, target.removeprefix(_LAYERS)

    def forget(self, key: str) -> None:
        """Remove an entry, and on closing the store its layer if nothing else needs it."""
        self._store.expect_garbage()
        os.unlink(self._path(key))

    def _target(self, key: str) -> str:
        try:
            return os.fsdecode(os.readlink(self._path(key)))
        except FileNotFoundError:
            return ""

    def _path(self, key: str) -> bytes:
        return self._store.at(b"cache", os.fsencode(key))
