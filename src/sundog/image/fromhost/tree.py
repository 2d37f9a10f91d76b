"""The directory of an image, in which every symlink leads where it leads in the container.

The image is not trusted.  openat2(2) resolves each path with RESOLVE_IN_ROOT, so no symlink and no
``..`` leads out.  The resolved path has no symlink in it; it is used with RESOLVE_NO_SYMLINKS, so a
directory that becomes a symlink meanwhile is an error.

Paths are bytes, relative to the image, without a slash at either end; b"" is the image itself.
"""

from __future__ import annotations

import errno
import os
import stat

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import descriptor_path, printable
from sundog.base.kernel.mounts import (
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    openat2,
)
from sundog.errors import KernelError, SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# A hostile image may have any number of entries where ch-fromhost looks for its own.
ENTRIES_LIMIT = 1_000_000

_WITHIN = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV
_EXACTLY = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


class Tree:
    """A directory tree below the descriptor ``fd``, which the tree does not close."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def resolved(self, path: bytes) -> bytes:
        """Return where ``path`` leads in the container.  Raises KernelError."""
        with Closing(openat2(self.fd, path or b".", os.O_PATH, _WITHIN)) as fd:
            return descriptor_path(fd)[len(descriptor_path(self.fd)) :].strip(b"/")

    def resolved_directory(self, path: bytes) -> bytes | None:
        """Return where ``path`` leads, or None if that is no directory or outside of the image."""
        try:
            with Closing(openat2(self.fd, path or b".", os.O_PATH | os.O_DIRECTORY, _WITHIN)):
                return self.resolved(path)
        except KernelError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise

    def open(self, path: bytes) -> int:
        """Return a descriptor of the directory at exactly ``path``.  Raises KernelError."""
        return openat2(self.fd, path or b".", _DIRECTORY, _EXACTLY)

    def status(self, path: bytes) -> os.stat_result | None:
        """Return lstat(2) of ``path``, None if nothing is there."""
        parent, name = os.path.split(path)
        try:
            with Closing(self.open(parent)) as fd:
                return os.lstat(name or b".", dir_fd=fd)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except KernelError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            raise

    def make_directories(self, path: bytes, mode: int = 0o755) -> None:
        """Make the directory ``path``, and those above it, unless they exist."""
        names = path.split(b"/") if path else []
        for end in range(1, len(names) + 1):
            with Closing(self.open(b"/".join(names[: end - 1]))) as fd:
                try:
                    os.mkdir(names[end - 1], mode, dir_fd=fd)
                except FileExistsError:
                    continue

    def walk(self) -> Iterator[tuple[bytes, os.stat_result]]:
        """Yield all entries with their lstat(2); a directory comes before what is in it."""
        ahead = [b""]
        count = 0
        while ahead:
            directory = ahead.pop()
            with Closing(self.open(directory)) as fd:
                entries = [
                    (os.fsencode(name), os.lstat(name, dir_fd=fd))
                    for name in sorted(os.listdir(fd))
                ]
            count += len(entries)
            if count > ENTRIES_LIMIT:
                raise SundogError(
                    f"more than {ENTRIES_LIMIT} entries in {printable(descriptor_path(self.fd))}"
                )
            for name, status in entries:
                path = os.path.join(directory, name)
                yield path, status
                if stat.S_ISDIR(status.st_mode):
                    ahead.append(path)
