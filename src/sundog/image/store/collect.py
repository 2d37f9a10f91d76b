"""Garbage collection: what no image and no cache entry refers to leaves the store.

Layers are renamed into the trash while no other command uses layers (``UseLock``); this takes no
time.  They are deleted afterwards.  A note in ``locks/`` says that a collection is due.  The note
stays when another command is at work, or when a command is killed before it collects; the next
command to end collects then.
"""

from __future__ import annotations

import os
from contextlib import suppress

from sundog.base.kernel.files import Closing, sync_path
from sundog.base.kernel.libc import printable
from sundog.base.record.stack import read_stack
from sundog.errors import StoreError
from sundog.image.store.deleted import DeletedImages
from sundog.image.store.directory import COLLECTION_DUE
from sundog.image.store.locks import remove_turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.store.blobs import Blobs
    from sundog.image.store.cache import Cache
    from sundog.image.store.cache_mounts import CacheMounts
    from sundog.image.store.containers import KeptContainers
    from sundog.image.store.images import Image, Images
    from sundog.image.store.layers import LayerId, Layers
    from sundog.image.store.storage import Storage

# The directories that ``clear`` empties.  The rest of the storage directory is the same in every
# store.  Commands make ``downloads`` and those after it when they need them.
_CONTENT = (
    *(b"images", b"containers", b"cache", b"layers", b"trees", b"blobs", b"probe"),
    *(b"downloads", b"accounts", b"deleted", b"host-libraries", b"sif"),
)


def collect(
    storage: Storage,
    layers: Layers,
    images: Images,
    cache: Cache,
    blobs: Blobs,
    *,
    containers: KeptContainers,
) -> bool:
    """Remove all layers, flattened trees and blobs that nothing refers to.

    Return False, and remove nothing, when another command uses the store's layers.
    """
    with storage.faults:
        if not storage.use_lock.try_exclude():
            return False
        try:
            # After this sync, no power cut changes which images there are.
            sync_path(storage.at(b"images"))
            kept = [*images.list(), *containers.images()]
            here = set(layers.list())
            needed = here & _needed_layers(kept, cache)
            cache.prune(needed)
            places = storage.set_aside(
                [
                    *map(layers.directory, here - needed),
                    *_useless_trees(storage),
                    *containers.leftovers(),
                ]
            )
            blobs.collect(_useless_blobs(layers, kept, blobs))
            remove_turns(storage.locks, storage.at(b"locks"))
            storage.locks.sweep()
            with suppress(FileNotFoundError):
                os.unlink(storage.at(COLLECTION_DUE))
        finally:
            storage.use_lock.release()
        storage.scratch.dispose(*places)
        DeletedImages(storage, layers, images).prune()
    return True


def collect_own(storage: Storage) -> None:
    """Remove what this command put in place and nothing can refer to.  Looks at no image.

    When another command uses the store's layers, remove nothing and note that a collection is due.
    """
    with storage.faults:
        if not storage.use_lock.try_exclude():
            storage.expect_garbage()
            return
        try:
            places = storage.set_aside(storage.unreferenced.own)
        finally:
            storage.use_lock.release()
        storage.scratch.dispose(*places)


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


def _needed_layers(images: Sequence[Image], cache: Cache) -> set[LayerId]:
    """Return the layers that an image or a cache entry refers to, here or not."""
    needed = {layer for image in images for layer in image.layers}
    return needed | {entry.needs for entry in cache.entries() if entry.is_result}


def _useless_trees(storage: Storage) -> list[bytes]:
    """Return the flattened trees from which no image is run."""
    trees = set(os.listdir(storage.at(b"trees")))
    for directory in os.listdir(storage.at(b"images")) if trees else ():
        trees.discard(_tree_of(storage.at(b"images", directory)))
    return [storage.at(b"trees", tree) for tree in trees]


def _useless_blobs(layers: Layers, images: Sequence[Image], blobs: Blobs) -> list[bytes]:
    """Return the blobs as which no image and no layer came, or left."""
    here = blobs.list()
    if not here:
        return []
    needed = {digest for image in images for digest in image.blobs}
    for layer in layers.list():
        needed |= {str(blob.descriptor.digest) for blob in layers.info(layer).blobs}
    return [path for digest, path in here.items() if digest not in needed]


def _tree_of(image: bytes) -> bytes:
    """Return the flattened tree that an image is run from, if it has one."""
    with (
        suppress(FileNotFoundError, StoreError),
        Closing(os.open(image, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd,
    ):
        return read_stack(fd).tree
    return b""
