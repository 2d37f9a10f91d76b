"""Publish images in a shared store, for other users and machines: see ``record.shared_image``.

A publisher takes no lock, and two may work at once: files get their names when they are complete
and on the device, and the file of a layer that is there is never written again.  Its name is a
digest of the image's content.  All files are 0444 and all directories 0755, whatever the umask, and
owners and set-id bits are only in the SquashFS.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from contextlib import contextmanager, suppress

from sundog.base.configuration.stores import open_store, owner_ids
from sundog.base.kernel.drafts import replace_file
from sundog.base.kernel.files import sync_name
from sundog.base.record.names import canonical_name, name_to_directory
from sundog.base.record.shared_image import (
    SHARED_IMAGES,
    SHARED_LAYERS,
    SHARED_MARK,
    SHARED_VERSION,
    pack_shared,
    shared_layer_file,
    shared_layer_of,
)
from sundog.errors import NotInStorage, StoreError
from sundog.image.convert.flow import Flow
from sundog.image.convert.mounted_squash import Work, squash_layers
from sundog.image.convert.own_files import files_of_config
from sundog.image.convert.squash import find_maker, squash_output
from sundog.image.layer.below import LayerTree
from sundog.image.store.description import describe
from sundog.image.store.shared_images import SharedFile, pack_documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sundog.base.configuration.stores import SharedImage
    from sundog.image.store.image_files import Image
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Report, Transfer

_DRAFT = b".sundog-"
_ASIDE = b".sundog-aside-"  # begins the name of a layer that a collection is about to remove
_DRAFT_LIFE = 24 * 60 * 60  # seconds: what is older than that nobody is writing any more
_DIRECTORY_MODE, _FILE_MODE = 0o755, 0o444
_CHUNK = 1 << 20
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
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
            if set(names) - {SHARED_IMAGES, SHARED_LAYERS, SHARED_MARK}:
                raise StoreError(
                    f"not empty, and no shared store: {os.fsdecode(self._path)}",
                    "name a new directory; publish makes it",
                )
            replace_file(mark, SHARED_VERSION, mode=_FILE_MODE)
        for name in (SHARED_IMAGES, SHARED_LAYERS):
            with suppress(FileExistsError):
                os.mkdir(self._at(name))
                os.chmod(self._at(name), _DIRECTORY_MODE)

    def publish(
        self, store: Store, image: Image, name: str, report: Report, transfer: Transfer
    ) -> bool:
        """Publish ``image`` of ``store`` under ``name``; tell whether its file was not there.

        Raises SundogError.
        """
        reference = canonical_name(name)
        layer = _content_id(store, image)
        described = describe(store, image) | {"name": name, "reference": reference}
        before = self._store.find(reference)
        with _told(self._path):
            is_new = True
            while True:
                is_new = self._write_layer(store, image, layer, report, transfer) and is_new
                file = self._described_file(layer)
                data = pack_shared([layer], pack_documents(described, [file]))
                if before is not None:
                    self._renew(before)
                target = self._at(SHARED_IMAGES, name_to_directory(reference).encode())
                replace_file(target, data, mode=_FILE_MODE)
                # A collection may have taken the layer before the name was there.
                if os.path.lexists(self._at(shared_layer_file(layer))):
                    return is_new

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

        Return the number of files and of bytes.
        """
        count, size = 0, 0
        now = time.time()
        with _told(self._path):
            for directory in (SHARED_LAYERS, SHARED_IMAGES, b"."):
                for entry in os.scandir(self._at(directory)):
                    status = entry.stat(follow_symlinks=False)
                    age = now - status.st_mtime
                    layer = shared_layer_of(entry.name.removeprefix(_ASIDE))
                    if directory == SHARED_LAYERS and layer:
                        is_aside = entry.name.startswith(_ASIDE)
                        is_gone = (age > grace or is_aside) and self._collected(layer)
                    else:
                        is_draft = entry.name.startswith(_DRAFT) and age > _DRAFT_LIFE
                        is_gone = is_draft and _removed(entry.path)
                    if is_gone:
                        count, size = count + 1, size + status.st_size
        return count, size

    def _collected(self, layer: bytes) -> bool:
        """Remove a layer unless an image has it; tell whether it is gone.

        The layer loses its name before the last look at the images, because a publisher looks for
        the layer after it has written the image.
        """
        path = self._at(shared_layer_file(layer))
        aside = self._at(SHARED_LAYERS, _ASIDE + os.path.basename(path))
        if layer not in self._used():
            with suppress(FileNotFoundError):  # a collection that was killed has done it
                os.rename(path, aside)
        if layer not in self._used():
            return _removed(aside)
        with suppress(FileNotFoundError):
            _named(aside, path)
            os.unlink(aside)
        return False

    def _used(self) -> set[bytes]:
        """Return the IDs of the layers that images have."""
        return {layer for image in self._store.images() for layer in image.layers}

    def _renew(self, image: SharedImage) -> None:
        """Let the grace period of the layers of ``image`` begin now."""
        for layer in image.layers:
            with suppress(FileNotFoundError):
                os.utime(self._at(shared_layer_file(layer)))

    def _write_layer(
        self, store: Store, image: Image, layer: bytes, report: Report, transfer: Transfer
    ) -> bool:
        """Write the file of a layer; tell whether it was not there."""
        target = self._at(shared_layer_file(layer))
        with suppress(FileNotFoundError):
            os.utime(target)
            return False
        trees = [LayerTree.read(path) for path in store.layers.paths(image.layers)]
        added = files_of_config(image.config, trees)
        flow = Flow(None, keeps_xattrs=True, is_flat=True)
        work = Work(find_maker(), flow, transfer, report.warning)
        draft = self._at(SHARED_LAYERS, _DRAFT + os.urandom(8).hex().encode())
        try:
            with squash_output(os.fsdecode(draft)) as output:
                squash_layers(store, image.layers, added, output, work)
            os.chmod(draft, _FILE_MODE)
            return _named(draft, target)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(draft)

    def _described_file(self, layer: bytes) -> SharedFile:
        """Return the size and the digest of a layer's file, which is read as a whole."""
        path = self._at(shared_layer_file(layer))
        with open(path, "rb", buffering=0) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = os.fstat(file.fileno()).st_size
        return SharedFile(layer.decode(), size, f"sha256:{digest}")

    def _at(self, *names: bytes) -> bytes:
        return b"/".join((self._path, *names))


def _content_id(store: Store, image: Image) -> bytes:
    """Return the ID of the file that holds all of an image; equal images have the same."""
    layers = [store.layers.portable_id(layer) for layer in image.layers]
    config = image.config.replace(history=(), diff_ids=()).to_json()
    text = json.dumps([layers, config], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest().encode()


def _named(draft: bytes, target: bytes) -> bool:
    """Give a file its name; return False if another publisher has given it to such a file.

    A file that is there is not replaced: on NFS its readers would lose it.
    """
    try:
        os.link(draft, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.rename(draft, target)
    sync_name(target)
    return True


def _removed(path: bytes) -> bool:
    try:
        os.unlink(path)
    except OSError:
        return False
    return True


@contextmanager
def _told(path: bytes) -> Iterator[None]:
    """Turn errors of the file system into one line about the store."""
    try:
        yield
    except OSError as error:
        shown = os.fsdecode(path)
        raise StoreError(f"can't write to {shown}: {error.strerror}", _REMOTE_HINT) from error
