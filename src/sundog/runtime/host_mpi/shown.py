"""The mounts of the host's libraries: one directory for all that the image lacks, and its cache.

The directory ``/.sundog`` is a mount that only this container has:

    lib/           the libraries that the image lacks; the linker's cache names them
    lib/providers/ plug-ins of libfabric
    environment    the variables of the profile, for every process that enters the container
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import write_all
from sundog.base.kernel.libc import printable
from sundog.base.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    OPEN_TREE_CLONE,
    mount_setattr,
    move_mount,
    open_tree,
)
from sundog.runtime.container.operations import (
    CREATED,
    DetachedMount,
    FileMount,
    copy_of_mounts,
    own_directory,
)
from sundog.runtime.container.paths import is_directory
from sundog.runtime.linker.cache import LINKER_CACHE

HOST_DIRECTORY = b"/.sundog"
HOST_LIBRARIES = HOST_DIRECTORY + b"/lib"
HOST_PROVIDERS = HOST_LIBRARIES + b"/providers"
_HOST_ENVIRONMENT = HOST_DIRECTORY + b"/environment"


class HostDirectory(DetachedMount):
    """Shows ``entries`` (path below the directory → the host's file or directory), read-only.

    Its mount point is reserved before the image can be looked at.  Until ``entries`` are set, there
    is nothing to acquire and to generate.
    """

    __slots__ = ("_held", "entries", "environment")

    def __init__(self, need: str = CREATED) -> None:
        super().__init__(HOST_DIRECTORY, need, writable=False)
        self.entries: dict[bytes, bytes] | None = None
        self.environment = b""
        self._held: dict[bytes, int] = {}

    def what(self) -> str:
        """See ``DetachedMount``."""
        shown = sorted({printable(path) for path in (self.entries or {}).values()})
        return f"mount a directory with {', '.join(shown) or 'nothing'}"

    def acquire(self) -> None:
        """Take copies of the mounts of the host's files."""
        entries = self.entries or {}
        self._held = {name: copy_of_mounts(path, writable=False) for name, path in entries.items()}

    def generate(self, scratch: int) -> None:
        """Assemble it out of sight."""
        if self.entries is None:
            return
        place = own_directory(scratch, HOST_DIRECTORY)
        os.mkdir(place + HOST_LIBRARIES.removeprefix(HOST_DIRECTORY))
        os.mkdir(place + HOST_PROVIDERS.removeprefix(HOST_DIRECTORY))
        for name, tree in self._held.items():
            path = place + b"/" + name
            if is_directory(tree):
                os.mkdir(path)
            else:
                _write_file(path, b"")
            move_mount(tree, b"", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH)
            os.close(tree)
        self._held = {}
        _write_file(place + _HOST_ENVIRONMENT.removeprefix(HOST_DIRECTORY), self.environment)
        self.tree = open_tree(AT_FDCWD, place, OPEN_TREE_CLONE | AT_RECURSIVE)
        mount_setattr(self.tree, b"", AT_EMPTY_PATH | AT_RECURSIVE, MOUNT_ATTR_RDONLY)

    def covers_directory(self) -> bool:
        """See ``DetachedMount``."""
        return True


class HostLinkerCache(FileMount):
    """Shows a cache of the linker in place of the image's; it is made when it has ``contents``."""

    __slots__ = ()

    def __init__(self, need: str = CREATED) -> None:
        super().__init__(b"", LINKER_CACHE, need, writable=False)

    def generate(self, scratch: int) -> None:
        """See ``FileMount``."""
        if self.contents:
            super().generate(scratch)

    def covers_directory(self) -> bool:
        """See ``DetachedMount``."""
        return False


def _write_file(path: bytes, contents: bytes) -> None:
    """Make a file in the scratch tmpfs."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    write_all(fd, contents)
    os.close(fd)
