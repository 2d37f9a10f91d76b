"""Copy single entries of one tree into another: data, mode, times, attributes.

Copies share their data with the source where the file system supports it (FICLONE,
ioctl_ficlonerange(2)); else the kernel copies the data (copy_file_range(2)).  Holes stay holes.
Owners are not copied: what an ordinary user makes belongs to that user.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from sundog.base.kernel.files import symlink
from sundog.base.kernel.numbers import IOC_WRITE
from sundog.image.layer.holes import data_extents
from sundog.image.layer.xattrs import Pairs, get_xattrs, set_xattrs
from sundog.runtime.process.watch import WATCH

_COPY_SIZE = 1 << 30  # bytes at most in one call
_BUFFER_SIZE = 256 * 1024

_FICLONE = IOC_WRITE | 0x49409  # _IOW(0x94, 9, int)

# The file systems can't do it, or not between these two files.
_NO_CLONE = frozenset(
    {
        errno.EOPNOTSUPP,
        errno.ENOTTY,
        errno.EXDEV,
        errno.EINVAL,
        errno.EPERM,
        errno.EBADF,
        errno.ENOSYS,
        errno.ETXTBSY,
    }
)


class Copier:
    """Copies entries, and remembers what the file systems at hand can't do."""

    def __init__(self) -> None:
        self._clones = True
        self._copies_ranges = True

    def copy(
        self, source: int, name: bytes, status: os.stat_result, target: int, new_name: bytes
    ) -> Pairs:
        """Copy ``name`` in the directory ``source`` to ``new_name`` in the directory ``target``.

        ``name`` is not a directory; ``status`` is its lstat(2).  Returns the extended attributes
        that the copy's inode can't have.  Raises OSError; FileExistsError when ``new_name`` exists.
        """
        kind = stat.S_IFMT(status.st_mode)
        times = (status.st_atime_ns, status.st_mtime_ns)
        if kind == stat.S_IFREG:
            return self._copy_file(source, name, target, new_name)
        if kind == stat.S_IFLNK:
            symlink(os.readlink(name, dir_fd=source), new_name, dir_fd=target)
        else:
            os.mknod(new_name, kind | 0o600, status.st_rdev, dir_fd=target)
            os.chmod(new_name, stat.S_IMODE(status.st_mode), dir_fd=target)
        os.utime(new_name, ns=times, dir_fd=target, follow_symlinks=False)
        return ()

    def _copy_file(self, source: int, name: bytes, target: int, new_name: bytes) -> Pairs:
        flags = os.O_NOFOLLOW | os.O_CLOEXEC
        # Opening it does not block, even if it has become a FIFO since lstat(2).
        original = os.open(name, os.O_RDONLY | os.O_NONBLOCK | flags, dir_fd=source)
        try:
            status = os.fstat(original)
            copy = os.open(
                new_name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600, dir_fd=target
            )
            try:
                self._copy_data(original, copy, status)
                left = set_xattrs(copy, get_xattrs(original))
                os.fchmod(copy, stat.S_IMODE(status.st_mode))
                os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
            finally:
                os.close(copy)
        finally:
            os.close(original)
        return left

    def _copy_data(self, source: int, target: int, status: os.stat_result) -> None:
        size = status.st_size
        if not size or (self._clones and self._clone(source, target)):
            return
        os.ftruncate(target, size)
        for start, length in data_extents(source):
            self._copy_range(source, target, start, start + length)

    def _clone(self, source: int, target: int) -> bool:
        try:
            fcntl.ioctl(target, _FICLONE, source)
        except OSError as error:
            if error.errno not in _NO_CLONE:
                raise
            self._clones = False
            return False
        return True

    def _copy_range(self, source: int, target: int, start: int, end: int) -> None:
        """Copy the bytes from ``start`` to ``end``, fewer if the file has become shorter."""
        while start < end and self._copies_ranges:
            try:
                copied = os.copy_file_range(
                    source, target, min(end - start, _COPY_SIZE), start, start
                )
            except OSError as error:
                if error.errno not in _NO_CLONE:
                    raise
                self._copies_ranges = False
                break
            if not copied:
                return
            start += copied
            WATCH.count(copied)
        while start < end and (data := os.pread(source, min(end - start, _BUFFER_SIZE), start)):
            start += os.pwrite(target, data, start)
