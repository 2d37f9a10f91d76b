"""``cache/``: the build cache, from the key of an instruction to the layer that it made.

An entry is a symlink to the layer.  One system call writes it and one reads it, both atomic; it
dangles once the layer is gone.  An instruction that changed no file has an entry too: a symlink to
``none/LAYER``, where LAYER is the topmost layer below the instruction.  Without that layer the
entry is useless.  The image's configuration needs no entry: a build computes it from the
instructions each time.

A symlink to ``lags/SESSION/LAYER`` is the entry of a layer that may not be on the device yet.  It
counts until the file system is mounted anew, or the machine starts anew: then the files of the
layer may be lost.  A command that makes or uses such an entry writes the layers to the device, all
at once, and then replaces the entry.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from sundog.base.kernel.files import symlink
from sundog.base.record.stack import note_use
from sundog.image.store.garbage import Gone
from sundog.image.store.users import Users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.layers import Layers
    from sundog.image.store.storage import Storage

_USER = b"cache/"  # begins an entry's name as a user of layers
_LAYERS = "../layers/"
_NO_LAYER = "none/"
_LAGS = "lags/"


@dataclass(frozen=True, slots=True)
class CacheHit:
    """The result of an instruction: a layer, or None if it changed no file."""

    layer: LayerId | None


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """An entry: without the layer ``needs`` it is useless; "" means that it needs no layer.

    ``is_result`` tells whether the instruction made that layer, as it is now.  If so, the entry
    keeps the layer from being collected.
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

        This is a use of the result.  The layer stays as long as the store is open.
        """
        self._storage.hold()
        target = self._target(key)
        entry = self._entry(key, target)
        is_empty = target.startswith(_NO_LAYER)
        if not is_empty and not (entry.is_result and self._layers.exists(entry.needs)):
            return None
        with suppress(FileNotFoundError):
            note_use(self._path(key), os.lstat(self._path(key)))
        if is_empty:
            return CacheHit(None)
        if target.startswith(_LAGS):
            self._storage.device.note_lag(self._layers.directory(entry.needs))
            self._storage.device.defer(partial(self._settle, key, target, entry.needs))
        return CacheHit(entry.needs)

    def put(self, key: str, layer: LayerId | None, below: Sequence[LayerId] = ()) -> None:
        """Remember ``layer`` as the result under ``key``, in place of an earlier one.

        ``layer`` is None if the instruction changed no file; ``below`` are the layers below it.
        """
        storage = self._storage
        needs = layer or "".join(below[-1:])
        lags = layer is not None and storage.device.lags(self._layers.directory(layer))
        target = (_NO_LAYER if layer is None else self._lagging if lags else _LAYERS) + needs
        with storage.faults:
            old = self._entry(key, self._target(key))
            if old.needs and old.needs != needs:
                storage.garbage.expect_of(Gone("", (old.needs,)))
                self._forget_user(old)
            if needs:
                directory = self._layers.directory(needs)
                Users(directory).add(_user(key))  # if it is lost, the entry is, with its layer
            self._link(key, target)
            if lags:
                storage.device.defer(partial(self._settle, key, target, needs))
        if layer is not None:
            self._storage.unreferenced.refer(self._layers.directory(layer))

    def last_use(self, key: str) -> float:
        """Return when the entry ``key`` was used last, in seconds since 1970; 0 if it is gone."""
        with suppress(FileNotFoundError):
            return os.lstat(self._path(key)).st_mtime
        return 0

    def entries(self) -> Iterator[CacheEntry]:
        """Yield all entries, in no order."""
        for name in os.listdir(self._storage.at(b"cache")):
            key = os.fsdecode(name)
            yield self._entry(key, self._target(key))

    def entry(self, user: bytes) -> CacheEntry | None:
        """Return the entry that is the user of a layer, see ``users``; None if it is none."""
        if not user.startswith(_USER):
            return None
        key = os.fsdecode(user.removeprefix(_USER))
        return self._entry(key, self._target(key))

    def clear(self) -> int:
        """Forget all entries; return their number."""
        entries = list(self.entries())
        for entry in entries:
            self.forget(entry.key)
        return len(entries)

    def forget(self, key: str) -> None:
        """Remove an entry; closing the store removes its layer, if nothing else needs it."""
        self._storage.expect_garbage()
        self.drop(self._entry(key, self._target(key)))

    def forget_layer(self, layer: LayerId, keys: Iterable[str]) -> None:
        """Remove the entries ``keys``, which need ``layer``; closing the store removes the layer.

        It stays if anything else needs it.
        """
        self._storage.garbage.expect_of(Gone("", (layer,)))
        for key in keys:
            entry = self._entry(key, self._target(key))
            if entry.needs == layer:
                self.drop(entry)

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

    @property
    def _lagging(self) -> str:
        """Return how the target of an entry begins whose layer may not be on the device yet."""
        return f"{_LAGS}{self._storage.session}/"

    def _settle(self, key: str, target: str, layer: LayerId) -> None:
        """Replace an entry that had ``target``: its ``layer`` is on the device now."""
        with suppress(OSError):  # the entry counts until the machine starts anew
            if self._target(key) == target:
                self._link(key, _LAYERS + layer)

    def _link(self, key: str, target: str) -> None:
        making = self._storage.scratch.name()
        symlink(target, making)
        self._storage.device.rename(making, self._path(key))

    def _entry(self, key: str, target: str) -> CacheEntry:
        kind, slash, needs = target.rpartition("/")
        lags_here = target.startswith(_LAGS) and kind + slash == self._lagging
        return CacheEntry(key, needs, lags_here or kind + slash == _LAYERS)

    def _target(self, key: str) -> str:
        try:
            return os.fsdecode(os.readlink(self._path(key)))
        except FileNotFoundError:
            return ""

    def _path(self, key: str) -> bytes:
        return self._storage.at(b"cache", os.fsencode(key))


def _user(key: str) -> bytes:
    return _USER + os.fsencode(key)
