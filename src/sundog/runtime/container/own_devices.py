"""A /dev of the container's own: the devices that every program expects, and no others.

The kernel lets nobody make a device in a user namespace; so these are binds of the host's.
Specification: runtime-spec, config-linux.md, "Default Devices".
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_RECURSIVE,
    MOVE_MOUNT_F_EMPTY_PATH,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    OPEN_TREE_CLONE,
    mount,
    move_mount,
    open_tree,
)
from sundog.errors import KernelError
from sundog.runtime.container.enter import copy_tree
from sundog.runtime.container.operations import REQUIRED, TmpfsMount, own_directory
from sundog.runtime.container.paths import OPEN_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

DEVICES = (b"null", b"zero", b"full", b"random", b"urandom", b"tty")
DEVICE_LINKS = (
    (b"fd", b"/proc/self/fd"),
    (b"stdin", b"/proc/self/fd/0"),
    (b"stdout", b"/proc/self/fd/1"),
    (b"stderr", b"/proc/self/fd/2"),
    (b"ptmx", b"pts/ptmx"),
)
_SIZE = b"1m"
_MOUNTS = (
    (b"pts", b"devpts", MS_NOSUID | MS_NOEXEC, b"newinstance,ptmxmode=0666,mode=620"),
    (b"shm", b"tmpfs", MS_NOSUID | MS_NODEV, b"mode=1777"),
)
_CONSOLE = b"console"
_MISSING = (errno.ENOENT, errno.EACCES)


class OwnDevices(TmpfsMount):
    """Show a tmpfs at /dev with those of the host's devices ``names`` that exist.

    Terminals and shared memory are new, so a container does not see those of the user's other
    programs.  ``terminal`` is the path of one of the host that /dev/console shows; b"" for none.
    """

    __slots__ = ("_found", "_sources")

    def __init__(
        self, names: Sequence[bytes] = DEVICES, need: str = REQUIRED, *, terminal: bytes = b""
    ) -> None:
        super().__init__(b"/dev", need, options=b"mode=755,size=" + _SIZE, executable=False)
        self._sources = [(name, b"/dev/" + name) for name in names]
        if terminal:
            self._sources.append((_CONSOLE, terminal))
        self._found: list[tuple[bytes, int]] = []

    def what(self) -> str:
        """See ``DetachedMount``."""
        names = " ".join(name.decode() for name, _ in self._sources)
        return f"mount a tmpfs with pts shm {names}"

    def acquire(self) -> None:
        """Copy the mounts of those of the host's devices that exist."""
        for name, source in self._sources:
            try:
                self._found.append((name, copy_tree(source, writable=True)))
            except KernelError as error:
                if error.errno not in _MISSING:
                    raise

    def generate(self, scratch: int) -> None:
        """Assemble it out of sight."""
        place = own_directory(scratch, self.destination)
        # Not sticky and world-writable like /tmp: there the kernel refuses O_CREAT on a device of
        # another owner (fs.protected_regular).
        mount(b"sundog", place, b"tmpfs", MS_NOSUID | MS_NOEXEC, self.options)
        top = os.open(place, OPEN_DIRECTORY)
        for name, tree in self._found:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666, dir_fd=top))
            move_mount(tree, b"", top, name, MOVE_MOUNT_F_EMPTY_PATH)
            os.close(tree)
        for link, target in DEVICE_LINKS:
            os.symlink(target, link, dir_fd=top)
        for name, kind, flags, options in _MOUNTS:
            os.mkdir(name, dir_fd=top)
            mount(b"sundog", b"%b/%b" % (place, name), kind, flags, options)
        self.tree = open_tree(top, b"", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE)
        os.close(top)
