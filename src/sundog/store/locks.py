"""Locks of the storage directory: flock(2) on small files.

A lock belongs to the open file, so it dies with the last process that holds the file open: a killed
command, together with its children, frees its locks at once, and no lock is ever stale.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager, suppress

from sundog.errors import StoreError
from sundog.kernel.libc import printable
from sundog.kernel.refusal import file_system_of
from sundog.store.faults import OTHER_STORAGE_HINT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TURN = b"turn-"
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


def try_lock(fd: int, path: bytes) -> bool:
    """Lock ``fd`` for this process alone; return False when another one holds the lock.

    ``path`` is for the message.  Raises StoreError on a file system without locks.
    """
    return _flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, path)


def wait_lock(fd: int, path: bytes) -> None:
    """Lock ``fd`` for this process alone, as soon as no other one holds the lock."""
    _flock(fd, fcntl.LOCK_EX, path)


class UseLock:
    """``locks/use``: shared by commands that refer to layers, exclusive for who removes layers.

    A layer without a reference may be just about to get one: a build holds the lock, shared, from
    the first layer that it looks at until its image is in place.
    """

    def __init__(self, path: bytes) -> None:
        self._path = path
        self._fd = -1

    def share(self) -> None:
        """Keep layers from being removed until ``release``; waits for a removal under way."""
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            _flock(self._fd, fcntl.LOCK_SH, self._path)

    def try_exclude(self) -> bool:
        """Take the lock for this process alone, until ``release``; False when others use layers.

        What this process shared before is given up in either case.
        """
        self.release()
        self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        if not try_lock(self._fd, self._path):
            self.release()
            return False
        return True

    def release(self) -> None:
        """Give the lock up, whichever it is."""
        if self._fd >= 0:
            # Children forked since hold the open file too: closing it here would not unlock.
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            os.close(self._fd)
            self._fd = -1


class TurnLock:
    """``locks/turn-NAME``: commands that are about to do the same thing do it one by one.

    The file is there as long as somebody holds the lock or waits for it; what a kill leaves does no
    harm.
    """

    def __init__(self, directory: bytes, name: str) -> None:
        self._path = os.path.join(directory, _TURN + name.encode())

    @contextmanager
    def held(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the lock until the context ends; ``waiting`` is called if others have it."""
        fd = self._take(waiting)
        try:
            yield
        finally:
            os.unlink(self._path)
            # Children forked since hold the open file too: closing it here would not unlock.
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def _take(self, waiting: Callable[[], None]) -> int:
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if not try_lock(fd, self._path):
                    waiting()
                    _flock(fd, fcntl.LOCK_EX, self._path)
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.stat(self._path), os.fstat(fd)):
                        return fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # it was another's, who is done


def remove_turns(directory: bytes) -> None:
    """Remove the files of turns that killed commands left."""
    for name in os.listdir(directory):
        if not name.startswith(_TURN):
            continue
        path = os.path.join(directory, name)
        with suppress(FileNotFoundError):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                if try_lock(fd, path):
                    os.unlink(path)
            finally:
                os.close(fd)


def _flock(fd: int, operation: int, path: bytes) -> bool:
    try:
        fcntl.flock(fd, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        raise StoreError(
            f"no file locks on {file_system_of(path)}: {printable(path)}: {error.strerror}",
            OTHER_STORAGE_HINT,
        ) from error
    return True
