"""``images/NAME/``: an image as its files say it, and the reading of them; see ``images``."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field

from sundog.base.fields import Fields, parse_json
from sundog.base.kernel.files import Closing
from sundog.base.kernel.stub import read_all
from sundog.base.record.names import name_to_directory, spelled_out
from sundog.base.record.platform_names import platform_key
from sundog.base.record.stack import read_stack
from sundog.base.record.stored_entry import entry_beside
from sundog.errors import DocumentError, StoreError, UsageError
from sundog.image.oci.config import ImageConfig
from sundog.image.oci.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.base.fields import JsonObject
    from sundog.image.store.layer_ids import LayerId

_ENTRY_LIMIT = 255  # NAME_MAX
_DESCRIPTION, _ENVIRONMENT = "image.json", "root/ch/environment"


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """An image without its configuration; the fields are those of ``Image``.

    ``id``, ``created`` and ``platform``, a text, are what lists show of it.  ``id`` is "" if an
    earlier version has written the image.
    """

    reference: str
    typed: str
    layers: tuple[LayerId, ...]
    origin: str = ""
    blobs: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    id: str = ""
    created: str = ""
    platform: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """An image in the store.

    ``reference`` is the canonical name, ``typed`` the name that the user wrote.  ``layers`` are in
    order from bottom to top.  ``origin`` says in words where the image came from.  ``blobs`` are
    the digests of the documents by which it was pulled, from the tag's down to the configuration.
    ``annotations`` are those of the manifest that is made when it leaves.
    """

    reference: str
    typed: str
    config: ImageConfig
    layers: tuple[LayerId, ...]
    origin: str = ""
    blobs: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def entry(self) -> ImageEntry:
        """The image without its configuration."""
        return ImageEntry(
            self.reference,
            self.typed,
            self.layers,
            self.origin,
            self.blobs,
            self.annotations,
            self.id,
            self.config.created,
            str(self.platform),
        )

    @property
    def platform(self) -> Platform:
        """The platform that the image is for; this machine's if the configuration has none."""
        config = self.config
        if not config.architecture:
            return Platform.of_host()
        return Platform.of(config.os, config.architecture, config.variant)

    @property
    def entry_name(self) -> str:
        """The directory of ``images/`` that the image gets: see ``record.stored_entry``.

        Raises StoreError if no directory can have that name.
        """
        directory = name_to_directory(self.reference)
        if self.platform == Platform.of_host():
            return directory
        try:
            entry = entry_beside(directory, platform_key(self.platform.parts))
        except UsageError as error:
            raise StoreError(
                f"can't store {self.typed}: its configuration is for {error.message}",
                "who made it must correct it",
            ) from error
        if len(entry) > _ENTRY_LIMIT:
            raise StoreError(
                f"the full name is too long to be stored for {self.platform}: {self.reference}",
                f"give it a name of less than {_ENTRY_LIMIT - 32} characters",
            )
        return entry

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


def described(image: Image) -> JsonObject:
    """Return what ``image.json`` has: all of an image but its configuration.

    What lists show of the configuration is there, too.
    """
    entry = image.entry
    return {
        "reference": entry.reference,
        "typed": spelled_out(entry.typed),
        "layers": list(entry.layers),
        "origin": entry.origin,
        "blobs": list(entry.blobs),
        **({"annotations": dict(entry.annotations)} if entry.annotations else {}),
        "id": entry.id,
        "created": entry.created,
        "platform": entry.platform,
    }


def image_from(value: object, config: bytes) -> Image:
    """Return the image of a description and a configuration; raise DocumentError."""
    entry = _entry_from(value)
    return Image(
        entry.reference,
        entry.typed,
        ImageConfig.from_json(config),
        entry.layers,
        entry.origin,
        entry.blobs,
        entry.annotations,
    )


def _entry_from(value: object) -> ImageEntry:
    description = Fields(value, _DESCRIPTION, DocumentError)
    layers = description.strings("layers")
    if layers is None:
        raise description.wrong("layers", "a list of strings", None)
    return ImageEntry(
        description.required_string("reference"),
        description.required_string("typed"),
        layers,
        description.required_string("origin"),
        description.strings("blobs") or (),
        description.string_map("annotations"),
        description.string("id"),
        description.string("created"),
        description.string("platform"),
    )


def read_image(dirfd: int) -> Image:
    """Read the image in a directory.  Raises DocumentError, and FileNotFoundError."""
    value = parse_json(_contents(_DESCRIPTION, dirfd), _DESCRIPTION, DocumentError)
    _check_root(_ENVIRONMENT, dirfd)
    return image_from(value, _contents("config.json", dirfd))


def read_entry(image: bytes) -> ImageEntry:
    """Read the description of the image in a directory, and no more; raise as ``read_image``."""
    contents = _contents(os.path.join(image, os.fsencode(_DESCRIPTION)))
    return _entry_from(parse_json(contents, _DESCRIPTION, DocumentError))


def read_listed(image: bytes) -> ImageEntry:
    """Read what lists show of the image in a directory; raise as ``read_image``."""
    entry = read_entry(image)
    if not entry.id:
        with Closing(os.open(image, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
            return read_image(fd).entry
    _check_root(os.path.join(image, os.fsencode(_ENVIRONMENT)))
    return entry


def _check_root(environment: str | bytes, dirfd: int | None = None) -> None:
    """Raise FileNotFoundError if an image has lost its own files."""
    with suppress(PermissionError):  # an image may forbid its own root directory
        os.stat(environment, dir_fd=dirfd)  # "rm -r" of a link in img/, with a slash, deletes it


def tree_of(image: bytes) -> bytes:
    """Return the flattened tree from which the image in a directory is run, if it has one."""
    with (
        suppress(FileNotFoundError, StoreError),
        Closing(os.open(image, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd,
    ):
        return read_stack(fd).tree
    return b""


def _contents(path: str | bytes, dirfd: int | None = None) -> bytes:
    with Closing(os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dirfd)) as fd:
        return read_all(fd)
