"""``cache/``: the build cache, from the key of an instruction to the layer that it made.

An entry is a symlink to the layer.  One system call writes it and one reads it, both atomic; it
dangles once the layer is gone.  An instruction that changed no file has an entry too: a symlink to
``none/LAYER``, where LAYER is the topmost layer below the instruction.  Without that layer the
entry is useless.  The image's configuration needs no entry: a build computes it from the
instructions each time.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from sundog.base.kernel.files import symlink
from sundog.image.store.garbage import Gone
from sundog.image.store.users import Users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from sundog.image.store.layers import LayerId, Layers
    from sundog.image.store.storage import Storage

_USER = b"cache/"  # begins an entry's name as a user of layers
_LAYERS = "../layers/"
_NO_LAYER = "none/"


@dataclass(frozen=True, slots=True)
class CacheHit:
    """The result of an instruction: a layer, or None if it changed no file."""

    layer: LayerId | None


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """An entry: without the layer ``needs`` it is useless; "" means that it needs no layer.

    ``is_result`` tells whether the instruction made that layer.  If so, the entry keeps the layer
    from being collected.
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
        """Return the result under ``key``, None if there is none or its layer is gone.

        The layer stays as long as the store is open.
        """
        self._storage.hold()
        target = self._target(key)
        if target.startswith(_NO_LAYER):
            return CacheHit(None)
        layer = target.removeprefix(_LAYERS)
        return CacheHit(layer) if layer and self._layers.exists(layer) else None

    def put(self, key: str, layer: LayerId | None, below: Sequence[LayerId] = ()) -> None:
        """Remember ``layer`` as the result under ``key``, in place of an earlier one.

        ``layer`` is None if the instruction changed no file; ``below`` are the layers below it.
        """
        target = (_NO_LAYER + "".join(below[-1:])) if layer is None else _LAYERS + layer
        storage = self._storage
        with storage.faults:
            needs = layer or "".join(below[-1:])
            replaced = self._target(key)
            if replaced and replaced != target:
                old = _entry(key, replaced)
                if old.is_result:
                    storage.garbage.expect_of(Gone("", (old.needs,)))
                self._forget_user(old)
            if needs:
                directory = self._layers.directory(needs)
                Users(directory).add(_user(key))  # if it is lost, the entry is, with its layer
            making = self._storage.scratch.name()
            symlink(target, making)
            self._storage.device.rename(making, self._path(key))
        if layer is not None:
            self._storage.unreferenced.refer(self._layers.directory(layer))

    def entries(self) -> Iterator[CacheEntry]:
        """Yield all entries, in no order."""
        for name in os.listdir(self._storage.at(b"cache")):
            key = os.fsdecode(name)
            yield _entry(key, self._target(key))

    def entry(self, user: bytes) -> CacheEntry | None:
        """Return the entry that is the user of a layer, see ``users``; None if it is none."""
        if not user.startswith(_USER):
            return None
        key = os.fsdecode(user.removeprefix(_USER))
        return _entry(key, self._target(key))

    def prune(self, kept: Container[LayerId]) -> int:
        """Forget the entries that need a layer not in ``kept``; return their number."""
        useless = [entry for entry in self.entries() if entry.needs and entry.needs not in kept]
        for entry in useless:
            self.forget(entry.key)
        return len(useless)

    def clear(self) -> int:
        """Forget all entries; return their number."""
        entries = list(self.entries())
        for entry in entries:
            self.forget(entry.key)
        return len(entries)

    def forget(self, key: str) -> None:
        """Remove an entry; closing the store removes its layer, if nothing else needs it."""
        self._storage.expect_garbage()
        self.drop(_entry(key, self._target(key)))

    def drop(self, entry: CacheEntry) -> None:
        """Remove an entry that is useless."""
        with suppress(FileNotFoundError):  # another command was faster
            os.unlink(self._path(entry.key))
            self._storage.device.changed(self._storage.at(b"cache"))
        self._forget_user(entry)

    def _forget_user(self, entry: CacheEntry) -> None:
        # If a command makes the entry anew at this moment, it is lost with its layer.
        if entry.needs:
            Users(self._layers.directory(entry.needs)).drop(_user(entry.key))

    def _target(self, key: str) -> str:
        try:
            return os.fsdecode(os.readlink(self._path(key)))
        except FileNotFoundError:
            return ""

    def _path(self, key: str) -> bytes:
        return self._storage.at(b"cache", os.fsencode(key))


def _entry(key: str, target: str) -> CacheEntry:
    is_result = target.startswith(_LAYERS)
    return CacheEntry(key, target.removeprefix(_LAYERS).removeprefix(_NO_LAYER), is_result)


def _user(key: str) -> bytes:
    return _USER + os.fsencode(key)
