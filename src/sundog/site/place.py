"""A directory beside the storage directory, on the same file system, for the time of the checks."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager

from sundog.errors import SundogError
from sundog.layer.remove import remove_tree
from sundog.record.location import default_storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SUFFIX = ".test."


@contextmanager
def trial_directory(storage: str | None) -> Iterator[bytes]:
    """Make a directory beside ``storage``, by default the user's, and remove it at the end.

    Raises SundogError if it can't be made.
    """
    path = os.fsencode(storage) if storage is not None else default_storage(os.environb)
    parent, name = os.path.split(os.path.realpath(path))
    try:
        place = tempfile.mkdtemp(prefix=os.fsdecode(name) + _SUFFIX, dir=os.fsdecode(parent))
    except OSError as error:
        raise SundogError(
            f"can't make a directory in {os.fsdecode(parent)}: {error.strerror}",
            "the storage directory must be where you may write; name another one by --storage",
        ) from error
    try:
        yield os.fsencode(place)
    finally:
        remove_tree(os.fsencode(place))
