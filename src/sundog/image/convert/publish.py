"""Publish images in a shared store, for other users and machines: see ``record.shared_image``.

A publisher takes no lock, and two may work at once: files get their names when they are complete
and on the device, and a layer that is there is never written again.  Its name is a digest of its
content.  All files are 0444 and all directories 0755, whatever the umask.  Owners and set-id bits
are in the index, and on no inode of the host.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

from sundog.base.configuration.stores import open_store, owner_ids
from sundog.base.kernel.drafts import replace_file, write_new_file
from sundog.base.kernel.files import sync_file_system, sync_name
from sundog.base.record.guesses import OWNERS_KNOWN, OWNERS_LOST
from sundog.base.record.layer_path import LAYER_FILE, LAYER_TREE, SHOWN, link_tree
from sundog.base.record.lazy_layer import is_incomplete
from sundog.base.record.names import canonical_name, name_to_directory
from sundog.base.record.shared_image import (
    LAYER_DIGESTS,
    LAYER_EXTRAS,
    LAYER_INFO,
    LAYER_PARTS,
    SHARED_IMAGES,
    SHARED_INDEXES,
    SHARED_LAYERS,
    SHARED_MARK,
    SHARED_VERSION,
    is_layer_id,
    pack_digests,
    pack_shared,
)
from sundog.base.record.stack import ImageStack
from sundog.errors import NotInStorage, StoreError
from sundog.image.convert.layer_file import write_layer_file
from sundog.image.store.description import describe
from sundog.image.store.gzip_indexes import index_name
from sundog.image.store.layer_ids import (
    blob_layer_id,
    file_layer_id,
    layer_id,
    shared_layer_id,
    shared_layer_ids,
)
from sundog.image.store.layer_info import pack_info, unpack_info
from sundog.image.store.metadata import encoded, metadata_files
from sundog.image.store.run_force import was_unrecorded
from sundog.image.store.shared_images import SharedLayer, pack_documents, read_shared
from sundog.image.store.tree_work import finish_draft, new_tree
from sundog.image.store.volumes import volume_paths
from sundog.image.transfer.present import blob_keys, tree_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sundog.base.configuration.stores import SharedImage
    from sundog.image.store.image_files import Image
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Report

_ALL_PARTS = (*LAYER_PARTS, *LAYER_EXTRAS)
_DRAFT = b".sundog-"
_ASIDE = b".sundog-aside-"  # begins the name of a layer that a collection is about to remove
_DRAFT_LIFE = 24 * 60 * 60  # seconds: what is older than that nobody is writing any more
_DIRECTORY_MODE, _FILE_MODE = 0o755, 0o444
_DIRECTORIES = (SHARED_IMAGES, SHARED_LAYERS, SHARED_INDEXES, SHOWN)
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)
_REMOTE_HINT = "publish to a directory of your own, which no one else can write"


class Publisher:
    """Publishes images in the directory ``path``, which it makes if it is not there."""

    def __init__(self, path: str, *, is_new: bool = True) -> None:
        """Open the shared store; if ``is_new``, it may have to be made.  Raises StoreError."""
        self._path = os.path.abspath(os.fsencode(path))
        if is_new:
            with _told(self._path):
                self._prepare()
        try:  # only this user, or root, can have written it
            self._store = open_store(self._path, owner_ids(()))
        except StoreError as error:
            error.hint = _REMOTE_HINT
            raise

    def _prepare(self) -> None:
        with suppress(FileExistsError):
            os.mkdir(self._path)
            os.chmod(self._path, _DIRECTORY_MODE)
        mark = self._at(SHARED_MARK)
        if not os.path.lexists(mark):
            names = [name for name in os.listdir(self._path) if not name.startswith(_DRAFT)]
            if set(names) - {SHARED_MARK, *_DIRECTORIES}:
                raise StoreError(
                    f"not empty, and no shared store: {os.fsdecode(self._path)}",
                    "name a new directory; publish makes it",
                )
            replace_file(mark, SHARED_VERSION, mode=_FILE_MODE)
        for name in _DIRECTORIES:
            with suppress(FileExistsError):
                os.mkdir(self._at(name))
                os.chmod(self._at(name), _DIRECTORY_MODE)

    def publish(self, store: Store, image: Image, name: str, report: Report) -> tuple[int, int]:
        """Publish ``image`` of ``store`` under ``name``.

        Return how many layers were written, and how many were there.  Raises SundogError.
        """
        reference = canonical_name(name)
        published = _Published(store, image)
        shared = replace(image, layers=tuple(published.layers))
        names = {"name": name, "reference": reference, "id": shared.id}
        described = describe(store, image) | names
        before = self._store.find(reference)
        target = self._at(SHARED_IMAGES, name_to_directory(reference).encode())
        with _told(self._path):
            self._write_indexes(store, image)
            written: set[LayerId] = set()
            while True:
                for layer, make in published.makers.items():
                    if self._write_layer(store, layer, make, report):
                        written.add(layer)
                sizes = [SharedLayer(layer, self._size(layer)) for layer in published.layers]
                if before is not None:
                    self._renew(before)
                data = pack_shared(published.stack(), pack_documents(described, sizes))
                replace_file(target, data, mode=_FILE_MODE)
                # A collection may have taken a layer before the name was there.
                if all(map(os.path.lexists, map(self._layer, published.makers))):
                    return len(written), len(published.makers) - len(written)

    def _write_indexes(self, store: Store, image: Image) -> None:
        """Write the indexes that ``store`` has of gzip blobs of ``image``, for lazy pulls."""
        for blob in (blob for layer in image.layers for blob in store.layers.info(layer).blobs):
            digest = blob.descriptor.digest
            target = self._at(SHARED_INDEXES, index_name(digest))
            if store.gzip_indexes.digest(digest) and not os.path.lexists(target):
                with open(store.gzip_indexes.path(digest), "rb") as file:
                    replace_file(target, file.read(), mode=_FILE_MODE)

    def unpublish(self, name: str) -> None:
        """Remove the name of an image.  Raises NotInStorage if it is not here."""
        found = self._store.find(canonical_name(name))
        if found is None:
            shown = os.fsdecode(self._path)
            raise NotInStorage(f"not in {shown}: {name}", f"CH_IMAGE_STORES={shown} ch-image list")
        with _told(self._path):
            self._renew(found)
            os.unlink(found.path)
            sync_name(found.path)

    def collect(self, grace: float) -> tuple[int, int]:
        """Remove layers that no image has had for ``grace`` seconds, and old drafts.

        Return the number of layers and drafts, and of their bytes.
        """
        with _told(self._path):
            old = [*self._old_drafts(), *self._unused(grace), *self._unused_indexes(grace)]
            size = sum(map(_bytes_in, old))
            for path in old:
                _remove(path)
        return len(old), size

    def _old_drafts(self) -> Iterator[bytes]:
        """Give the paths of drafts that nobody is writing any more."""
        limit = time.time() - _DRAFT_LIFE
        for directory in (SHARED_LAYERS, SHARED_IMAGES, SHARED_INDEXES, b"."):
            for entry in self._entries(directory):
                is_draft = entry.name.startswith(_DRAFT) and not entry.name.startswith(_ASIDE)
                if is_draft and entry.stat(follow_symlinks=False).st_mtime < limit:
                    yield entry.path

    def _unused(self, grace: float) -> Iterator[bytes]:
        """Give the paths of layers that no image has had for ``grace`` seconds.

        They lose their names before the last look at the images, because a publisher looks for the
        layers after it has written the image.
        """
        used, limit = self._used(), time.time() - grace
        layers = self._at(SHARED_LAYERS)
        for entry in [*os.scandir(layers)]:
            is_due = is_layer_id(entry.name) and entry.name not in used
            if is_due and entry.stat(follow_symlinks=False).st_mtime < limit:
                os.rename(entry.path, self._at(SHARED_LAYERS, _ASIDE + entry.name))
        used = self._used()
        for name in os.listdir(layers):  # also those that a killed collection has left
            layer, path = name.removeprefix(_ASIDE), self._at(SHARED_LAYERS, name)
            if layer == name:
                continue
            place = self._at(SHARED_LAYERS, layer)
            if layer in used and not os.path.lexists(place):  # else it has been written again
                os.rename(path, place)
            else:
                yield path

    def _unused_indexes(self, grace: float) -> Iterator[bytes]:
        """Give the paths of old indexes of blobs that no layer has which is here."""
        used, limit = set(), time.time() - grace
        for layer in self._entries(SHARED_LAYERS):
            with suppress(OSError, StoreError), open(layer.path + LAYER_INFO, "rb") as file:
                blobs = unpack_info(file.read(), os.fsdecode(layer.name)).blobs
                used |= {index_name(blob.descriptor.digest) for blob in blobs}
        for entry in self._entries(SHARED_INDEXES):
            is_due = entry.name not in used and not entry.name.startswith(_DRAFT)
            if is_due and entry.stat(follow_symlinks=False).st_mtime < limit:
                yield entry.path

    def _entries(self, directory: bytes) -> Sequence[os.DirEntry[bytes]]:
        """Return what is in a directory; earlier versions made no ``SHARED_INDEXES``."""
        with suppress(FileNotFoundError):
            return [*os.scandir(self._at(directory))]
        return ()

    def _used(self) -> set[bytes]:
        """Return the IDs of the layers that images have."""
        return {layer for image in self._store.images() for layer in _layers_of(image)}

    def _renew(self, image: SharedImage) -> None:
        """Let the grace period of the layers of ``image`` begin now."""
        for layer in _layers_of(image):
            with suppress(FileNotFoundError):
                os.utime(self._at(SHARED_LAYERS, layer))

    def _write_layer(
        self, store: Store, layer: LayerId, make: Callable[[], LayerId], report: Report
    ) -> bool:
        """Write ``layer`` of the layer that ``make`` returns; tell whether it was not there."""
        target = self._layer(layer)
        with suppress(FileNotFoundError):
            os.utime(target)
            return False
        source = make()
        draft = self._at(SHARED_LAYERS, _DRAFT + os.urandom(8).hex().encode())
        os.mkdir(draft, 0o700)
        try:
            _fill(store, source, layer, draft, report)
            os.chmod(draft, _DIRECTORY_MODE)
            sync_file_system(draft)
            os.rename(draft, target)
        except OSError as error:
            _remove(draft)
            if error.errno in _TAKEN:  # another publisher has written it
                return False
            raise
        except BaseException:
            _remove(draft)
            raise
        sync_name(target)
        return True

    def _layer(self, layer: LayerId) -> bytes:
        return self._at(SHARED_LAYERS, layer.encode())

    def _size(self, layer: LayerId) -> int:
        """Return the bytes in the file of a layer, 0 if a collection has removed it."""
        try:
            return os.stat(self._layer(layer) + LAYER_FILE).st_size
        except FileNotFoundError:
            return 0

    def _at(self, *names: bytes) -> bytes:
        return b"/".join((self._path, *names))


class _Published:
    """An image on its way into a shared store.

    layers  the IDs that its layers have there, from bottom to top
    makers  for each layer, also those that only ``ch-run`` needs, what returns it in the storage
    """

    def __init__(self, store: Store, image: Image) -> None:
        self._store = store
        self._image = image
        layers = store.layers
        if any(is_incomplete(layers.directory(layer)) for layer in image.layers):
            raise StoreError(
                f"not all of {image.reference} is here", f"ch-image pull {image.reference}"
            )
        ids = _shared_ids(store, image.layers)
        files = metadata_files(image.config)
        volumes = volume_paths(image.config.volumes)
        mode = store.layers.root_mode(image.layers)
        identity = [repr(sorted(files.items())), repr(volumes), f"{mode:o}", *ids.values()]
        part = hashlib.sha256("\0".join(identity).encode()).hexdigest()
        self._own = layer_id("shared part", part)
        self._points = layer_id("shared mount points")
        self._ids = ids
        self.layers = [ids[layer] for layer in image.layers]
        self.makers: dict[LayerId, Callable[[], LayerId]] = {
            self._own: partial(_made_part, store, image, files, volumes, mode),
            self._points: partial(_made_points, store),
        }
        for layer, shared in ids.items():
            self.makers.setdefault(shared, partial(str, layer))

    def stack(self) -> ImageStack:
        """Return what ``ch-run`` mounts and runs."""
        layers, config = self._store.layers, self._image.config
        shown: dict[LayerId, bytes] = {}
        for layer in layers.visible(self._image.layers):
            shown.setdefault(self._ids[layer], layers.guesses(layer))
        guesses = b"".join((OWNERS_KNOWN, *shown.values(), OWNERS_KNOWN))
        if not guesses.strip(OWNERS_KNOWN):
            guesses = OWNERS_LOST if was_unrecorded(config) else b""
        return ImageStack(
            [layer.encode() for layer in (self._own, *shown, self._points)],
            b"",
            [encoded(word) for word in config.entrypoint or ()],
            [encoded(word) for word in config.cmd or ()],
            encoded(config.working_dir),
            user=encoded(config.user),
            guesses=guesses,
            has_files=True,
        )


def _shared_ids(store: Store, layers: Sequence[LayerId]) -> dict[LayerId, LayerId]:
    """Return the IDs of an image's layers in every shared store.

    The same tar may become another tree on other layers, as with whiteouts of what is not there.
    So its diff ID is not enough for a layer that came, and whose tree depends on those below.
    """
    diff_ids = [store.layers.portable_id(layer) for layer in layers]
    found: dict[LayerId, LayerId] = {}
    for layer, (alone, chain) in zip(layers, tree_ids(diff_ids), strict=True):
        info = store.layers.info(layer)
        came = [blob.descriptor for blob in info.blobs if not blob.made]
        by_table = [blob_layer_id(alone, key) for blob in came for key in blob_keys(store, blob)]
        own = (alone, file_layer_id(alone), *shared_layer_ids(alone), *by_table)
        tree = alone if not came or layer in own else chain
        found[layer] = shared_layer_id(tree, guessed=info.guessed, unrecorded=info.unrecorded)
    return found


def _made_part(
    store: Store,
    image: Image,
    files: Mapping[bytes, bytes],
    volumes: list[bytes],
    mode: int,
) -> LayerId:
    """Make the layer of the image's own files, which lies over all others."""
    draft = store.scratch.new()
    tree = new_tree(draft)
    os.mkdir(tree + b"/ch")
    os.chmod(tree + b"/ch", 0o755)
    for name, data in files.items():
        with open(tree + name, "xb") as file:
            file.write(data)
            os.fchmod(file.fileno(), 0o644)
    os.chmod(tree, mode)
    store.driver.add_volumes(image.layers, volumes, tree)
    return store.layers.add_own(draft, finish_draft(draft, {}))


