"""Functions like those of ``os.path``, without the millisecond that its import takes."""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.base.kernel.modes import S_IFDIR, S_IFMT

_OPEN_FILES = b"/proc/self/fd/"
OPEN_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def exists(path: bytes) -> bool:
    """Tell whether ``path`` leads to a file of any type."""
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def lexists(path: bytes, directory: int) -> bool:
    """Tell whether ``path`` below ``directory`` exists, even as a broken symbolic link."""
    try:
        os.lstat(path, dir_fd=directory)
    except OSError:
        return False
    return True


def is_directory(path: bytes | int) -> bool:
    """Tell whether ``path``, or an open file, is a directory.  Raises OSError if it is missing."""
    return os.stat(path).st_mode & S_IFMT == S_IFDIR


def absolute(path: bytes) -> bytes:
    """Return ``path`` as an absolute path."""
    return path if path.startswith(b"/") else os.getcwdb() + b"/" + path


def real_path(directory: bytes) -> bytes:
    """Return the path of a directory without symbolic links.  Raises OSError."""
    with Closing(os.open(directory, OPEN_DIRECTORY)) as fd:
        return os.readlink(b"/proc/self/fd/%d" % fd)


def shown_path(path: bytes) -> str:
    """Return ``path`` as people know it: without the number of a descriptor at its start."""
    if path.startswith(_OPEN_FILES):
        fd, slash, rest = path.removeprefix(_OPEN_FILES).partition(b"/")
        try:
            return printable(os.readlink(_OPEN_FILES + fd) + slash + rest)
        except OSError:  # it is not open
            return printable(path)
    return printable(path)
