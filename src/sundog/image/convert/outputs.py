"""Files and directories that get their names when they are complete and on the device.

An existing output stays whole until then.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import contextmanager

from sundog.base.kernel.advice import names_in
from sundog.base.kernel.drafts import Replacing
from sundog.base.kernel.files import RENAME_EXCHANGE, renameat2, sync_file_system, sync_name
from sundog.base.kernel.mounts import AT_FDCWD
from sundog.base.kernel.refusal import WANTED, reason
from sundog.errors import KernelError, SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_UNWRITTEN_HINT = "write to a directory of your own, on a file system with enough space"
_NO_EXCHANGE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


def draft_of(destination: str) -> bytes:
    """Return the name of what will be ``destination`` while it is made."""
    return os.fsencode(f"{destination.rstrip('/')}.{os.getpid()}.part")


@contextmanager
def output_file(destination: str) -> Iterator[bytes]:
    """Give the name of a file to be written, which then replaces ``destination``."""
    draft = draft_of(destination)
    with told(destination, draft), Replacing(os.fsencode(destination), draft):
        yield draft


@contextmanager
def output_directory(destination: str) -> Iterator[bytes]:
    """Give the name of a directory to be made, which then replaces ``destination``."""
    draft = draft_of(destination)
    try:
        with told(destination, draft):
            yield draft
            exchange(draft, os.fsencode(destination.rstrip("/")))
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def exchange(draft: bytes, destination: bytes) -> None:
    """Rename the directory ``draft``; what was at ``destination`` gets the name ``draft``.

    Atomic where the file system has RENAME_EXCHANGE (NFS has not).  Raises OSError, KernelError.
    """
    sync_file_system(draft)
    if os.path.lexists(destination):
        try:
            renameat2(AT_FDCWD, draft, AT_FDCWD, destination, RENAME_EXCHANGE)
        except KernelError as error:
            if error.errno not in _NO_EXCHANGE:
                raise
            aside = draft + b".old"
            os.rename(destination, aside)
            os.rename(draft, destination)
            os.rename(aside, draft)
    else:
        os.rename(draft, destination)
    sync_name(destination)


@contextmanager
def told(destination: str, draft: bytes) -> Iterator[None]:
    """Turn errors of the file system, while ``draft`` is made, into one about ``destination``."""
    try:
        yield
    except OSError as error:
        ours = os.path.abspath(draft) + b"/"
        names = [os.path.abspath(name) + b"/" for name in names_in(error)]
        is_ours = not names or any(name.startswith(ours) for name in names)
        if isinstance(error, BrokenPipeError) or error.errno in WANTED or not is_ours:
            raise
        directory = os.fsencode(os.path.dirname(os.path.abspath(destination)))
        raise SundogError(
            f"can't write {destination}: {reason(error.errno or 0, directory)}", _UNWRITTEN_HINT
        ) from error
