"""Garbage collection: what no image and no cache entry refers to leaves the store.

After an image was deleted or replaced, only what it referred to can be garbage.  Each layer tells
which users to look at.  So a collection looks at no other image.

Layers are renamed into the trash while no other command uses layers (``UseLock``); this takes no
time.  They are deleted afterwards.  Notes say that a collection is due, see ``garbage``.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from sundog.base.kernel.files import sync_path
from sundog.base.kernel.libc import printable
from sundog.base.record.lazy_layer import REFUSALS
from sundog.base.record.names import PLATFORMS
from sundog.base.record.start_record import STARTS
from sundog.errors import StoreError
from sundog.image.store.deleted import DELETED
from sundog.image.store.garbage import Gone
from sundog.image.store.image_files import tree_of
from sundog.image.store.images import user_of
from sundog.image.store.locks import remove_turns
from sundog.image.store.platform_notes import PlatformNotes
from sundog.image.store.users import Users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from sundog.image.store.blobs import Blobs
    from sundog.image.store.cache import Cache, CacheEntry
    from sundog.image.store.cache_mounts import CacheMounts
    from sundog.image.store.containers import KeptContainers
    from sundog.image.store.deleted import DeletedImages
    from sundog.image.store.image_files import ImageEntry
    from sundog.image.store.images import Images
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.layers import Layers
    from sundog.image.store.storage import Storage


@dataclass(frozen=True, slots=True)
class _Found:
    """Garbage: layers and trees, blobs, and what is useless without them.

    ``deleted`` are names in ``deleted/``, or None for all that are there.
    """

    paths: list[bytes]
    blobs: list[bytes]
    entries: list[CacheEntry]
    deleted: list[bytes] | None


# The directories that ``clear`` empties.  The rest of the storage directory is the same in every
# store.  Commands make ``downloads`` and those after it when they need them.
_CONTENT = (
    *(b"images", b"containers", b"cache", b"layers", b"trees", b"blobs", b"probe"),
    *(
        b"downloads",
        b"accounts",
        b"deleted",
        b"host-libraries",
        b"sif",
        b"imported",
        b"gzip-indexes",
        REFUSALS,
        STARTS,
        b"verified",
    ),
    PLATFORMS,
)


class Collection:
    """One collection of the garbage of a store, whose managers are the arguments."""

    def __init__(
        self,
        storage: Storage,
        layers: Layers,
        images: Images,
        cache: Cache,
        *,
        blobs: Blobs,
        containers: KeptContainers,
        deleted: DeletedImages,
    ) -> None:
        self._storage = storage
        self._layers = layers
        self._images = images
        self._cache = cache
        self._blobs = blobs
        self._containers = containers
        self._deleted = deleted

    def run(self) -> bool:
        """Remove the layers, trees and blobs that are expected to be garbage, and are.

        Return False, and remove nothing, when another command uses the store's layers.
        """
        storage = self._storage
        with storage.faults:
            if not storage.use_lock.try_exclude():
                return False
            try:
                # After this sync, no power cut changes which images there are.
                sync_path(storage.at(b"images"))
                due = storage.garbage.due()
                found = None if due.is_everything else self._found_of(due.gone)
                if found is None:
                    found = self._found()
                for entry in found.entries:
                    self._cache.drop(entry)
                places = storage.set_aside(found.paths)
                self._blobs.collect(dict.fromkeys(found.blobs))
                ended = None if found.deleted is None else [gone.directory for gone in due.gone]
                PlatformNotes(storage).forget(ended)
                remove_turns(storage.locks, storage.at(b"locks"))
                storage.locks.sweep()
                storage.garbage.settle(due)
            finally:
                storage.use_lock.release()
            storage.scratch.dispose(*places)
            self._deleted.prune(found.deleted)
            with suppress(OSError):  # a command may have been killed that did not
                self._images.heal_links(None if ended is None else filter(None, ended))
        return True

    def _found(self) -> _Found:
        """Look at everything."""
        held = [image.entry for image in self._containers.images()]
        kept = [*self._images.entries(), *held]
        here = set(self._layers.list())
        entries = list(self._cache.entries())
        needed = {layer for image in kept for layer in image.layers}
        needed |= {entry.needs for entry in entries if entry.is_result}
        needed &= here
        useless = map(self._layers.directory, here - needed)
        return _Found(
            [*useless, *_useless_trees(self._storage), *self._containers.leftovers()],
            _useless_blobs(self._layers, kept, self._blobs),
            [entry for entry in entries if entry.needs and entry.needs not in needed],
            None,
        )

    def _found_of(self, ended: Sequence[Gone]) -> _Found | None:
        """Look only at what the images that have ended referred to, and at who else does.

        Return None where that is not known.
        """
        held = self._containers.images()
        found = _Found([], [], [], [])
        layers = {layer for gone in ended for layer in gone.layers}
        layers -= {layer for image in held for layer in image.layers}
        directories = [user_of(gone.directory) for gone in ended if gone.directory]
        try:
            for layer in filter(self._layers.exists, layers):
                users = Users(self._layers.directory(layer))
                for user in directories:
                    if not self._images.uses(user, layer):
                        users.drop(user)
                if not any(self._is_used(user, layer, users) for user in users):
                    self._add_layer(found, layer, list(users))
            for gone in ended:
                self._add_rest(found, gone, {digest for image in held for digest in image.blobs})
        except (FileNotFoundError, StoreError):  # a power cut may have torn a layer
            return None
        return found

    def _is_used(self, user: bytes, layer: LayerId, users: Users) -> bool:
        """Tell whether a user keeps a layer; forget a user that does not have it."""
        entry = self._cache.entry(user)
        if entry is not None:
            is_user, keeps = entry.needs == layer, entry.is_result
        else:
            keeps = self._images.uses(user, layer) is not None
            is_user = keeps or os.path.exists(self._storage.at(user))  # a deleted image
        if not is_user:
            users.drop(user)
        return is_user and keeps

    def _add_layer(self, found: _Found, layer: LayerId, users: Sequence[bytes]) -> None:
        """Add a layer that nothing keeps, with all that is useless without it."""
        found.paths.append(self._layers.directory(layer))
        found.entries.extend(filter(None, map(self._cache.entry, users)))
        names = (user.removeprefix(DELETED + b"/") for user in users if user.startswith(DELETED))
        assert found.deleted is not None
        found.deleted.extend(names)
        digests = [str(blob.descriptor.digest) for blob in self._layers.info(layer).blobs]
        found.blobs.extend(self._blobs.here(digests))

    def _add_rest(self, found: _Found, gone: Gone, kept: Container[str]) -> None:
        """Add the tree and the blobs of an image that has ended, if no other image has them.

        Such an image has the same topmost layer.
        """
        left = {name for name in (gone.tree, *gone.blobs) if name and name not in kept}
        if not left:
            return
        if not gone.layers:
            raise FileNotFoundError
        top = gone.layers[-1]
        for user in Users(self._layers.directory(top)):
            other = self._images.uses(user, top)
            if other is not None:
                left -= {other.tree, *other.blobs}
            if not left:
                return
        if gone.tree in left:
            found.paths.append(self._storage.at(b"trees", gone.tree.encode()))
        found.blobs.extend(self._blobs.here(left))


def collect_own(storage: Storage) -> None:
    """Remove what this command put in place and nothing can refer to.  Looks at no image.

    When another command uses the store's layers, remove nothing and note that a collection is due.
    """
    with storage.faults:
        if not storage.use_lock.try_exclude():
            _expect(storage, storage.unreferenced.own)
            return
        try:
            places = storage.set_aside(storage.unreferenced.own)
        finally:
            storage.use_lock.release()
        storage.scratch.dispose(*places)


def _expect(storage: Storage, paths: Iterable[bytes]) -> None:
    """Note that layers and trees in place may be garbage."""
    names = [os.path.split(path) for path in paths]
    if all(directory == storage.at(b"layers") for directory, _ in names):
        layers = tuple(os.fsdecode(name) for _, name in names)
        storage.garbage.expect_of(Gone("", layers))
    else:  # no layer tells who uses a tree
        storage.expect_garbage()


def clear(storage: Storage, cache_mounts: CacheMounts) -> None:
    """Remove every image, layer, cache entry and cache mount, and the notes of commands.

    Raises StoreError when another command uses the store's layers.
    """
    with storage.faults:
        if not storage.use_lock.try_exclude():
            raise StoreError(
                f"storage directory {printable(storage.path)} is in use by another command",
                "wait until that command has ended",
            )
        try:
            places = []
            for kind in _CONTENT:
                with suppress(FileNotFoundError):
                    names = os.listdir(storage.at(kind))
                    places += storage.set_aside(storage.at(kind, name) for name in names)
        finally:
            storage.use_lock.release()
        storage.scratch.dispose(*places)
        cache_mounts.clear()


def _useless_trees(storage: Storage) -> list[bytes]:
    """Return the flattened trees from which no image is run."""
    trees = set(os.listdir(storage.at(b"trees")))
    for directory in os.listdir(storage.at(b"images")) if trees else ():
        trees.discard(tree_of(storage.at(b"images", directory)))
    return [storage.at(b"trees", tree) for tree in trees]


def _useless_blobs(layers: Layers, images: Iterable[ImageEntry], blobs: Blobs) -> list[bytes]:
    """Return the blobs as which no image and no layer came, or left."""
    here = blobs.list()
    if not here:
        return []
    needed = {digest for image in images for digest in image.blobs}
    for info in layers.sound().values():
        needed |= {str(blob.descriptor.digest) for blob in info.blobs}
    return [path for digest, path in here.items() if digest not in needed]
