"""Directories in an image: make missing ones; follow symlinks only within the image's root.

For COPY, ADD, WORKDIR and VOLUME.  No path leads out of the directory that stands for the root.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.libc import printable
from sundog.base.kernel.mounts import RESOLVE_IN_ROOT, openat2
from sundog.errors import BuildError, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.errors import SundogError

SYMLINK_LIMIT = 40  # as the kernel's: path_resolution(7)
_DIRECTORY_MODE = 0o755
OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_SHOWN = 200  # bytes of a path in a message


def make_directories(root: int, path: bytes, made: Callable[[int], None] | None = None) -> int:
    """Make the directory ``path`` below ``root`` and its parents; return it open for reading.

    Existing directories don't change.  If a symlink leads nowhere, its target is made.  ``made`` is
    called with each directory that was missing, open.  Raises BuildError if something else is in
    the way.
    """
    try:
        return openat2(root, path or b".", OPEN_DIRECTORY, RESOLVE_IN_ROOT)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise obstacle(path, error) from error
    links = SYMLINK_LIMIT
    ahead = path.split(b"/")[::-1]
    there, here = b".", os.dup(root)
    try:
        while ahead:
            name = ahead.pop()
            child = os.path.join(there, name)
            try:
                fd = openat2(root, child, OPEN_DIRECTORY, RESOLVE_IN_ROOT)
            except KernelError as error:
                if error.errno != errno.ENOENT:
                    raise obstacle(path, error) from error
                target = link_target(here, name)
                if target is None:
                    fd = _new_directory(here, name, made)
                else:
                    links -= 1
                    if links < 0:
                        raise too_many_links(path) from error
                    ahead += target.split(b"/")[::-1]
                    if not target.startswith(b"/"):
                        continue
                    child, fd = b".", os.dup(root)
            os.close(here)
            there, here = child, fd
        return os.dup(here)
    finally:
        os.close(here)


def obstacle(path: bytes, error: KernelError) -> SundogError:
    """Return the error to raise if ``path`` can't be opened."""
    if error.errno == errno.ENOTDIR:
        return _not_a_directory(path)
    if error.errno == errno.ELOOP:
        return too_many_links(path)
    if error.errno == errno.ENAMETOOLONG:
        return _too_long(path)
    return error


def _new_directory(parent: int, name: bytes, made: Callable[[int], None] | None) -> int:
    os.mkdir(name, _DIRECTORY_MODE, dir_fd=parent)
    fd = os.open(name, OPEN_DIRECTORY, dir_fd=parent)
    os.fchmod(fd, _DIRECTORY_MODE)
    if made is not None:
        made(fd)
    return fd


def link_target(directory: int, name: bytes) -> bytes | None:
    """Return the target of the symlink ``name``; None if ``name`` is not a symlink."""
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):
            return None
        raise


def _too_long(path: bytes) -> BuildError:
    return BuildError(f"too long for a path in the image: {_beginning(path)}")


def too_many_links(path: bytes) -> BuildError:
    """Return the error about a circle of symlinks, or about too long a chain."""
    return BuildError(f"too many symlinks in the image: {_beginning(path)}")


def _not_a_directory(path: bytes) -> BuildError:
    return BuildError(
        f"not a directory in the image: {_beginning(path)}", "choose another destination"
    )


def _beginning(path: bytes) -> str:
    """Return a path for a message; of a long path, only the beginning."""
    return printable(path if len(path) <= _SHOWN else path[:_SHOWN] + b"...")
