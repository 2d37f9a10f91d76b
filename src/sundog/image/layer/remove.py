"""Remove a tree with any modes, such as 0000, and of any depth; also the workdir of an overlay.

Where modes are an obstacle, the modes of directories are changed.  In the tree worker they never
are.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def remove_tree(
    path: bytes,
    *,
    dir_fd: int | None = None,
    until: float = math.inf,
    removed: Callable[[int], None] | None = None,
) -> None:
    """Remove ``path``, a file or a directory with all below it; no error if it is gone already.

    Symlinks are not followed.  Not atomic: after an OSError, part of the tree is still there.
    Raises TimeoutError at the time ``until`` of the monotonic clock.  ``removed`` is called with
    the size of each file in the tree.
    """
    if time.monotonic() > until:
        raise TimeoutError
    try:
        if stat.S_ISDIR(os.lstat(path, dir_fd=dir_fd).st_mode):
            fd = _open(path, dir_fd)
        else:
            os.unlink(path, dir_fd=dir_fd)
            return
    except FileNotFoundError:
        return
    _empty(fd, until, removed)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path, dir_fd=dir_fd)


def _empty(fd: int, until: float, removed: Callable[[int], None] | None) -> None:
    """Remove the contents of the directory ``fd``, and close it.

    One descriptor is open at a time, and no function recurses: a tree may have any depth.
    """
    # From the top down: (the directory's identity, its subdirectories yet to be removed)
    trail = [(_identity(fd), _remove_files(fd, until, removed))]
    try:
        while True:
            identity, subdirectories = trail[-1]
            if subdirectories:
                child = _open(subdirectories[-1], fd)
                os.close(fd)
                fd = child
                trail.append((_identity(fd), _remove_files(fd, until, removed)))
                continue
            trail.pop()
            if not trail:
                return
            parent = os.open(b"..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
            fd = parent
            identity, subdirectories = trail[-1]
            if _identity(fd) != identity:
                raise RuntimeError("a directory was moved while its tree was being removed")
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(subdirectories.pop(), dir_fd=fd)
    finally:
        os.close(fd)


def _open(name: bytes, dir_fd: int | None) -> int:
    """Open the directory ``name``, and see to it that its entries can be listed and removed."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=dir_fd)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=dir_fd)
        fd = os.open(name, flags, dir_fd=dir_fd)
    if os.fstat(fd).st_mode & 0o700 != 0o700:
        os.fchmod(fd, 0o700)
    return fd


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _remove_files(fd: int, until: float, removed: Callable[[int], None] | None) -> list[bytes]:
    """Unlink all entries of ``fd`` that are not directories; return the names of those that are."""
    subdirectories = []
    with os.scandir(fd) as entries:
        listed = [
            (os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries
        ]
    for name, is_directory in listed:
        if time.monotonic() > until:
            raise TimeoutError
        if is_directory:
            subdirectories.append(name)
        else:
            with contextlib.suppress(FileNotFoundError):
                size = 0 if removed is None else os.lstat(name, dir_fd=fd).st_size
                os.unlink(name, dir_fd=fd)
                if removed is not None:
                    removed(size)
    return subdirectories
