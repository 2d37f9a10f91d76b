"""``deleted/``: the descriptions of deleted images, one file for each name, the latest.

A file has the image's ``image.json`` and ``config.json``.  It keeps no layer from being collected:
what the user deletes must free space.  An image can be restored as long as its layers are here,
because the build cache or another image has them.  A collection removes the files of images that
can't be restored any more.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import replace

from sundog.base.fields import Fields
from sundog.base.record.names import canonical_name, name_to_directory
from sundog.base.record.stored_entry import parted
from sundog.errors import DocumentError, NotInStorage, StoreError
from sundog.image.oci.platform import Platform
from sundog.image.store.image_files import described, image_from
from sundog.image.store.users import add_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sundog.image.store.image_files import Image
    from sundog.image.store.images import Images
    from sundog.image.store.layers import Layers
    from sundog.image.store.storage import Storage

DELETED = b"deleted"
_WHAT = "the description of a deleted image"
_LIMIT = 64 << 20  # bytes of a description


class DeletedImages:
    """The deleted images of one store."""

    def __init__(self, storage: Storage, layers: Layers, images: Images) -> None:
        self._storage = storage
        self._layers = layers
        self._images = images

    def remember(self, *images: Image) -> None:
        """Note images that are about to be deleted.  A damaged image is not noted."""
        with self._storage.faults:
            for image in images:
                if not image.layers:
                    continue
                os.makedirs(self._storage.at(DELETED), mode=0o700, exist_ok=True)
                text = json.dumps({"image": described(image), "config": image.config.to_json()})
                name = image.entry_name
                self._storage.write_file(
                    self._storage.at(DELETED, os.fsencode(name)), text.encode()
                )
                add_user(map(self._layers.directory, image.layers), _user(name))

    def list(self) -> Sequence[Image]:
        """Return the images that can be restored now, in order of their typed names."""
        found = []
        for name in self._names():
            image = self._read(name)
            if image is not None and self._is_whole(image) and not self._is_here(image):
                found.append(image)
        return sorted(found, key=lambda image: (image.typed, str(image.platform)))

    def restore(self, text: str, platform: Platform | None = None) -> Image:
        """Put the deleted image back that ``text`` names; return it.

        It is chosen as by ``Images.get``.  Raises StoreError if there is such an image, and
        NotInStorage if there was none, or if its layers are gone.
        """
        self._storage.hold()
        image = self._chosen(canonical_name(text), platform)
        wanted = platform if image is None else image.platform
        if self._images.has(text, wanted):
            raise StoreError(
                f"image exists; will not overwrite: {text}", f"ch-image delete {text}; or use it"
            )
        if image is None:
            raise NotInStorage(f"image not in cache: {text}", "see: ch-image list --undeletable")
        if not self._is_whole(image):
            raise NotInStorage(
                f"image not in cache: {text}: its layers have been removed",
                "build or pull it again; layers stay while the build cache or an image has them",
            )
        blobs = tuple(digest for digest in image.blobs if self._has_blob(digest))
        image = replace(image, blobs=blobs if blobs == image.blobs else ())
        self._images.put(image)
        self._forget(os.fsencode(image.entry_name))
        return image

    def prune(self, names: Iterable[bytes] | None = None) -> None:
        """Forget those of the images ``names``, by default all, that can't be restored any more."""
        for name in self._names() if names is None else names:
            image = self._read(name)
            if image is None or not self._is_whole(image):
                self._forget(name)

    def clear(self) -> None:
        """Forget all."""
        for name in self._names():
            self._forget(name)

    def _names(self) -> Sequence[bytes]:
        try:
            return os.listdir(self._storage.at(DELETED))
        except FileNotFoundError:
            return ()

    def _read(self, name: bytes) -> Image | None:
        """Read a description; None if it is missing or damaged."""
        with (
            suppress(OSError, DocumentError),
            open(self._storage.at(DELETED, name), "rb") as file,
        ):
            fields = Fields.parse(file.read(_LIMIT), _WHAT, DocumentError)
            config = json.dumps(fields.mapping("config")).encode()
            return image_from(fields.take("image"), config)
        return None

    def _is_whole(self, image: Image) -> bool:
        return all(map(self._layers.exists, image.layers))

    def _is_here(self, image: Image) -> bool:
        return self._images.has(image.reference, image.platform)

    def _chosen(self, reference: str, platform: Platform | None) -> Image | None:
        """Return the deleted image of a name and a platform; raise NotInStorage if it is open."""
        directory = name_to_directory(reference)
        names = [name for name in self._names() if parted(os.fsdecode(name))[0] == directory]
        found = {image.platform: image for image in map(self._read, names) if image is not None}
        for wanted in (platform or Platform.of_host()).runnable():
            if wanted in found:
                return found[wanted]
        if platform is not None or len(found) < 2:
            return None if platform is not None else next(iter(found.values()), None)
        raise NotInStorage(
            f"{reference} was deleted for {', '.join(sorted(map(str, found)))}",
            "choose one with --arch",
        )

    def _has_blob(self, digest: str) -> bool:
        return os.path.exists(self._storage.at(b"blobs", *digest.encode().split(b":", 1)))

    def _forget(self, name: bytes) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._storage.at(DELETED, name))
            self._storage.device.changed(self._storage.at(DELETED))


def _user(directory: str) -> bytes:
    return os.path.join(DELETED, os.fsencode(directory))
