"""Files of a container's root: no link in the root leads out of it."""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing, open_regular
from sundog.base.kernel.libc import encode_text
from sundog.base.kernel.mounts import (
    AT_FDCWD,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_XDEV,
    openat2,
)
from sundog.errors import KernelError

INSIDE_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
NAMES_LIMIT = 200_000


def open_inside(root: int, path: bytes) -> int:
    """Return the regular file ``path`` of the directory ``root``, open, or -1."""
    return open_regular(root, path, INSIDE_ROOT)


def read_inside(root: int, path: bytes, limit: int) -> bytes | None:
    """Return the file ``path`` of ``root``; None if it is absent or over ``limit`` bytes."""
    fd = open_inside(root, path)
    if fd < 0:
        return None
    with Closing(fd):
        size = os.fstat(fd).st_size
        if size > limit:
            return None
        try:
            return os.read(fd, size)
        except OSError:
            return None


def names_inside(root: int, path: bytes, most: int = NAMES_LIMIT) -> list[bytes]:
    """Return up to ``most`` names in the directory ``path`` of ``root``; [] if there is none."""
    names: list[bytes] = []
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK
    try:
        with Closing(openat2(root, path, flags, INSIDE_ROOT)) as fd, os.scandir(fd) as entries:
            for entry in entries:
                if len(names) >= most:
                    break
                names.append(encode_text(entry.name))
    except (KernelError, OSError):
        return []
    return names


def write_inside(path: bytes, contents: bytes) -> bool:
    """Replace the file ``path`` of this process's root, the container's; tell whether it worked.

    Links of proc(5) are not followed, and nothing is written to a directory of the host.
    """
    directory, _, name = path.rpartition(b"/")
    draft = name + b".sundog"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        resolve = RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV
        with Closing(openat2(AT_FDCWD, directory, os.O_PATH | os.O_DIRECTORY, resolve)) as parent:
            with Closing(os.open(draft, flags, 0o644, dir_fd=parent)) as fd:
                left = memoryview(contents)
                while left:
                    left = left[os.write(fd, left) :]
                os.fchmod(fd, 0o644)
            os.rename(draft, name, src_dir_fd=parent, dst_dir_fd=parent)
    except (KernelError, OSError):
        return False
    return True
