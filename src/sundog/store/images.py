"""``images/NAME/``: what has a name.  ``/`` of the canonical name is written ``%``, ``:`` is ``+``.

    image.json   the name, how it was typed, the layers, where it came from
    config.json  the image's configuration, as OCI image-spec writes it
    stack        what ``ch-run`` reads, see ``record.stack``
    root/ch/     ``environment`` and ``metadata.json``: the topmost layer of a container

A whole directory is replaced by one renameat2(2), so a reader, who takes no lock, finds the old
image or the new one.
"""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass
from fnmatch import fnmatchcase

from sundog.errors import (
    DocumentError,
    KernelError,
    NotInStorage,
    ReferenceSyntaxError,
    StoreError,
)
from sundog.kernel.files import RENAME_EXCHANGE, renameat2
from sundog.kernel.mounts import AT_FDCWD
from sundog.oci.config import ImageConfig
from sundog.oci.fields import Fields, parse_json
from sundog.record.names import canonical_name, name_to_directory
from sundog.record.stack import ImageStack, pack_stack
from sundog.store.metadata import encoded, environment_file, metadata_file
from sundog.store.volumes import volume_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.store.layers import LayerId
    from sundog.store.store import Store

_GLOB = frozenset("*?[")
_DESCRIPTION = "image.json"
_NO_EXCHANGE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


@dataclass(frozen=True, slots=True)
class Image:
    """An image in the store.

    ``reference`` is the canonical name and ``typed`` what the user wrote; ``layers`` go from bottom
    to top; ``origin`` says in words where the image came from; ``blobs`` are the digests of the
    documents as which it was pulled: what the tag named, and so on to the configuration.
    """

    reference: str
    typed: str
    config: ImageConfig
    layers: tuple[LayerId, ...]
    origin: str = ""
    blobs: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """A digest of configuration and layers, the same under each of an image's names.

        It is of this store only: elsewhere the layers have other names.
        """
        import hashlib  # noqa: PLC0415 - not needed to find an image

        identity = [self.config.to_json(), self.layers]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


