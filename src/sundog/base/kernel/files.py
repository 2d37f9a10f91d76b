"""Calls on files that ``os`` lacks, whose failure raises KernelError, and symlink(2)."""

from __future__ import annotations

import errno
import os

from sundog.base.cpython import SIGXFSZ, set_wakeup_fd, signal
from sundog.base.kernel.libc import checked, libc_call, printable, syscall
from sundog.base.kernel.modes import S_IFMT, S_IFREG
from sundog.base.kernel.mounts import AT_EMPTY_PATH, openat2
from sundog.base.kernel.numbers import FACCESSAT2, MEMFD_CREATE, RENAMEAT2, process_abi
from sundog.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO = 0, 1, 2

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2

MFD_CLOEXEC, MFD_ALLOW_SEALING, MFD_EXEC = 0x1, 0x2, 0x10
F_ADD_SEALS = 1033
F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE = 0x1, 0x2, 0x4, 0x8

X_OK = 1
AT_EACCESS = 0x200

# Where the kernel lacks close_range(2), the C library tries all numbers below.
_HIGHEST_DESCRIPTOR = (1 << 31) - 1


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


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of ``data`` to ``fd``: write(2) may write a part."""
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def open_regular(directory: int, path: bytes, resolve: int) -> int:
    """Open the regular file ``path`` below ``directory`` for reading; return -1 if there is none.

    ``resolve`` is for openat2(2).  A stranger may have anything in its place: a FIFO makes nobody
    wait, and a terminal does not become that of this process.  Raises OSError.
    """
    try:
        fd = openat2(directory, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, resolve)
    except KernelError:
        return -1
    if os.fstat(fd).st_mode & S_IFMT == S_IFREG:
        return fd
    os.close(fd)
    return -1


def fail_with_efbig() -> None:
    """Let a write beyond ``ulimit -f`` fail with EFBIG, and never kill this process.

    A program that this process becomes has the default action of SIGXFSZ again: execve(2).
    """
    set_wakeup_fd(-1)  # that of an interpreter which waits for its signals
    signal(SIGXFSZ, lambda *_: None)


def may_execute(fd: int) -> bool:
    """Tell whether this process may execute the open file: permissions, and a mount's noexec.

    Raises KernelError for any other reason.
    """
    result = syscall(FACCESSAT2, fd, b"", X_OK, AT_EMPTY_PATH | AT_EACCESS)
    if result != -errno.EACCES:
        checked(result, "faccessat2", fd)
    return result == 0


def memory_file(name: bytes, data: bytes) -> int:
    """Return an executable file of memory that holds ``data``, which nobody can change.

    ``name`` is only for people.  Raises KernelError, such as EACCES where the site lets no memory
    be executed: memfd_create(2), "vm.memfd_noexec".
    """
    number, flags = MEMFD_CREATE[process_abi()], MFD_CLOEXEC | MFD_ALLOW_SEALING
    fd = syscall(number, name, flags | MFD_EXEC)
    if fd == -errno.EINVAL:  # before Linux 6.3, all of them are executable
        fd = syscall(number, name, flags)
    checked(fd, "memfd_create", name)
    try:
        write_all(fd, data)
        seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE
        checked(libc_call("fcntl", fd, F_ADD_SEALS, seals), "fcntl", name)
    except BaseException:
        os.close(fd)
        raise
    return fd


def nameless_file(directory: bytes, data: bytes) -> int:
    """Return a file without a name, for reading, that holds ``data``; -1 if there is none there.

    It is on the file system of ``directory``, and ends with its last descriptor: O_TMPFILE.
    """
    try:
        with Closing(os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o500)) as fd:
            write_all(fd, data)
            # The kernel executes no file that is open for writing.
            return os.open(b"/proc/self/fd/%d" % fd, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


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


def close_all_but(kept: Iterable[int]) -> None:
    """Close all descriptors of this process but those ``kept``: close_range(2)."""
    first = 0
    for fd in sorted(set(kept)):
        if first < fd:  # Python turns an empty range into an endless one
            os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, _HIGHEST_DESCRIPTOR)


def leave_descriptors(kept: Collection[int]) -> None:
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


def close_as_execve() -> None:
    """Close what execve(2) would close: the descriptors with close-on-exec.  Raises OSError."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            if not os.get_inheritable(fd):
                os.close(fd)
        except OSError:
            pass  # that of the directory, which is closed


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
