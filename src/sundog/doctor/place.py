"""A directory beside the storage directory, on the same file system, for the time of the checks."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from functools import partial

from sundog.doctor.outcome import Check
from sundog.kernel.libc import kernel_error, printable
from sundog.kernel.refusal import explain
from sundog.layer.remove import remove_tree
from sundog.record.location import default_storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sundog.errors import KernelError

_SUFFIX = ".test."
_NAME = "storage: directory"


@contextmanager
def trial_directory(storage: str | None) -> Iterator[tuple[bytes, Check]]:
    """Make a directory beside ``storage``, by default the user's, and remove it at the end.

    Also give the check that tells whether it could be made; if not, the path is b"".
    """
    path = os.fsencode(storage) if storage is not None else default_storage(os.environb)
    parent, name = os.path.split(os.path.realpath(path))
    try:
        place = os.fsencode(
            tempfile.mkdtemp(prefix=os.fsdecode(name) + _SUFFIX, dir=os.fsdecode(parent))
        )
    except OSError as error:
        refused = kernel_error("open", parent, error.errno or 0)
        yield b"", Check(_NAME, partial(_refuse, refused), is_required=True, in_child=False)
        return
    try:
        yield place, Check(_NAME, lambda: f"in {printable(parent)}", in_child=False)
    finally:
        remove_tree(place)


def _refuse(error: KernelError) -> str:
    error.message = f"can't make a directory in {error.subject}: {os.strerror(error.errno)}"
    error.hint = explain(error) or "name another one by --storage or $CH_IMAGE_STORAGE"
    raise error
