"""``containers/ID/``: containers that keep their changes; see ``record.kept``.

A start mounts the image below an empty upper directory.  The next start makes a layer of that upper
directory, as a RUN does, so owners, whiteouts and garbage collection have one mechanism.  A crash
at any moment loses none of it:

    sealing/     the upper directory while it becomes a layer
    pending      the ID of that layer, from before it is in place until the image has it
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from dataclasses import replace
from itertools import takewhile

from sundog.base.kernel.files import Closing
from sundog.base.record.kept import (
    CONTAINER_ID_LENGTH,
    CONTAINER_IMAGE,
    CONTAINER_OWNERS,
    CONTAINER_UPPER,
    CONTAINER_WORK,
    CONTAINERS_DIRECTORY,
    is_container_id,
)
from sundog.base.record.layer_path import LAYER_TREE, LayerPath
from sundog.base.record.owners import read_owners
from sundog.base.record.stack import ID_LENGTH
from sundog.errors import DocumentError, StoreError
from sundog.image.layer.inherit import StepOwners
from sundog.image.layer.known_records import KnownRecords
from sundog.image.oci.config import HistoryEntry
from sundog.image.store.garbage import Gone
from sundog.image.store.image_files import read_image
from sundog.image.store.mounted import mounted_names
from sundog.image.store.tree_work import changes_of_upper, content_size, rename, seal
from sundog.runtime.container.root import OverlayRoot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.oci.config import ImageConfig
    from sundog.image.store.image_files import Image
    from sundog.image.store.images import Images
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.layers import Layers
    from sundog.image.store.storage import Storage

_SEALING, _PENDING = b"sealing", b"pending"
_CREATED_BY = "sundog run"  # in the history of an image, for a container's own layers
_SKELETON = b"skeleton"
_MAKING = 60  # seconds that the making of a container takes, at most
_ENDING = 5  # seconds that processes of a container take to end
_LOOK = 0.02  # seconds between two looks at them


class KeptContainers:
    """The containers of one store."""

    def __init__(self, storage: Storage, layers: Layers, images: Images) -> None:
        self._storage = storage
        self._layers = layers
        self._images = images

    def list(self) -> Sequence[str]:
        """Return the IDs of all containers, in order."""
        try:
            names = os.listdir(self._storage.at(CONTAINERS_DIRECTORY))
        except FileNotFoundError:
            return []
        return sorted(name.decode() for name in map(os.fsencode, names) if is_container_id(name))

    def image(self, identity: str) -> Image:
        """Return the image of a container, with its own layers on top.  Raises StoreError."""
        try:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            with Closing(os.open(self._at(identity, CONTAINER_IMAGE), flags)) as fd:
                return read_image(fd)
        except (FileNotFoundError, DocumentError) as error:
            raise StoreError(
                f"damaged container in storage: {identity}: {error}", f"sundog rm -f {identity}"
            ) from error

    def images(self) -> Sequence[Image]:
        """Return the images that containers need; a layer that is on its way is in one, too."""
        found = []
        for identity in self.list():
            with suppress(StoreError):  # it can't start any more
                image = self.image(identity)
                found.append(replace(image, layers=(*image.layers, *self._pending(identity))))
        return found

    def leftovers(self) -> Sequence[bytes]:
        """Return the paths of containers that a killed command has not completed."""
        directory = self._storage.at(CONTAINERS_DIRECTORY)
        found = []
        with suppress(FileNotFoundError):
            for name in map(os.fsencode, os.listdir(directory)):
                path = os.path.join(directory, name)
                with suppress(FileNotFoundError):
                    age = time.time() - os.lstat(path).st_mtime
                    if (
                        is_container_id(name[:CONTAINER_ID_LENGTH])
                        and name[CONTAINER_ID_LENGTH:]
                        and age > _MAKING
                    ):
                        found.append(path)
        return found

    def wait_unused(self, identity: str) -> bool:
        """Wait up to 5 s for the processes of a container that ends; return False if some are left.

        A process that has the container's upper directory mounted is one of it.  A supervisor whose
        command was killed writes records until it ends.
        """
        due = time.monotonic() + _ENDING
        while mounted_names({identity.encode()}, self._storage.path):
            if time.monotonic() > due:
                return False
            time.sleep(_LOOK)
        return True

    def settle(self, identity: str, *, guessed: bool) -> Image:
        """Make a layer of what the last run of a container has changed; return its image.

        The container does not run.  ``guessed`` says that its emulation forgot owners.
        """
        storage = self._storage
        storage.hold()
        with storage.faults:
            image = self._finish(identity)
            sealing = self._at(identity, _SEALING)
            halves = LayerPath.of(sealing).tree, os.path.join(sealing, CONTAINER_UPPER)
            if not any(map(os.path.lexists, halves)):
                if not self._has_changes(identity):
                    self._renew(identity, image)
                    return image
                os.makedirs(sealing, 0o700, exist_ok=True)
                for name in (CONTAINER_WORK, CONTAINER_UPPER):
                    self._move(self._at(identity, name), os.path.join(sealing, name))
            image = self._seal(identity, image, guessed=guessed)
            self._renew(identity, image)
        return image

    def _seal(self, identity: str, image: Image, *, guessed: bool) -> Image:
        """Make a layer of ``sealing/``, and put it on top of the image."""
        storage, sealing = self._storage, self._at(identity, _SEALING)
        tree, upper = LayerPath.of(sealing).tree, os.path.join(sealing, CONTAINER_UPPER)
        if os.path.lexists(tree):  # a crash came before the manifest was written
            self._move(tree, upper)
        os.makedirs(os.path.join(sealing, CONTAINER_WORK), exist_ok=True)
        known = StepOwners(guessed=guessed, unrecorded=True)
        with suppress(FileNotFoundError):
            records = read_owners(self._at(identity, CONTAINER_OWNERS))
            known = StepOwners(KnownRecords.of(records), is_complete=True)
        below = self._layers.paths(image.layers)
        info = storage.worker.call(seal, sealing, below, storage.at(_SKELETON), known)
        if info is None:
            storage.scratch.dispose(storage.scratch.aside(sealing))
            return image
        layer = os.urandom(ID_LENGTH // 2).hex()
        storage.write_file(self._at(identity, _PENDING), layer.encode())
        self._layers.add(sealing, layer, info.made_by("", image.layers))
        return self._finish(identity)

    def _finish(self, identity: str) -> Image:
        """Put a layer that is in place on top of the image; return the image."""
        image = self.image(identity)
        for layer in self._pending(identity):
            if self._layers.exists(layer) and layer not in image.layers:
                config = image.config
                image = replace(
                    image,
                    layers=(*image.layers, layer),
                    config=config.replace(
                        diff_ids=(*config.diff_ids, ""),
                        history=(*config.history, HistoryEntry(created_by=_CREATED_BY)),
                    ),
                    blobs=(),
                )
                if len(image.layers) > self._layers.most_stacked:
                    base = len(image.layers) - _count_own(image.config)
                    self._storage.garbage.expect_of(Gone("", image.layers[base:]))
                    image = self._images.squashed(image, base)
                self._replace_image(identity, image)
            self._storage.unreferenced.refer(self._layers.directory(layer))
            os.unlink(self._at(identity, _PENDING))
        return image

    def _replace_image(self, identity: str, image: Image) -> None:
        storage = self._storage
        draft = self._images.draft(image)
        storage.device.sync_drafts(draft)
        self._images.replace(draft, self._at(identity, CONTAINER_IMAGE))
        storage.device.changed(self._at(identity))
        storage.device.settle()
        storage.scratch.dispose(draft)

    def _renew(self, identity: str, image: Image) -> None:
        """Give a container an empty upper directory."""
        with suppress(FileNotFoundError):
            os.unlink(self._at(identity, CONTAINER_OWNERS))
        for name in (CONTAINER_WORK, CONTAINER_UPPER):
            os.makedirs(self._at(identity, name), 0o700, exist_ok=True)
        os.chmod(self._at(identity, CONTAINER_UPPER), self._layers.root_mode(image.layers))

    def changes(self, identity: str, count: int) -> Sequence[tuple[str, bytes]]:
        """Return the kinds and the paths of a container's changes, as ``layer.changes``.

        ``count`` is the number of the layers of its image.
        """
        storage, image = self._storage, self.image(identity)
        own, base = image.layers[count:], image.layers[:count]
        storage.hold()
        with storage.faults:
            return storage.worker.call(
                changes_of_upper,
                self._upper(identity),
                [self._layers.path(layer) for layer in reversed(own)],
                self._layers.paths(base),
                storage.at(_SKELETON),
            )

    def size(self, identity: str, count: int) -> tuple[int, int]:
        """Return the bytes of a container's changes, and those together with its image."""
        image, layers = self.image(identity), self._layers
        own, base = image.layers[count:], image.layers[:count]
        changed = self.last_size(identity) + sum(layers.size(layer) for layer in own)
        return changed, changed + sum(layers.size(layer) for layer in base if layers.exists(layer))

    def last_size(self, identity: str) -> int:
        """Return the bytes of what the last run of a container has changed."""
        with self._storage.faults:
            return self._storage.worker.call(content_size, self._upper(identity))

    def remove(self, *identities: str) -> None:
        """Remove containers, and what only they needed."""
        storage = self._storage
        with storage.faults:
            storage.expect_garbage()
            storage.scratch.dispose(*storage.set_aside(map(self._at, identities)))

    def root(self, identity: str) -> OverlayRoot:
        """Return the root file system of a container that does not run, to be mounted."""
        place = os.path.join(b"..", CONTAINERS_DIRECTORY, identity.encode())
        layers = self._layers.visible(self.image(identity).layers)
        return OverlayRoot(
            self._storage.at(b"layers"),
            [
                os.path.join(place, CONTAINER_IMAGE, b"root"),
                *(layer.encode() + LAYER_TREE for layer in layers),
                self._storage.at(_SKELETON),
            ],
            os.path.join(place, CONTAINER_UPPER),
            os.path.join(place, CONTAINER_WORK),
        )

    def _has_changes(self, identity: str) -> bool:
        try:
            return bool(os.listdir(self._at(identity, CONTAINER_UPPER)))
        except FileNotFoundError:  # a crash came before ``_renew``
            return False
        except PermissionError:  # an image may forbid its own root directory
            return True

    def _upper(self, identity: str) -> bytes:
        sealing = self._at(identity, _SEALING, CONTAINER_UPPER)
        return sealing if os.path.exists(sealing) else self._at(identity, CONTAINER_UPPER)

    def _move(self, old: bytes, new: bytes) -> None:
        """Move a directory, whatever its mode; it may be gone."""
        try:
            self._storage.worker.call(rename, old, new)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise

    def _pending(self, identity: str) -> tuple[LayerId, ...]:
        try:
            with open(self._at(identity, _PENDING), encoding="ascii") as file:
                return (file.read(ID_LENGTH),)
        except FileNotFoundError:
            return ()

    def _at(self, identity: str, *names: bytes) -> bytes:
        return self._storage.at(CONTAINERS_DIRECTORY, identity.encode(), *names)


def _count_own(config: ImageConfig) -> int:
    """Return the number of a container's own layers, which are the topmost ones."""
    own = takewhile(lambda entry: entry.created_by == _CREATED_BY, reversed(config.history))
    return sum(not entry.empty_layer for entry in own)
