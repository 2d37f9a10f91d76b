"""Calls on files that ``os`` lacks, whose failure raises KernelError, and symlink(2)."""

import errno
import os

from sundog.kernel.libc import checked, libc_call, printable, syscall
from sundog.kernel.numbers import RENAMEAT2, process_abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO = 0, 1, 2

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2

# Where the kernel lacks close_range(2), the C library tries all numbers below.
HIGHEST_DESCRIPTOR = (1 << 31) - 1


def renameat2(old_dirfd: int, old: bytes, new_dirfd: int, new: bytes, flags: int) -> None:
    """Rename ``old`` to ``new``: renameat2(2).

    RENAME_NOREPLACE never replaces a file, RENAME_EXCHANGE swaps the two.  Atomic.  NFS has
    neither flag (EINVAL).
    """
    result = syscall(RENAMEAT2[process_abi()], old_dirfd, old, new_dirfd, new, flags)
    checked(result, "renameat2", new, f"rename {printable(old)} to {printable(new)}")


def symlink(target: bytes | str, path: bytes | str, *, dir_fd: int | None = None) -> None:
    """Make the symbolic link ``path``; an OSError names ``path`` alone.

    The error of os.symlink names ``target`` first, which is text and not a file.
    """
    try:
        os.symlink(target, path, dir_fd=dir_fd)
    except OSError as error:
        error.filename, error.filename2 = path, None
        raise


def write_all(fd: int, data: "bytes | memoryview") -> None:
    """Write all of ``data`` to ``fd``: write(2) may write a part."""
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


class Closing:
    """Closes the descriptor ``fd`` when its context ends."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def syncfs(fd: int) -> None:
    """Write all that is dirty in the file system of ``fd`` to its device: syncfs(2).

    Reports write-back errors since ``fd`` was opened, too.  ``fd`` may not be open with O_PATH.
    """
    checked(libc_call("syncfs", fd), "syncfs", fd)


def close_all_but(kept: "Iterable[int]") -> None:
    """Close all descriptors of this process but those ``kept``: close_range(2)."""
    first = 0
    for fd in sorted(set(kept)):
        if first < fd:  # Python turns an empty range into an endless one
            os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, HIGHEST_DESCRIPTOR)


def leave_descriptors(kept: "Collection[int]") -> None:
    """Close all descriptors but those ``kept``; the standard streams become /dev/null.

    The caller may have left pipes open for the command, such as standard input and output.  The
    other end of a pipe must see when the command has closed it.
    """
    null = os.open(b"/dev/null", os.O_RDWR | os.O_CLOEXEC)
    streams = (STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO)
    for stream in streams:
        if stream not in kept:  # the number is in use if the caller had closed the stream
            os.dup2(null, stream)
    close_all_but((*streams, *kept))


def sync_file_system(path: bytes) -> None:
    """Write all that is dirty in the file system of the directory ``path`` to its device.

    Raises KernelError as ``syncfs`` does, and OSError.
    """
    with Closing(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
        syncfs(fd)


def sync_name(path: bytes) -> None:
    """Write the name of ``path`` to its device: fsync(2) of its directory.

    The directory may be a symlink, as in ``scratch/image.tar``.  Raises OSError.
    """
    sync_path(os.path.join(os.path.dirname(path), b"."))


def sync_path(path: bytes) -> None:
    """Write a file, or the names in a directory, to the device: fsync(2).

    EINVAL is no failure: a file system that cannot sync a directory needs no sync.  Raises OSError.
    """
    with Closing(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)) as fd:
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise OSError(error.errno, error.strerror, path) from None
