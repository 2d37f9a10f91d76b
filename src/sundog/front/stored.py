"""The facts that a run needs about a stored image: the small file that ``ch-run`` reads, too."""

from __future__ import annotations

import os

from sundog.base.configuration.storage import default_storage
from sundog.base.kernel.libc import decode_text
from sundog.base.pathnames import joined, normalized
from sundog.base.record.names import canonical_name
from sundog.base.record.stack import read_stack
from sundog.base.record.stored_path import stored_place
from sundog.errors import SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from sundog.base.record.stack import ImageStack

_CONFIG_LIMIT = 64 << 20  # bytes


class ImageDefaults:
    """The facts of an image that a run needs: its ENTRYPOINT, CMD, WORKDIR and USER.

    ``is_layered`` tells whether the kernel stacks its layers, so that changes can be kept.
    ``is_shared`` tells that they are in a shared store.
    """

    __slots__ = ("command", "entrypoint", "is_layered", "is_shared", "user", "workdir")

    def __init__(
        self,
        entrypoint: Sequence[str] = (),
        command: Sequence[str] = (),
        workdir: str = "",
        user: str = "",
        *,
        is_layered: bool = False,
        is_shared: bool = False,
    ) -> None:
        self.entrypoint = entrypoint
        self.is_layered = is_layered
        self.is_shared = is_shared
        self.command = command
        self.workdir = workdir
        self.user = user


def storage_directory(storage: str | None) -> str:
    """Return the absolute path of the storage directory; None stands for the usual one."""
    return normalized(joined(os.getcwd(), storage or decode_text(default_storage(os.environb))))


def image_facts(image: str, storage: str | None, arch: str = "") -> ImageDefaults | None:
    """Return what storage says of an image; None if it is not there.

    ``storage`` is the storage directory; None stands for the usual one.  ``arch`` is as in
    ``launcher.storage.stored_place``.  Raises SundogError.
    """
    return facts_of(image_directory(image, storage, arch))


def found_facts(
    image: str, storage: str | None, warn: Callable[[str], None]
) -> ImageDefaults | None:
    """Return what storage says of an image, or else a shared store; None if it is in neither.

    A container of a shared image keeps no changes.  ``warn`` takes what is to be told of the
    shared stores.  Raises SundogError.
    """
    facts = image_facts(image, storage)
    if facts is not None:
        return facts
    from sundog.base.configuration.stores import SharedStores  # most images are in storage

    stores = SharedStores(os.environb, (), warn)
    try:
        shared = stores.find(canonical_name(image))
    finally:
        stores.close()
    return None if shared is None else _defaults(shared.stack, is_shared=True)


def image_directory(image: str, storage: str | None, arch: str = "") -> str:
    """Return the directory that describes an image; it need not exist.

    Raises NotInStorage as ``stored_place``.
    """
    path = os.fsencode(storage_directory(storage))
    return os.fsdecode(stored_place(path, canonical_name(image), arch.encode()))


def facts_of(path: str) -> ImageDefaults | None:
    """Return what the directory ``path`` says of an image; None if it is not there.

    Raises SundogError.
    """
    try:
        directory = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SundogError(f"can't open {path}: {error.strerror}") from error
    try:
        stack = read_stack(directory)
    except OSError as error:
        raise SundogError(f"can't read {path}/stack: {error.strerror}") from error
    finally:
        os.close(directory)
    return _defaults(stack, is_layered=not stack.tree)


def _defaults(
    stack: ImageStack, *, is_layered: bool = False, is_shared: bool = False
) -> ImageDefaults:
    return ImageDefaults(
        tuple(map(decode_text, stack.entrypoint)),
        tuple(map(decode_text, stack.command)),
        decode_text(stack.workdir),
        decode_text(stack.user),
        is_layered=is_layered,
        is_shared=is_shared,
    )


def image_config(path: str) -> dict[str, Any]:
    """Return the fields of an image's ``config`` that a container's view has.

    The directory ``path`` describes the image.  The result is {} if the file is missing or damaged.
    """
    from sundog.base.fields import Fields  # ``sundog run`` needs no JSON

    try:
        with open(f"{path}/config.json", "rb") as file:
            config = Fields.parse(file.read(_CONFIG_LIMIT), path, SundogError).nested("config")
        return {
            **{key: config.string(key) for key in ("StopSignal", "User")},
            **{key: config.strings(key) or () for key in ("Cmd", "Entrypoint", "Env")},
            "Labels": config.string_map("Labels"),
        }
    except (OSError, SundogError):
        return {}
