"""``images/NAME/``: images.  NAME is the canonical name, with ``%`` for ``/`` and ``+`` for ``:``.

    image.json   the name, how the user typed it, the layers, the origin
    config.json  the image's configuration, in the form of OCI image-spec
    stack        what ``ch-run`` reads, see ``record.stack``
    root/ch/     ``environment`` and ``metadata.json``: the topmost layer of a container

One renameat2(2) replaces the whole directory.  So a reader, which takes no lock, finds the old
image or the new one.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatchcase

from sundog.base.kernel.files import RENAME_EXCHANGE, Closing, renameat2
from sundog.base.kernel.locks import is_at
from sundog.base.kernel.mounts import AT_FDCWD
from sundog.base.record.names import canonical_name, name_to_directory, spelled_out
from sundog.errors import (
    DocumentError,
    KernelError,
    NotInStorage,
    ReferenceSyntaxError,
    StoreError,
)
from sundog.image.oci.config import ImageConfig
from sundog.image.store.garbage import Gone
from sundog.image.store.image_draft import write_image
from sundog.image.store.image_files import (
    Image,
    ImageEntry,
    described,
    read_entry,
    read_image,
    tree_of,
)
from sundog.image.store.img_links import ImgLinks
from sundog.image.store.users import add_user
from sundog.image.store.volumes import volume_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sundog.image.store.drivers import Driver
    from sundog.image.store.layers import LayerId, Layers
    from sundog.image.store.storage import Storage

_GLOB = frozenset("*?[")
_USER = b"images/"  # begins an image's name as a user of layers
_NO_EXCHANGE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


class Images:
    """The images of one store.

    ``choose_driver`` is called only to write an image, since the choice may take a trial.
    """

    def __init__(
        self, storage: Storage, layers: Layers, choose_driver: Callable[[], Driver]
    ) -> None:
        self._storage = storage
        self._layers = layers
        self._choose_driver = choose_driver
        self._links = ImgLinks(storage)

    def get(self, text: str) -> Image:
        """Return the image that ``text`` names.  Its layers stay as long as the store is open.

        Raises NotInStorage, ReferenceSyntaxError, or StoreError when a layer is missing.
        """
        canonical = canonical_name(text)
        self._storage.hold()
        image = self._find(name_to_directory(canonical))
        if image is None:
            raise _not_in_storage(text)
        for layer in image.layers:
            if not self._layers.exists(layer):
                raise StoreError(
                    f"image in storage is damaged: {text}: layer {layer} is missing",
                    "import or build it again; a program that cleans /var/tmp may have deleted it",
                )
        return image

    def entries(self) -> Sequence[ImageEntry]:
        """Return all images as ``list`` does, without their configurations, which are not read."""
        entries = []
        for directory in map(os.fsdecode, os.listdir(self._storage.at(b"images"))):
            path = self._storage.at(b"images", os.fsencode(directory))
            try:
                entries.append(read_entry(path))
            except (FileNotFoundError, DocumentError):
                image = self._or_told(self._read, directory)
                if image is not None:
                    entries.append(image.entry)
        return sorted(entries, key=lambda entry: entry.typed)

    def list(self) -> Sequence[Image]:
        """Return all images, in order of their typed names.  Takes no lock.

        A damaged image has only its name, and in ``origin`` what is wrong.
        """
        images = []
        for directory in map(os.fsdecode, os.listdir(self._storage.at(b"images"))):
            image = self._or_told(self._read, directory)
            if image is not None:
                images.append(image)
        return sorted(images, key=lambda image: image.typed)

    def count(self) -> int:
        """Return the number of images."""
        return len(os.listdir(self._storage.at(b"images")))

    def size(self, image: Image) -> int:
        """Return the bytes in all files of an image's layers, hidden ones included."""
        layers = self._layers
        return sum(layers.size(layer) for layer in image.layers if layers.exists(layer))

    def matching(self, *patterns: str) -> dict[str, Sequence[Image]]:
        """Return for each pattern the images whose typed or canonical name it matches.

        A pattern is a glob of fnmatch(3), or a name; it may have either spelling of
        ``spelled_out``.  For a name, no other image is read; for a glob, only names are.
        """
        entries = self.entries() if any(map(is_glob, patterns)) else ()
        return {
            pattern: [
                image
                for entry in entries
                if fnmatchcase(entry.typed, spelled_out(pattern))
                or fnmatchcase(entry.reference, spelled_out(pattern))
                for image in self._named(entry.reference)
            ]
            if is_glob(pattern)
            else self._named(pattern)
            for pattern in patterns
        }

    def put(self, *images: Image) -> None:
        """Write images under their references, in place of those that are there.

        Each is replaced in one step, and keeps the spelling of its name in lists.  All are on the
        device when this returns.  Raises StoreError for an image that ``ch-run`` could not mount.
        """
        storage = self._storage
        storage.hold()
        with storage.faults:
            images = tuple(map(self._as_listed, images))
            drafts = [self.draft(image) for image in images]
            for image in images:
                add_user(
                    map(self._layers.directory, image.layers),
                    user_of(name_to_directory(image.reference)),
                    storage.device,
                )
            storage.device.sync_drafts(*drafts)
            for image, draft in zip(images, drafts, strict=True):
                directory = name_to_directory(image.reference)
                target = storage.at(b"images", os.fsencode(directory))
                new = self._gone(directory, draft)
                self._expect_end(directory, target, kept=new)
                storage.locks.confirm()
                self.replace(draft, target)
                # Another command may have put its own image there before.
                self._expect_end(directory, draft, kept=new)
                storage.device.changed(storage.at(b"images"))
                self._links.follow(directory)
                self._refer(image)
            storage.device.settle()
            storage.scratch.dispose(*drafts)

    def _as_listed(self, image: Image) -> Image:
        """Return ``image`` with the spelling of its name that lists show already."""
        try:
            old = self._read(name_to_directory(image.reference))
        except StoreError:  # it is damaged
            old = None
        return image if old is None else replace(image, typed=old.typed)

    def draft(self, image: Image) -> bytes:
        """Write an image to a new directory in ``tmp/``; return the directory."""
        draft = self._storage.scratch.new()
        write_image(draft, image, described(image), self._layers, self._choose_driver())
        return draft

    def _refer(self, image: Image) -> None:
        """Note that an image, which is in place now, refers to its layers, blobs and tree."""
        storage = self._storage
        volumes = volume_paths(image.config.volumes)
        tree = self._choose_driver().tree_of_image(image.layers, volumes)
        blobs = (digest.encode().split(b":", 1) for digest in image.blobs)
        storage.unreferenced.refer(
            *map(self._layers.directory, image.layers),
            *(storage.at(b"blobs", *words) for words in blobs),
            storage.at(b"trees", tree),
        )

    def delete(self, *texts: str) -> None:
        """Remove the images that ``texts`` name; ``close`` removes layers that only they used.

        Running containers go on.  Raises ReferenceSyntaxError before it removes anything, and
        NotInStorage after it has removed the images that are there.
        """
        storage = self._storage
        directories = {text: name_to_directory(canonical_name(text)) for text in texts}
        storage.hold()
        places, missing = [], []
        with storage.faults:
            for text, directory in directories.items():
                path = storage.at(b"images", os.fsencode(directory))
                self._expect_end(directory, path)
                try:
                    places.append(storage.scratch.aside(path))
                    # Another command may have replaced the image before.
                    self._expect_end(directory, places[-1])
                except FileNotFoundError:
                    missing.append(text)
                self._links.follow(directory)
            if places:
                storage.device.changed(storage.at(b"images"))
                storage.device.settle()
            storage.scratch.dispose(*places)
        if missing:
            raise _not_in_storage(missing[0])

    def heal_links(self, directories: Iterable[str] | None = None) -> None:
        """Make the links in ``img/`` agree with these images, by default all; raise OSError."""
        if directories is None:
            self._links.heal()
        for directory in directories or ():
            self._links.follow(directory)

    def _find(self, directory: str) -> Image | None:
        """Read the image that a command names, and put its links right; raise as ``_read``."""
        self._links.follow(directory)
        return self._read(directory)

    def _named(self, text: str) -> Sequence[Image]:
        """Return the image that ``text`` names, if there is one."""
        try:
            directory = name_to_directory(canonical_name(text))
        except ReferenceSyntaxError:
            return ()
        image = self._or_told(self._find, directory)
        return () if image is None else (image,)

    def _or_told(self, read: Callable[[str], Image | None], directory: str) -> Image | None:
        """Read an image; for a damaged one, return its name, with the error as the origin."""
        try:
            return read(directory)
        except StoreError as error:
            name = spelled_out(directory)
            return Image(name, name, ImageConfig(), (), error.message)

    def _expect_end(self, directory: str, path: bytes, kept: Gone | None = None) -> None:
        """Expect garbage of the image at ``path``, if it refers to anything but ``kept``."""
        try:
            gone = self._gone(directory, path)
        except FileNotFoundError:
            if os.path.lexists(path):  # it is damaged
                self._storage.expect_garbage()
        except DocumentError:
            self._storage.expect_garbage()
        else:
            if gone != kept:
                self._storage.garbage.expect_of(gone)

    def _gone(self, directory: str, path: bytes) -> Gone:
        """Return what the image at ``path`` refers to; raise as ``read_entry``."""
        entry = read_entry(path)
        return Gone(directory, entry.layers, os.fsdecode(tree_of(path)), entry.blobs)

    def uses(self, user: bytes, layer: LayerId) -> Gone | None:
        """Return what a user of a layer refers to, if it is an image and refers to that layer.

        ``user`` is as in ``users``.
        """
        if not user.startswith(_USER):
            return None
        directory = user.removeprefix(_USER)
        with suppress(FileNotFoundError, DocumentError):
            gone = self._gone(os.fsdecode(directory), self._storage.at(b"images", directory))
            return gone if layer in gone.layers else None
        return None

    def replace(self, draft: bytes, target: bytes) -> None:
        """Rename ``draft`` to ``target``; an old image there gets the path ``draft``."""
        while True:
            try:
                renameat2(AT_FDCWD, draft, AT_FDCWD, target, RENAME_EXCHANGE)
                return
            except KernelError as error:
                if error.errno in _NO_EXCHANGE:
                    self._storage.scratch.replace(draft, target)
                    return
                if error.errno != errno.ENOENT:
                    raise
            try:
                os.rename(draft, target)
                return
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise  # else another process has put an image there: exchange with that

    def _read(self, directory: str) -> Image | None:
        """Read an image; None when there is none.  Raises StoreError for a damaged one."""
        path = self._storage.at(b"images", os.fsencode(directory))
        while True:
            try:
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            with Closing(fd):
                try:
                    return read_image(fd)
                except (FileNotFoundError, DocumentError) as error:
                    if is_at(path, fd):
                        name = spelled_out(directory)
                        raise StoreError(
                            f"damaged image in storage: {name}: {error}", f"ch-image delete {name}"
                        ) from error
                    # Another command has replaced or deleted the image meanwhile: look again.


def user_of(directory: str) -> bytes:
    """Return the name of the image in ``images/directory`` as a user of layers."""
    return _USER + os.fsencode(directory)


def is_glob(pattern: str) -> bool:
    """Tell whether ``pattern`` is a glob, not a name."""
    return not _GLOB.isdisjoint(pattern)


def directory_hint(text: str) -> str:
    """Return the hint for a name that storage lacks if a directory has that name, or ""."""
    if text.startswith(("/", "./", "../")) or not os.path.isdir(text):
        return ""
    return f"the directory ./{text} is here: ch-image import ./{text} {text}"


def _not_in_storage(text: str) -> NotInStorage:
    return NotInStorage(
        f"not in storage: {text}",
        directory_hint(text) or f"ch-image pull {text}; or ch-image import PATH {text}",
    )
