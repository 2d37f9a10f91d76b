"""Turn the names in a tracee's calls into locations: paths that mean the same to the supervisor.

The supervisor is in the tracee's mount namespace and has the same root, so an absolute path needs
no translation.  But on the way there may be links that lead each process to itself, so handlers use
a location only after ``state.lookup``.  Relative paths and descriptors go through proc(5):
``PID/cwd/x``, ``PID/fd/3``, ``PID/fd/3/x``.  The supervisor's working directory is the /proc of its
own PID namespace, because notifications have the thread IDs of that namespace.  The supervisor
opened that /proc before the container's mounts hid it.

The supervisor follows a tracee to another root (chroot(2), a mount namespace of its own):
it does ``chroot("PID/root")`` while it handles the tracee's call.
"""

from __future__ import annotations

import os

from sundog.base.kernel.mounts import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW
from sundog.runtime.emulation.notify.tracee.call import U32, KernelAnswers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.tracee.memory import Memory

CWD = AT_FDCWD & U32

SLASH = b"/"[0]


class Paths:
    """Reads names from ``memory`` and locates them.

    ``elsewhere`` tells that a tracee may have another root.
    """

    def __init__(self, memory: Memory) -> None:
        self._read_string = memory.read_string
        self.elsewhere = False
        self._root = -1

    def named(self, thread: int, dirfd: int, address: int) -> bytes:
        """Return the location of the path at ``address``, relative to ``dirfd``.

        Raises KernelAnswers for the empty path.
        """
        path = self._read_string(thread, address)
        if not path:
            raise KernelAnswers
        return located(thread, dirfd, path)

    def at(self, thread: int, dirfd: int, address: int, flags: int) -> tuple[bytes, bool]:
        """Return the location for a call of the ``*at`` family, and whether to follow a link.

        Raises KernelAnswers for a null pointer, and for an empty path without AT_EMPTY_PATH.
        """
        path = self._read_string(thread, address) if address else b""
        if path:
            return located(thread, dirfd, path), not flags & AT_SYMLINK_NOFOLLOW
        if not address or not flags & AT_EMPTY_PATH:
            raise KernelAnswers
        if dirfd & U32 == CWD:
            return b"%d/cwd" % thread, True
        return b"%d/fd/%d" % (thread, dirfd & U32), True

    def enter_root(self, thread: int) -> None:
        """Make the root of ``thread`` the supervisor's own root."""
        if self._root < 0:
            self._root = os.open(b"self/root", os.O_PATH | os.O_CLOEXEC)
        os.chroot(b"%d/root" % thread)

    def own_root(self) -> bytes:
        """Return the location of the supervisor's own root, without a slash at the end."""
        return b"" if self._root < 0 else b"self/fd/%d" % self._root

    def leave_root(self) -> None:
        """Return to the supervisor's own root."""
        os.chroot(b"self/fd/%d" % self._root)


def located(thread: int, dirfd: int, path: bytes) -> bytes:
    """Return the location of ``path``, as ``thread`` names it; ``path`` is not empty."""
    if path[0] == SLASH:
        return path
    dirfd &= U32
    if dirfd == CWD:
        return b"%d/cwd/%s" % (thread, path)
    return b"%d/fd/%d/%s" % (thread, dirfd, path)


def descriptor(thread: int, fd: int) -> bytes:
    """Return the location of the file that descriptor ``fd`` of ``thread`` refers to."""
    return b"%d/fd/%d" % (thread, fd & U32)


def parent(location: bytes) -> bytes:
    """Return the location of the directory that contains the last component of ``location``."""
    directory, slash, _ = location.rstrip(b"/").rpartition(b"/")
    return directory or slash


def start_of_walk(location: bytes) -> int:
    """Return the length of the directory in which the kernel looks for the first component."""
    if location[0] == SLASH:
        return 1
    end = location.find(b"/") + 1
    if location.startswith(b"fd/", end):
        end += len(b"fd/")
    return location.find(b"/", end)


def is_place(location: bytes) -> bool:
    """Tell whether ``location`` is no path, but a descriptor or the working directory."""
    return location[0] != SLASH and start_of_walk(location) < 0
