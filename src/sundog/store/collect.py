"""Garbage collection: what no image and no cache entry refers to leaves the store.

Layers are renamed aside while no other command uses layers (``UseLock``), which takes no time, and
deleted afterwards.  A note in ``locks/`` says that a collection is due: when a command could not do
it because another one was at work, or was killed before, the next to end sees to it.
"""

from __future__ import annotations

import os
from contextlib import suppress

from sundog.errors import StoreError
from sundog.kernel.files import sync_path
from sundog.kernel.libc import printable
from sundog.layer.remove import remove_tree
from sundog.record.stack import read_stack
from sundog.store.directory import COLLECTION_DUE, FORMAT, VERSION, check_owner, read_version
from sundog.store.locks import remove_turns
from sundog.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sundog.store.images import Image

# What ``reset`` empties; the rest of the storage directory is the same in every store.
_CONTENT = (b"images", b"cache", b"layers", b"trees", b"blobs", b"probe")


def collect(store: Store) -> bool:
    """Remove all layers, flattened trees and blobs that nothing refers to.

    False when that has to wait because another command uses the store's layers.
    """
    with store.faults:
        if not store.use_lock.try_exclude():
            return False
        try:
            # Once for all: what follows is of images that stay, whatever becomes of the power.
            sync_path(store.at(b"images"))
            images = store.images.list()
            places = _set_aside(store, _unreferenced(store, images))
            store.blobs.collect(_unwanted_blobs(store, images))
            remove_turns(store.at(b"locks"))
            with suppress(FileNotFoundError):
                os.unlink(store.at(COLLECTION_DUE))
        finally:
            store.use_lock.release()
        store.scratch.dispose(*places)
    return True


def collect_own(store: Store) -> None:
    """Remove what this command put in place and nothing can refer to; looks at no image.

    A note stays when that has to wait because another command uses the store's layers.
    """
    with store.faults:
        if not store.use_lock.try_exclude():
            store.expect_garbage()
            return
        try:
            places = _set_aside(store, store.loose.own)
        finally:
            store.use_lock.release()
        store.scratch.dispose(*places)


def reset(path: bytes) -> None:
    """Remove every image, layer, cache entry and cache mount of the storage directory ``path``.

    Containers that run go on.  A directory of another format is emptied and made anew.  Raises
    StoreError when it is not Sundog's, or while another command uses it.
    """
    version = read_version(path)
    if version is None:
        raise StoreError(f"not a Sundog storage directory: {printable(path)}")
    if version != FORMAT:
        check_owner(path)
        _raze(path)
    with Store.open(os.fsdecode(path)) as store, store.faults:
        if not store.use_lock.try_exclude():
            raise StoreError(
                f"storage directory {printable(path)} is in use by another command",
                "wait for its end",
            )
        try:
            places = []
            for kind in _CONTENT:
                names = os.listdir(store.at(kind))
                places += _set_aside(store, [store.at(kind, name) for name in names])
        finally:
            store.use_lock.release()
        store.scratch.dispose(*places)
        store.cache_mounts.clear()


def _raze(path: bytes) -> None:
    # The version file last: without it this would be a stranger's directory.
    for name in os.listdir(path):
        if name != VERSION:
            remove_tree(os.path.join(path, name))
    sync_path(path)
    os.unlink(os.path.join(path, VERSION))


def _set_aside(store: Store, paths: Iterable[bytes]) -> list[bytes]:
    """Move layers, trees and the like out of sight; return where to.  It lasts."""
    places = []
    for path in paths:
        with suppress(FileNotFoundError):
            places.append(store.scratch.aside(path))
            store.device.changed(os.path.dirname(path))
    store.device.settle()
    return places


def _unreferenced(store: Store, images: Sequence[Image]) -> list[bytes]:
    layers = set(store.layers.list())
    for image in images:
        layers.difference_update(image.layers)
    trees = set(os.listdir(store.at(b"trees")))
    for directory in os.listdir(store.at(b"images")) if trees else ():
        trees.discard(_tree_of(store.at(b"images", directory)))
    layers.difference_update(entry.needs for entry in store.cache.entries() if entry.is_result)
    store.cache.prune(set(store.layers.list()) - layers)
    return [store.at(b"layers", os.fsencode(layer)) for layer in layers] + [
        store.at(b"trees", tree) for tree in trees
    ]


def _unwanted_blobs(store: Store, images: Sequence[Image]) -> list[bytes]:
    """Return the blobs by which no image and no layer came, or went."""
    blobs = store.blobs.list()
    if not blobs:
        return []
    wanted = {digest for image in images for digest in image.blobs}
    for layer in store.layers.list():
        wanted |= {str(blob.descriptor.digest) for blob in store.layers.info(layer).blobs}
    return [path for digest, path in blobs.items() if digest not in wanted]


def _tree_of(image: bytes) -> bytes:
    """Return the flattened tree that an image is run from, if it has one."""
    with suppress(FileNotFoundError, StoreError):
        fd = os.open(image, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return read_stack(fd).tree
        finally:
            os.close(fd)
    return b""
