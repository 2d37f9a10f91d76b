"""Files that appear as a whole: written under another name, then renamed.

A reader finds the old file or the new one, also after a power cut.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress

from sundog.base.kernel.files import sync_name, sync_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def replace_file(path: bytes, data: bytes, *, mode: int = 0o600, draft: bytes = b"") -> None:
    """Write ``data`` to the file ``path``, in place of a file that is there.  Atomic.

    ``mode`` is exact: the umask does not count.  ``draft`` is the name meanwhile, by default a
    random one in the same directory.  Raises OSError; then the draft is removed.  When this
    returns, the file is on the device under its name.
    """
    draft = draft or os.path.join(os.path.dirname(path), b".sundog-" + os.urandom(8).hex().encode())
    with replacing(path, draft):
        write_new_file(draft, data, mode)


@contextmanager
def replacing(path: bytes, draft: bytes) -> Iterator[None]:
    """Rename the file ``draft``, which the context writes, to ``path``; else as ``replace_file``.

    Both are in the same directory.
    """
    try:
        yield
        sync_path(draft)
        os.rename(draft, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)
        raise
    sync_name(path)


def write_new_file(path: bytes, data: bytes, mode: int = 0o600) -> None:
    """Write a file that is not there yet, with exactly this mode.  Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        os.fchmod(fd, mode)
        file.write(data)
