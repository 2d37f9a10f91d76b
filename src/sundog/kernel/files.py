"""Calls on files that ``os`` lacks.  A failure raises KernelError."""

import os

from sundog.kernel.libc import checked, libc_call, printable, syscall
from sundog.kernel.numbers import RENAMEAT2, process_abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO = 0, 1, 2

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2

# Where the kernel lacks close_range(2), the C library tries all numbers below.
HIGHEST_DESCRIPTOR = (1 << 31) - 1


def renameat2(old_dirfd: int, old: bytes, new_dirfd: int, new: bytes, flags: int) -> None:
    """Rename, with RENAME_NOREPLACE never over a file, with RENAME_EXCHANGE both ways at once.

    Atomic.  NFS has neither flag (EINVAL).
    """
    result = syscall(RENAMEAT2[process_abi()], old_dirfd, old, new_dirfd, new, flags)
    checked(result, "renameat2", new, f"rename {printable(old)} to {printable(new)}")


def syncfs(fd: int) -> None:
    """Write all that is dirty in the file system of ``fd`` to its device: syncfs(2).

    Reports write-back errors since ``fd`` was opened, which may not be with O_PATH.
    """
    checked(libc_call("syncfs", fd), "syncfs", fd)


def close_all_but(kept: "Iterable[int]") -> None:
    """Close all descriptors of this process but those ``kept``: close_range(2)."""
    first = 0
    for fd in sorted(set(kept)):
        if first < fd:  # of an empty range Python would make one without end
            os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, HIGHEST_DESCRIPTOR)
