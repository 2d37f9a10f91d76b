"""Locks of the storage directory: flock(2) on small files.

A lock belongs to the open file, so it ends with the last process that has the file open.  When a
command and its children are killed, their locks are free at once: no lock is ever stale.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager, suppress

from sundog.errors import UnfitStorage
from sundog.kernel.files import Closing
from sundog.kernel.libc import printable
from sundog.kernel.locks import open_locked, unlock
from sundog.kernel.refusal import file_system_of
from sundog.store.faults import OTHER_STORAGE_HINT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TURN = b"turn-"
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


def lock_file(path: bytes, operation: int, *, create: bool = False) -> int:
    """Open the file ``path`` and lock it, as ``open_locked`` does; return the descriptor.

    ``operation`` is that of flock(2): LOCK_EX or LOCK_SH, perhaps with LOCK_NB.  Raises
    BlockingIOError when another process holds the lock, FileNotFoundError where there is no such
    file and ``create`` is not set, and UnfitStorage on a file system without locks.
    """
    # NFS locks a file exclusively only if it is open for writing, shared only if for reading.
    flags = os.O_RDWR if operation & fcntl.LOCK_EX else os.O_RDONLY
    try:
        return open_locked(path, flags | (os.O_CREAT if create else 0), operation)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        raise UnfitStorage(
            f"no file locks on {file_system_of(path)}: {printable(path)}: {error.strerror}",
            OTHER_STORAGE_HINT,
        ) from error


class UseLock:
    """``locks/use``: shared by commands that refer to layers, exclusive to remove layers.

    A layer without a reference may be about to get one.  So a build shares the lock from the first
    layer that it looks at until its image is in place.
    """

    def __init__(self, path: bytes) -> None:
        self._path = path
        self._fd = -1

    def share(self) -> None:
        """Keep layers from being removed until ``release``; wait for the end of a removal."""
        if self._fd < 0:
            self._fd = lock_file(self._path, fcntl.LOCK_SH)

    def try_exclude(self) -> bool:
        """Take the lock exclusively, until ``release``; return False if other commands use layers.

        In either case this process no longer shares the lock.
        """
        self.release()
        try:
            self._fd = lock_file(self._path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Give up the lock, shared or exclusive, if this process has it."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            unlock(fd)


class TurnLock:
    """``locks/turn-NAME``: commands that are about to do the same thing do it one by one.

    The file is there while a command holds the lock or waits for it.  A file that a killed command
    leaves does no harm.
    """

    def __init__(self, directory: bytes, name: str) -> None:
        self._path = os.path.join(directory, _TURN + name.encode())

    @contextmanager
    def held(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the lock until the context ends; call ``waiting`` if another command has it."""
        fd = self._take(waiting)
        try:
            yield
        finally:
            os.unlink(self._path)
            unlock(fd)

    def _take(self, waiting: Callable[[], None]) -> int:
        try:
            return lock_file(self._path, fcntl.LOCK_EX | fcntl.LOCK_NB, create=True)
        except BlockingIOError:
            waiting()
        return lock_file(self._path, fcntl.LOCK_EX, create=True)


def remove_turns(directory: bytes) -> None:
    """Remove the files that killed commands left of their turns."""
    for name in os.listdir(directory):
        if not name.startswith(_TURN):
            continue
        path = os.path.join(directory, name)
        with (
            suppress(FileNotFoundError, BlockingIOError),
            Closing(lock_file(path, fcntl.LOCK_EX | fcntl.LOCK_NB)),
        ):
            os.unlink(path)
