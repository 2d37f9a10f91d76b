"""What a run must know of an image in storage: the small file that ``ch-run`` reads, too."""

from __future__ import annotations

import os

from sundog.errors import SundogError
from sundog.podman.run_line import ImageFacts
from sundog.record.location import default_storage
from sundog.record.names import canonical_name, name_to_directory
from sundog.record.stack import read_stack


def storage_directory(storage: str | None) -> str:
    """Return the absolute path of the storage directory; None stands for the usual one."""
    return os.path.abspath(storage or os.fsdecode(default_storage(os.environb)))


def image_facts(image: str, storage: str | None) -> ImageFacts | None:
    """Return what storage says of an image; None if it is not there.

    ``storage`` is the storage directory; None stands for the usual one.  Raises SundogError.
    """
    name = name_to_directory(canonical_name(image))
    path = os.path.join(storage_directory(storage), "images", name)
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
    return ImageFacts(
        tuple(map(os.fsdecode, stack.entrypoint)),
        tuple(map(os.fsdecode, stack.command)),
        os.fsdecode(stack.workdir),
        os.fsdecode(stack.user),
    )
