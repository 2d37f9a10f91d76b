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
import json
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from sundog.base.fields import Fields, parse_json
from sundog.base.kernel.drafts import write_new_file
from sundog.base.kernel.files import RENAME_EXCHANGE, Closing, renameat2
from sundog.base.kernel.locks import is_at
from sundog.base.kernel.mounts import AT_FDCWD
from sundog.base.record.guesses import OWNERS_KNOWN, OWNERS_LOST
from sundog.base.record.names import canonical_name, name_to_directory, spelled_out
from sundog.base.record.stack import ImageStack, pack_stack
from sundog.errors import (
    DocumentError,
    KernelError,
    NotInStorage,
    ReferenceSyntaxError,
    StoreError,
)
from sundog.image.oci.config import ImageConfig
from sundog.image.store.img_links import ImgLinks
from sundog.image.store.metadata import encoded, metadata_files
from sundog.image.store.run_force import was_unrecorded
from sundog.image.store.volumes import volume_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.base.fields import JsonObject
    from sundog.image.store.drivers import Driver
    from sundog.image.store.layers import LayerId, Layers
    from sundog.image.store.storage import Storage

_GLOB = frozenset("*?[")
_DESCRIPTION, _ENVIRONMENT = "image.json", "root/ch/environment"
_NO_EXCHANGE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


@dataclass(frozen=True, slots=True)
class Image:
    """An image in the store.

    ``reference`` is the canonical name, ``typed`` the name that the user wrote.  ``layers`` are in
    order from bottom to top.  ``origin`` says in words where the image came from.  ``blobs`` are
    the digests of the documents by which it was pulled, from the tag's down to the configuration.
    """

    reference: str
    typed: str
    config: ImageConfig
    layers: tuple[LayerId, ...]
    origin: str = ""
    blobs: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The beginning of ``whole_id``, as commands show it."""
        return self.whole_id[:12]

    @property
    def whole_id(self) -> str:
        """A digest of configuration and layers; the same for each name of an image.

        It holds in this store only: elsewhere the layers have other IDs.
        """
        import hashlib  # not needed to find an image

        identity = [self.config.to_json(), self.layers]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


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

    def size(self, image: Image) -> int:
        """Return the bytes in all files of an image's layers, hidden ones included."""
        layers = self._layers
        return sum(layers.size(layer) for layer in image.layers if layers.exists(layer))

    def matching(self, *patterns: str) -> dict[str, Sequence[Image]]:
        """Return for each pattern the images whose typed or canonical name it matches.

        A pattern is a glob of fnmatch(3), or a name; it may have either spelling of
        ``spelled_out``.  For a name, no other image is read.
        """
        images = self.list() if any(map(is_glob, patterns)) else ()
        return {
            pattern: [
                image
                for image in images
                if fnmatchcase(image.typed, spelled_out(pattern))
                or fnmatchcase(image.reference, spelled_out(pattern))
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
            storage.device.sync_drafts(*drafts)
            for image, draft in zip(images, drafts, strict=True):
                directory = name_to_directory(image.reference)
                if self._others_are_replaced(directory, image.layers):
                    storage.expect_garbage()
                storage.locks.confirm()
                self.replace(draft, storage.at(b"images", os.fsencode(directory)))
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
        storage = self._storage
        driver = self._choose_driver()
        driver.check_runnable(image.layers)
        volumes = volume_paths(image.config.volumes)
        visible = self._layers.visible(image.layers)
        stack = ImageStack(
            [layer.encode() for layer in visible],
            driver.tree_of_image(image.layers, volumes),
            [encoded(word) for word in image.config.entrypoint or ()],
            [encoded(word) for word in image.config.cmd or ()],
            encoded(image.config.working_dir),
            user=encoded(image.config.user),
            guesses=self._guesses(image, visible),
        )
        files = {
            b"image.json": json.dumps(described(image)).encode(),
            b"config.json": json.dumps(image.config.to_json()).encode(),
            b"stack": pack_stack(stack),
        }
        files |= {b"root" + path: data for path, data in metadata_files(image.config).items()}
        draft = storage.scratch.new()
        os.makedirs(os.path.join(draft, b"root/ch"))
        for name, data in files.items():
            write_new_file(os.path.join(draft, name), data, 0o644)
        os.chmod(os.path.join(draft, b"root/ch"), 0o755)
        os.chmod(os.path.join(draft, b"root"), self._layers.root_mode(image.layers))
        driver.add_volumes(image.layers, volumes, os.path.join(draft, b"root"))
        return draft

    def _guesses(self, image: Image, visible: Sequence[LayerId]) -> bytes:
        """Return the marks of the layers that show, as in ``ImageStack``."""
        letters = b"".join(map(self._layers.guesses, visible))
        if letters.strip(OWNERS_KNOWN):
            return letters
        return OWNERS_LOST if was_unrecorded(image.config) else b""

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
        paths = {
            text: storage.at(b"images", os.fsencode(name_to_directory(canonical_name(text))))
            for text in texts
        }
        places, missing = [], []
        with storage.faults:
            for text, path in paths.items():
                try:
                    os.lstat(path)
                    storage.expect_garbage()
                    places.append(storage.scratch.aside(path))
                except FileNotFoundError:
                    missing.append(text)
                self._links.follow(os.fsdecode(os.path.basename(path)))
            if places:
                storage.device.changed(storage.at(b"images"))
                storage.device.settle()
            storage.scratch.dispose(*places)
        if missing:
            raise _not_in_storage(missing[0])

    def heal_links(self) -> None:
        """Make the links in ``img/`` agree with all images.  Raises OSError."""
        self._links.heal()

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

    def _others_are_replaced(self, directory: str, layers: tuple[LayerId, ...]) -> bool:
        """Tell whether ``directory`` has an image that has, or may have, other layers."""
        try:
            replaced = self._read(directory)
        except StoreError:
            return True  # it is damaged
        return replaced is not None and replaced.layers != layers

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


def is_glob(pattern: str) -> bool:
    """Tell whether ``pattern`` is a glob, not a name."""
    return not _GLOB.isdisjoint(pattern)


def described(image: Image) -> JsonObject:
    """Return what ``image.json`` has: all of an image but its configuration."""
    return {
        "reference": image.reference,
        "typed": spelled_out(image.typed),
        "layers": list(image.layers),
        "origin": image.origin,
        "blobs": list(image.blobs),
    }


def image_from(value: object, config: bytes) -> Image:
    """Return the image of a description and a configuration; raise DocumentError."""
    description = Fields(value, _DESCRIPTION, DocumentError)
    layers = description.strings("layers")
    if layers is None:
        raise description.wrong("layers", "a list of strings", None)
    return Image(
        description.required_string("reference"),
        description.required_string("typed"),
        ImageConfig.from_json(config),
        layers,
        description.required_string("origin"),
        description.strings("blobs") or (),
    )


def read_image(dirfd: int) -> Image:
    """Read the image in a directory.  Raises DocumentError, and FileNotFoundError."""
    value = parse_json(_contents(dirfd, _DESCRIPTION), _DESCRIPTION, DocumentError)
    with suppress(PermissionError):  # an image may forbid its own root directory
        os.stat(_ENVIRONMENT, dir_fd=dirfd)  # "rm -r" of a link in img/, with a slash, deletes it
    return image_from(value, _contents(dirfd, "config.json"))


def _contents(dirfd: int, name: str) -> bytes:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dirfd)
    with open(fd, "rb") as file:
        return file.read()


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
