"""Directories that appear as a whole, and vanish as a whole: made or removed under another name.

A killed command leaves at most such a draft, locked by nobody.  The next command at the same place
removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager, suppress

from sundog.base.kernel.files import RENAME_NOREPLACE, renameat2, sync_file_system, sync_name
from sundog.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_MARK = ".sundog-draft-"


@contextmanager
def draft_of(target: str) -> Iterator[str]:
    """Give a new directory beside ``target``; on success, it gets that name, else it is removed.

    An empty directory gives way to it.  Raises OSError, FileExistsError if another process was
    faster.  The mode is 0755.
    """
    with _draft(target) as draft:
        os.mkdir(draft, 0o700)
        lock = _locked(draft)
        try:
            yield draft
            os.chmod(draft, 0o755)
            sync_file_system(os.fsencode(draft))
            os.rename(draft, target)
        finally:
            os.close(lock)
    sync_name(os.fsencode(target))


def remove_directory(target: str) -> None:
    """Remove a directory with all in it: first its name, so that nobody sees a part of it.

    Raises OSError; then nothing has changed, or what is left has the name of a draft.
    """
    lock = _locked(target)  # to the end, or another command would take the draft for a leftover
    try:
        with _draft(target) as draft:
            try:
                renameat2(-100, os.fsencode(target), -100, os.fsencode(draft), RENAME_NOREPLACE)
            except KernelError:
                os.rename(target, draft)  # NFS
    finally:
        os.close(lock)


@contextmanager
def _draft(target: str) -> Iterator[str]:
    """Give the name of a draft, and remove what has that name; first, drafts of killed commands."""
    parent, name = os.path.split(target)
    for entry in os.listdir(parent):
        if entry.startswith(f".{name}{_MARK}"):
            _remove_if_left(f"{parent}/{entry}")
    draft = f"{parent}/.{name}{_MARK}{os.urandom(6).hex()}"
    try:
        yield draft
    finally:
        if os.path.lexists(draft):
            shutil.rmtree(draft)


def _locked(directory: str) -> int:
    """Lock a directory; return its descriptor.  Where locks are not, nobody removes drafts."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd


def _remove_if_left(draft: str) -> None:
    """Remove a draft unless a process works on it."""
    try:
        fd = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_uid == os.geteuid():
            shutil.rmtree(draft)
    except OSError:
        pass  # somebody's
    finally:
        os.close(fd)
