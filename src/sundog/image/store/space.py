"""The space that each thing in a store needs, and the time of its last use.

A start notes the use of its image: ``record.stack``.  So do the commands that take an image, a
result of the build cache or a cache mount.  A note may be an hour older than the last use.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

from sundog.base.record.layer_path import LayerPath
from sundog.image.store.image_files import tree_of
from sundog.image.store.tree_work import content_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sundog.image.store.image_files import ImageEntry
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.layer_info import LayerInfo
    from sundog.image.store.store import Store

IMAGE, RESULT, CACHE_MOUNT, IMPORTED = "image", "result", "cache mount", "imported results"
_TREE = "trees/"  # begins the name of a flattened tree, which several images may share
_NAME_LIMIT = 4096  # bytes of the ID of a cache mount
_DOWNLOADS = (b"blobs", b"downloads", b"sif", b"gzip-indexes")


@dataclass(frozen=True, slots=True)
class Item:
    """Something in a store that can go by itself.

    ``names`` are the directory of an image, the keys of a result, or the path of something else.
    ``last_use`` is in seconds since 1970.  ``layers`` are those that it keeps, and its flattened
    tree.  ``size`` are the bytes that it has besides them.  Of items of the same age, the one with
    the highest ``rank`` goes first.  ``entry`` is there for images.
    """

    kind: str
    name: str
    names: tuple[str, ...]
    last_use: float
    layers: tuple[LayerId, ...] = ()
    size: int = 0
    rank: int = 0
    entry: ImageEntry | None = None


@dataclass(frozen=True, slots=True)
class Space:
    """All that needs space in a store.

    ``sizes`` are the bytes of all layers and flattened trees.  Containers keep the layers
    ``kept``, and have changed ``changed`` bytes since their last starts.  ``downloads`` are the
    bytes of files that came from outside and are no layers.  ``held`` are those of deleted layers
    that containers have mounted.
    """

    images: Sequence[Item]
    results: Sequence[Item]
    rest: Sequence[Item]
    sizes: Mapping[LayerId, int]
    kept: frozenset[LayerId]
    changed: int
    downloads: int
    held: int

    @property
    def items(self) -> Sequence[Item]:
        """All that can go by itself."""
        return (*self.images, *self.results, *self.rest)

    @property
    def total(self) -> int:
        """The bytes of all; a layer counts once."""
        items = sum(item.size for item in self.items)
        return sum(self.sizes.values()) + items + self.changed + self.downloads + self.held


@dataclass(frozen=True, slots=True)
class ImageSpace:
    """The bytes of an image: ``own`` are in layers that no other image and no container has."""

    image: Item
    own: int
    shared: int


def by_image(space: Space) -> Sequence[ImageSpace]:
    """Return what each image needs, in the order of ``space``."""
    users = Counter(layer for image in space.images for layer in set(image.layers))
    users.update(space.kept)
    found = []
    for image in space.images:
        sizes = {layer: space.sizes.get(layer, 0) for layer in image.layers}
        own = sum(size for layer, size in sizes.items() if users[layer] == 1)
        found.append(ImageSpace(image, own, sum(sizes.values()) - own))
    return found


def measure(store: Store, until: float = math.inf) -> Space:
    """Look at all that is in ``store``, whose layers stay until it is closed.

    Raises TimeoutError if the sizes of layers are not known at the time ``until`` of the monotonic
    clock.
    """
    store.hold()
    infos = store.layers.sound()
    sizes = {}
    for layer in infos:
        if time.monotonic() > until:
            raise TimeoutError
        sizes[layer] = store.layers.stored_size(layer)
    for name in os.listdir(store.at(b"trees")):
        sizes[_TREE + os.fsdecode(name)] = _size(store, store.at(b"trees", name))
    images = list(_images(store))
    containers = store.containers.list()
    return Space(
        images,
        list(_results(store, infos, images)),
        [*_cache_mounts(store), *_imported(store)],
        sizes,
        frozenset(layer for image in store.containers.images() for layer in image.layers),
        sum(map(store.containers.last_size, containers)),
        sum(_size(store, store.at(directory)) for directory in _DOWNLOADS),
        sum(store.held()),
    )


def _images(store: Store) -> Iterator[Item]:
    for directory, entry in store.images.by_directory():
        path = store.at(b"images", os.fsencode(directory))
        tree = os.fsdecode(tree_of(path))
        layers = (*entry.layers, *((_TREE + tree,) if tree else ()))
        used = store.images.last_use(directory)
        yield Item(IMAGE, entry.typed, (directory,), used, layers, rank=1 << 30, entry=entry)


def _results(
    store: Store, infos: Mapping[LayerId, LayerInfo], images: Sequence[Item]
) -> Iterator[Item]:
    """Yield the results of the build cache, those of one layer together.

    A result is as young as those that were made on it, and as the images that have its layer.
    """
    keys: dict[LayerId, list[str]] = {}
    used: dict[LayerId, float] = {}
    for entry in store.cache.entries():
        if entry.needs:
            keys.setdefault(entry.needs, []).append(entry.key)
            used[entry.needs] = max(used.get(entry.needs, 0), store.cache.last_use(entry.key))
    for image in images:
        for layer in image.layers:
            if layer in used:
                used[layer] = max(used[layer], image.last_use)
    depths = {}
    for layer, last in list(used.items()):
        below = list(_below(layer, infos))
        depths[layer] = len(below)
        for parent in below:
            if parent in used:
                used[parent] = max(used[parent], last)
    for layer, found in keys.items():
        name = infos[layer].instruction if layer in infos else ""
        yield Item(RESULT, name or layer, tuple(found), used[layer], (layer,), rank=depths[layer])


def _below(layer: LayerId, infos: Mapping[LayerId, LayerInfo]) -> Iterator[LayerId]:
    """Yield the layers on which a layer was made, from its parent down."""
    seen = {layer}
    while layer in infos and infos[layer].parent not in seen:
        layer = infos[layer].parent
        seen.add(layer)
        yield layer


def _cache_mounts(store: Store) -> Iterator[Item]:
    for path in store.cache_mounts.names():
        with suppress(FileNotFoundError):
            used = os.stat(os.path.join(path, b"lock")).st_mtime
            with open(os.path.join(path, b"id"), "rb") as file:
                name = os.fsdecode(file.read(_NAME_LIMIT))
            size = _size(store, LayerPath.of(path).tree)
            yield Item(CACHE_MOUNT, name, (os.fsdecode(path),), used, size=size)


def _imported(store: Store) -> Iterator[Item]:
    if store.has_imported:
        used = os.stat(os.path.join(store.imported, b"index.json")).st_mtime
        size = _size(store, store.imported)
        yield Item(IMPORTED, IMPORTED, (os.fsdecode(store.imported),), used, size=size)


def _size(store: Store, path: bytes) -> int:
    """Return the bytes in the files below ``path``; 0 if another command removes it."""
    try:
        return store.worker.call(content_size, path)
    except FileNotFoundError:
        return 0
