"""The records of a directory image, ``DIR/ch/owners``, locked while the image is copied.

``container.own_records`` writes them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat

from sundog.base.kernel.files import Closing
from sundog.base.kernel.locks import is_at
from sundog.base.kernel.mounts import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from sundog.base.record.directory import OWN_RECORDS, RECORDS_DIRECTORY, RECORDS_DRAFT
from sundog.base.record.owners import unpack_owners
from sundog.errors import KernelError, SundogError
from sundog.image.layer.names import display

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sundog.base.record.owners import OwnersManifest

_DRAFT = b"%b/%b" % (RECORDS_DIRECTORY, RECORDS_DRAFT)
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def is_about_records(path: bytes) -> bool:
    """Tell whether ``path`` in a directory image is the file of records, or a draft of it."""
    return path == OWN_RECORDS or path.startswith(_DRAFT)


@contextlib.contextmanager
def own_records(source: bytes) -> Iterator[OwnersManifest | None]:
    """Give the records of the directory ``source``, locked against writers; None if it has none.

    Raises SundogError when another process writes them, or when they can't be read.
    """
    with Closing(os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
        fd = _locked(source, root)
    if fd < 0:
        yield None
        return
    with open(fd, "rb") as file:
        try:
            records = unpack_owners(file.read())
        except ValueError as error:
            raise _unreadable(source, str(error)) from None
        yield records


def _locked(source: bytes, root: int) -> int:
    """Return a descriptor of the file in the directory ``root``, locked; -1 if there is none."""
    while True:
        fd = _opened(source, root)
        if fd < 0:
            return -1
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if is_at(OWN_RECORDS, fd, root):
                return fd
        except BlockingIOError:
            os.close(fd)
            raise SundogError(
                f"can't import {display(source)}: a ch-run --notify -w writes to it",
                "wait until that command has ended",
            ) from None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # a writer has replaced the file since it was opened


def _opened(source: bytes, root: int) -> int:
    """Return a descriptor of the file, -1 if there is none; a symlink on the way counts as none."""
    try:
        # Opening it does not block, even if it is a FIFO.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        fd = openat2(root, OWN_RECORDS, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
    except KernelError as error:
        if error.errno not in _ABSENT:
            raise _unreadable(source, os.strerror(error.errno)) from None
        return -1
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _unreadable(source, "not a regular file")
    return fd


def _unreadable(source: bytes, reason: str) -> SundogError:
    return SundogError(
        f"can't read who owns what in {display(source)}: {display(OWN_RECORDS)}: {reason}",
        "to import the directory without its records, remove that file",
    )