class Images:
    """The images of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, text: str) -> Image:
        """Return the image that ``text`` names; its layers stay as long as the store is open.

        Raises NotInStorage, ReferenceSyntaxError, or StoreError when a layer is missing.
        """
        canonical = canonical_name(text)
        self._store.hold()
        image = self._read(name_to_directory(canonical))
        if image is None:
            raise _not_in_storage(text)
        for layer in image.layers:
            if not self._store.layers.exists(layer):
                raise StoreError(
                    f"image in storage is damaged: {text}: layer {layer} is missing",
                    "import or build it again; what cleans /var/tmp may have been there",
                )
        return image

    def list(self) -> Sequence[Image]:
        """Return all images, in order of their typed names.  Takes no lock.

        Of one that is damaged nothing but its name is there.
        """
        images = []
        for directory in map(os.fsdecode, os.listdir(self._store.at(b"images"))):
            image = self._read_or_tell(directory)
            if image is not None:
                images.append(image)
        return sorted(images, key=lambda image: image.typed)

    def size(self, image: Image) -> int:
        """Return the bytes in the files of an image's layers, those that are hidden as well."""
        layers = self._store.layers
        return sum(layers.size(layer) for layer in image.layers if layers.exists(layer))

    def matching(self, *patterns: str) -> dict[str, Sequence[Image]]:
        """Return for each pattern the images whose typed or canonical name it is, or matches.

        A pattern is a glob of fnmatch(3), or a name, for which no other image is looked at.
        """
        images = self.list() if any(map(is_glob, patterns)) else ()
        return {
            pattern: [
                image
                for image in images
                if fnmatchcase(image.typed, pattern) or fnmatchcase(image.reference, pattern)
            ]
            if is_glob(pattern)
            else self._named(pattern)
            for pattern in patterns
        }

    def put(self, *images: Image) -> None:
        """Write images under their references, in place of those that were there.

        Each is replaced in one step.  All are on the device then.
        """
        store = self._store
        store.hold()
        with store.faults:
            drafts = [self._draft(image) for image in images]
            store.device.sync_drafts(*drafts)
            for image, draft in zip(images, drafts, strict=True):
                directory = name_to_directory(image.reference)
                if self._others_are_replaced(directory, image.layers):
                    store.expect_garbage()
                self._replace(draft, store.at(b"images", os.fsencode(directory)))
                store.device.changed(store.at(b"images"))
                self._refer(image)
            store.device.settle()
            store.scratch.dispose(*drafts)

    def _draft(self, image: Image) -> bytes:
        """Write an image to a directory of ``tmp/``, and return that."""
        store = self._store
        volumes = volume_paths(image.config.volumes)
        stack = ImageStack(
            [layer.encode() for layer in store.layers.visible(image.layers)],
            store.driver.tree_of_image(image.layers, volumes),
            [encoded(word) for word in image.config.entrypoint or ()],
            [encoded(word) for word in image.config.cmd or ()],
            encoded(image.config.working_dir),
            user=encoded(image.config.user),
        )
        description = {
            "reference": image.reference,
            "typed": image.typed,
            "layers": image.layers,
            "origin": image.origin,
            "blobs": image.blobs,
        }
        files = {
            b"image.json": json.dumps(description).encode(),
            b"config.json": json.dumps(image.config.to_json()).encode(),
            b"stack": pack_stack(stack),
            b"root/ch/environment": environment_file(image.config),
            b"root/ch/metadata.json": metadata_file(image.config),
        }
        draft = store.scratch.new()
        os.makedirs(os.path.join(draft, b"root/ch"))
        for name, data in files.items():
            _write(os.path.join(draft, name), data)
        os.chmod(os.path.join(draft, b"root/ch"), 0o755)
        os.chmod(os.path.join(draft, b"root"), store.layers.root_mode(image.layers))
        store.driver.add_volumes(image.layers, volumes, os.path.join(draft, b"root"))
        return draft

    def _refer(self, image: Image) -> None:
        """Note what an image that is in place refers to."""
        store = self._store
        volumes = volume_paths(image.config.volumes)
        tree = store.driver.tree_of_image(image.layers, volumes)
        blobs = (digest.encode().split(b":", 1) for digest in image.blobs)
        store.loose.refer(
            *map(store.layers.directory, image.layers),
            *(store.at(b"blobs", *words) for words in blobs),
            store.at(b"trees", tree),
        )

    def delete(self, *texts: str) -> None:
        """Remove the images that ``texts`` name, and on ``close`` the layers that only they used.

        Containers that run from them go on.  Raises ReferenceSyntaxError, or NotInStorage, after
        the others are removed.
        """
        store = self._store
        paths = {
            text: store.at(b"images", os.fsencode(name_to_directory(canonical_name(text))))
            for text in texts
        }
        places, missing = [], []
        with store.faults:
            for text, path in paths.items():
                try:
                    os.lstat(path)
                    store.expect_garbage()
                    places.append(store.scratch.aside(path))
                except FileNotFoundError:
                    missing.append(text)
            if places:
                store.device.changed(store.at(b"images"))
                store.device.settle()
            store.scratch.dispose(*places)
        if missing:
            raise _not_in_storage(missing[0])

    def _named(self, text: str) -> Sequence[Image]:
        """Return the image that ``text`` names, if there is one."""
        try:
            directory = name_to_directory(canonical_name(text))
        except ReferenceSyntaxError:
            return ()
        image = self._read_or_tell(directory)
        return () if image is None else (image,)

    def _read_or_tell(self, directory: str) -> Image | None:
        """Read an image; of one that is damaged, return the name, and what is wrong."""
        try:
            return self._read(directory)
        except StoreError as error:
            name = _name_of(directory)
            return Image(name, name, ImageConfig(), (), error.message)

    def _others_are_replaced(self, directory: str, layers: tuple[LayerId, ...]) -> bool:
        """Tell whether the image in ``directory`` has, or may have, other layers than these."""
        try:
            replaced = self._read(directory)
        except StoreError:
            return True  # it is damaged
        return replaced is not None and replaced.layers != layers

    def _replace(self, draft: bytes, target: bytes) -> None:
        """Rename ``draft`` to ``target``; where there was one, it takes the place of ``draft``."""
        while True:
            try:
                renameat2(AT_FDCWD, draft, AT_FDCWD, target, RENAME_EXCHANGE)
                return
            except KernelError as error:
                if error.errno in _NO_EXCHANGE:
                    self._store.scratch.replace(draft, target)
                    return
                if error.errno != errno.ENOENT:
                    raise
            try:
                os.rename(draft, target)
                return
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise  # else another process was faster: exchange with its image

    def _read(self, directory: str) -> Image | None:
        """Read an image; None when there is none.  Raises StoreError on one that is damaged."""
        path = self._store.at(b"images", os.fsencode(directory))
        while True:
            try:
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            try:
                return _read_image(fd)
            except (FileNotFoundError, DocumentError) as error:
                if _is_at(path, fd):
                    name = _name_of(directory)
                    raise StoreError(
                        f"damaged image in storage: {name}: {error}", f"ch-image delete {name}"
                    ) from error
                # Replaced or deleted while it was read: look again.
            finally:
                os.close(fd)


def is_glob(pattern: str) -> bool:
    """Tell whether ``pattern`` may match more than the image that it names."""
    return not _GLOB.isdisjoint(pattern)


def _read_image(dirfd: int) -> Image:
    value = parse_json(_contents(dirfd, _DESCRIPTION), _DESCRIPTION, DocumentError)
    description = Fields(value, _DESCRIPTION, DocumentError)
    layers = description.strings("layers")
    if layers is None:
        raise description.wrong("layers", "a list of strings", None)
    return Image(
        description.required_string("reference"),
        description.required_string("typed"),
        ImageConfig.from_json(_contents(dirfd, "config.json")),
        layers,
        description.required_string("origin"),
        description.strings("blobs") or (),
    )


def _contents(dirfd: int, name: str) -> bytes:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dirfd)
    with open(fd, "rb") as file:
        return file.read()


def _is_at(path: bytes, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


def _name_of(directory: str) -> str:
    """Return the canonical name of the image in ``directory``."""
    return directory.replace("%", "/").replace("+", ":")


def _not_in_storage(text: str) -> NotInStorage:
    return NotInStorage(
        f"not in storage: {text}", f"ch-image pull {text}; or ch-image import PATH {text}"
    )


def _write(path: bytes, data: bytes) -> None:
    """Write a file, readable for all as files of an image are."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        os.fchmod(fd, 0o644)
        file.write(data)