def _made_points(store: Store) -> LayerId:
    """Make the layer of mount points, which lies below all others."""
    draft = store.scratch.new()
    points = os.fsdecode(store.at(b"skeleton"))
    shutil.copytree(points, os.fsdecode(draft + LAYER_TREE), symlinks=True)
    return store.layers.add_own(draft, finish_draft(draft, {}))


def _fill(store: Store, source: LayerId, layer: LayerId, draft: bytes, report: Report) -> None:
    """Write all parts of ``layer`` to ``draft``, from the layer ``source`` of ``store``."""
    layers = store.layers
    if layers.is_file(source):
        for part in _ALL_PARTS:
            path = layers.directory(source) + part
            if part != LAYER_INFO and os.path.exists(path):
                shutil.copyfile(path, draft + part)
        info = layers.info(source)
    else:
        transfer = report.transfer(layer, "packing", layers.size(source))
        try:
            info = write_layer_file(store, source, draft, transfer)
        finally:
            transfer.end()
        os.unlink(draft + LAYER_TREE)
    link_tree(draft, layer.encode())
    blobs = tuple(replace(blob, places=()) for blob in info.blobs)
    with open(draft + LAYER_INFO, "xb") as file:
        file.write(pack_info(replace(info, parent="", blobs=blobs)))
    digests: dict[bytes, bytes] = {}
    for part in _ALL_PARTS:
        with suppress(FileNotFoundError), open(draft + part, "rb") as file:
            os.fchmod(file.fileno(), _FILE_MODE)
            digests[part[1:]] = hashlib.file_digest(file, "sha256").hexdigest().encode()
    write_new_file(draft + LAYER_DIGESTS, pack_digests(digests), _FILE_MODE)


def _layers_of(image: SharedImage) -> set[bytes]:
    """Return the IDs of all layers of a shared image, those that nothing shows included."""
    documents = read_shared(image)
    return {*image.stack.layers, *(layer.layer.encode() for layer in documents.layers)}


def _bytes_in(path: bytes) -> int:
    """Return the bytes of a file, or of the files in a directory."""
    if not os.path.isdir(path):
        return os.lstat(path).st_size
    return sum(entry.stat(follow_symlinks=False).st_size for entry in os.scandir(path))


def _remove(path: bytes) -> None:
    """Remove a draft."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(FileNotFoundError):
        os.unlink(path)


@contextmanager
def _told(path: bytes) -> Iterator[None]:
    """Turn errors of the file system into one line about the store."""
    try:
        yield
    except OSError as error:
        shown = os.fsdecode(path)
        raise StoreError(f"can't write to {shown}: {error.strerror}", _REMOTE_HINT) from error
