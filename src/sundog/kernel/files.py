"""Calls on files that ``os`` lacks, whose failure raises KernelError; and symlink(2)."""

import os

from sundog.kernel.libc import checked, libc_call, printable, syscall
from sundog.kernel.numbers import RENAMEAT2, process_abi

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2


def renameat2(old_dirfd: int, old: bytes, new_dirfd: int, new: bytes, flags: int) -> None:
    """Rename, with RENAME_NOREPLACE never over a file, with RENAME_EXCHANGE both ways at once.

    Atomic.  NFS has neither flag (EINVAL).
    """
    result = syscall(RENAMEAT2[process_abi()], old_dirfd, old, new_dirfd, new, flags)
    checked(result, "renameat2", new, f"rename {printable(old)} to {printable(new)}")


def symlink(target: bytes | str, path: bytes | str, *, dir_fd: int | None = None) -> None:
    """Make the symlink ``path``.  An OSError is about that, not about ``target``.

    ``os`` has both names in it, and first that of the target, which is no file but text.
    """
    try:
        os.symlink(target, path, dir_fd=dir_fd)
    except OSError as error:
        error.filename, error.filename2 = path, None
        raise


def syncfs(fd: int) -> None:
    """Write all that is dirty in the file system of ``fd`` to its device: syncfs(2).

    Reports write-back errors since ``fd`` was opened, which may not be with O_PATH.
    """
    checked(libc_call("syncfs", fd), "syncfs", fd)
