"""flock(2) on files that other processes may remove or replace.

A lock belongs to the open file, not to its path.  A process that waited for the lock may hold an
open file that another process has removed meanwhile, so the path is looked up once more.
"""

from __future__ import annotations

import errno
import fcntl
import os


def open_locked(path: bytes, flags: int, operation: int, dir_fd: int | None = None) -> int:
    """Open the file ``path``, lock it by ``operation``, and return the descriptor.

    The path leads to this file when the lock is taken; only a process that holds the lock may
    remove or replace the file.  A new file (O_CREAT) has mode 0600.  Raises BlockingIOError when
    ``operation`` has LOCK_NB and another process holds the lock, and OSError as open(2) does.
    """
    while True:
        fd = os.open(path, flags | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
        try:
            if _locked(fd, operation) and is_at(path, fd, dir_fd):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _locked(fd: int, operation: int) -> bool:
    """Lock the open file; return False if NFS says that another node has removed it."""
    try:
        fcntl.flock(fd, operation)
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        return False
    return True


def unlock(fd: int) -> None:
    """Give up the lock on ``fd`` and close it.

    Children forked since hold the open file too: to close it here would not unlock it.
    """
    fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


def is_at(path: bytes, fd: int, dir_fd: int | None = None) -> bool:
    """Tell whether ``path`` leads to the open file ``fd``.  Raises OSError."""
    try:
        there, here = os.stat(path, dir_fd=dir_fd), os.fstat(fd)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        return False  # NFS: another node has removed the open file
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
