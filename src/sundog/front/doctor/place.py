"""A directory on the file system of the storage directory, for the time of the checks."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, suppress
from functools import partial

from sundog.base.configuration.storage import default_storage
from sundog.base.kernel.advice import hint_of
from sundog.base.kernel.libc import kernel_error, printable
from sundog.base.record.own_storage import check_directory
from sundog.errors import SundogError
from sundog.front.doctor.outcome import Check
from sundog.image.layer.remove import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SUFFIX = ".test."
_NAME = "storage: directory"


@contextmanager
def trial_directory(storage: str | None) -> Iterator[tuple[bytes, Check]]:
    """Make a directory beside ``storage``, by default the user's, and remove it at the end.

    It is in ``storage`` if the user may write there, but not beside it.  Also give the check that
    tells whether the directory could be made, and whether ``storage`` can be a storage directory;
    if not, the path is b"".
    """
    try:
        path = os.fsencode(storage) if storage is not None else default_storage(os.environb)
        if os.path.lexists(path):
            check_directory(path)
        place = _make(os.path.realpath(path))
    except (SundogError, OSError) as error:
        yield b"", Check(_NAME, partial(_raise, error), is_required=True, in_child=False)
        return
    try:
        yield place, Check(_NAME, lambda: printable(path), in_child=False)
    finally:
        remove_tree(place)


def _make(path: bytes) -> bytes:
    """Make a directory on the file system of ``path``; raise KernelError."""
    parent, name = os.path.split(path)
    prefix = os.fsdecode(name) + _SUFFIX
    try:
        return os.fsencode(tempfile.mkdtemp(prefix=prefix, dir=os.fsdecode(parent)))
    except OSError as error:
        if os.path.isdir(path):
            with suppress(OSError):
                return os.fsencode(tempfile.mkdtemp(prefix=prefix, dir=os.fsdecode(path)))
        number = error.errno or 0
        refused = kernel_error("open", parent, number, f"make a directory in {printable(parent)}")
        refused.hint = hint_of(refused) or "name another one by --storage or $CH_IMAGE_STORAGE"
        raise refused from None


def _raise(error: Exception) -> str:
    raise error
