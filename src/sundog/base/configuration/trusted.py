"""Paths that nobody but trusted accounts can change.

A path is trusted if each directory on it, and what it leads to, belongs to a trusted account, and
nobody else may write there.  A sticky directory may be writable, because only its owner and the
owner of a file can rename that file: unlink(2), EPERM.  A symbolic link on the path is followed if
it belongs to a trusted account.

The look-up opens one name after another by descriptors, so no directory can be swapped between the
check and the use.  Call it in the host's namespaces: in the container's all other users look alike.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import kernel_error, printable
from sundog.base.kernel.modes import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from sundog.base.record.location import account_name
from sundog.errors import Distrusted

_OTHERS_WRITE = 0o022
_STICKY = 0o1000
_LINK_LIMIT = 40  # as the kernel: path_resolution(7)
_PATH_ONLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection


def open_trusted(path: bytes, owners: Collection[int], directory: int | None = None) -> int:
    """Open ``path`` with O_PATH; only ``owners`` can have made what it leads to.

    ``path`` is absolute, or relative to the descriptor ``directory``, which is trusted.  Raises
    Distrusted, and OSError where the path leads to nothing.
    """
    start = b"/" if path.startswith(b"/") else b"."
    at = os.open(start, _PATH_ONLY | os.O_DIRECTORY, dir_fd=directory)
    try:
        _check_trusted(at, owners, is_way=True)
        names = _names(path)
        links = 0
        while names:
            name = names.pop()
            found = os.open(name, _PATH_ONLY, dir_fd=at)
            if os.fstat(found).st_mode & S_IFMT == S_IFLNK:
                with Closing(found):
                    links += 1
                    if links > _LINK_LIMIT:
                        raise kernel_error("open", path, errno.ELOOP)
                    target = _link_target(found, path, owners)
                names += _names(target)
                if target.startswith(b"/"):
                    os.close(at)
                    at = -1
                    at = os.open(b"/", _PATH_ONLY | os.O_DIRECTORY)
                continue
            os.close(at)
            at = found
            _check_trusted(at, owners, is_way=bool(names))
    except BaseException:
        if at >= 0:
            os.close(at)
        raise
    return at


def check_trusted_file(name: bytes, directory: int, owners: Collection[int], shown: bytes) -> None:
    """Check that the regular file ``name`` is in ``directory``, which is trusted, as it is.

    Raises Distrusted and OSError.
    """
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if status.st_mode & S_IFMT == S_IFDIR:
        raise Distrusted(f"{printable(shown)} is not a file")
    _believe(status, owners, lambda: printable(shown))


def _check_trusted(fd: int, owners: Collection[int], *, is_way: bool) -> None:
    """Check an open directory or file.  On the way to something, a directory may be sticky."""

    def name() -> str:
        return printable(os.readlink(b"/proc/self/fd/%d" % fd))

    _believe(os.fstat(fd), owners, name, is_way=is_way)


def _believe(
    status: os.stat_result,
    owners: Collection[int],
    name: Callable[[], str],
    *,
    is_way: bool = False,
) -> None:
    """Raise Distrusted unless only ``owners`` can change what has this status."""
    kind = status.st_mode & S_IFMT
    if kind not in (S_IFDIR, S_IFREG):
        raise Distrusted(f"{name()} is neither a directory nor a file")
    if status.st_uid not in owners:
        raise Distrusted(f"{name()} belongs to {printable(account_name(status.st_uid))}")
    if status.st_mode & _OTHERS_WRITE and not (is_way and status.st_mode & _STICKY):
        mode = f"{status.st_mode & 0o7777:04o}"
        raise Distrusted(
            f"{name()} is writable to others than its owner (mode {mode})",
            f"its owner can run: chmod go-w {name()}",
        )


def open_regular_file(fd: int, shown: bytes) -> int:
    """Open the regular file that ``fd``, of O_PATH, is, for reading.

    Raises Distrusted for a directory, and OSError.
    """
    if os.fstat(fd).st_mode & S_IFMT != S_IFREG:
        raise Distrusted(f"{printable(shown)} is not a file")
    return os.open(b"/proc/self/fd/%d" % fd, os.O_RDONLY | os.O_CLOEXEC)


def _names(path: bytes) -> list[bytes]:
    """Return the names of a path that mean something, the last one first."""
    return [name for name in reversed(path.split(b"/")) if name not in (b"", b".")]


def _link_target(link: int, path: bytes, owners: Collection[int]) -> bytes:
    """Return where an open symbolic link leads.  Raises Distrusted for a stranger's link."""
    uid = os.fstat(link).st_uid
    if uid not in owners:
        owner = printable(account_name(uid))
        raise Distrusted(f"a symbolic link on the path {printable(path)} belongs to {owner}")
    return os.readlink(b"", dir_fd=link)
