"""The library of the fast path in a container: a file of the container's own, shown read-only.

``native/fast_path`` has the library.  An installation without a C compiler has none, and then
programs make all calls through the supervisor.  The same holds for a program that can't load it.
"""

from __future__ import annotations

import os
import sys

from sundog.base.kernel.files import Closing, write_all
from sundog.base.kernel.libc import encode_text, printable
from sundog.base.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    MOUNT_ATTR_RDONLY,
    OPEN_TREE_CLONE,
    RESOLVE_NO_MAGICLINKS,
    mount_setattr,
    open_tree,
)
from sundog.errors import UsageError
from sundog.runtime.container.execute import find_program
from sundog.runtime.container.mountpoint import make_mount_point
from sundog.runtime.container.operations import (
    CREATED,
    DetachedMount,
    mount_tmpfs,
    own_directory,
)
from sundog.runtime.container.paths import exists
from sundog.runtime.emulation.notify.seccomp.fast_path import LIBRARY_PLACE, PAGE_PLACE
from sundog.runtime.emulation.notify.state.page import PAGE_SIZE, WORDS_SIZE
from sundog.runtime.process.executable import loaded_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.variables import Environment

# The library takes the variable out of a program's environment if its value ends with this name.
LIBRARY_NAME = b".sundog-fast-path.so"
PRELOAD_VARIABLE = b"LD_PRELOAD"
# A variable of the caller's, and its values.
SWITCH, SWITCHED_ON, SWITCHED_OFF = b"SUNDOG_FAST_PATH", b"yes", b"no"
# Other loaders print a message about a library that they can't load.
_LOADERS = (b"/ld-linux-x86-64.so.2", b"/ld-musl-x86_64.so.1")
# A program of gcc -fsanitize=address needs this one first.  Its name is near the beginning.
_SANITIZER = b"libasan.so"
_NAMES_SIZE = 1 << 16
_PACKAGE = "/sundog/"  # between the packages' directory and a module of this one
_INSTALLED = "runtime/fast_path.x86_64.so"  # in this package; with two dots, it is no module
_DATA_LIMIT = 1 << 16  # bytes behind the page
_ROOM = b"size=1m,mode=755"


def wanted_library(value: bytes | None, *, strict: bool, by_default: bool = False) -> bytes:
    """Return the path of the library; b"" if the fast path is not wanted, or not possible.

    ``value`` is that of the variable SWITCH; if it is not set, ``by_default`` decides.  Under
    ``strict``, the supervisor has to see each call.  Raises UsageError for another value than
    ``yes`` and ``no``.
    """
    value = value or (SWITCHED_ON if by_default else SWITCHED_OFF)
    if value not in (SWITCHED_ON, SWITCHED_OFF):
        raise UsageError(
            f"$SUNDOG_FAST_PATH is neither yes nor no: {printable(value)}",
            "set it to yes or no, or unset it",
        )
    if value != SWITCHED_ON or strict:
        return b""
    packages, _, _ = sys._getframe().f_code.co_filename.rpartition(_PACKAGE)
    path = encode_text(packages + _PACKAGE + _INSTALLED)
    return path if exists(path) else b""


class LibraryMount(DetachedMount):
    """Show a copy of the ``library`` in the ``directory``, which nothing in the container changes.

    ``page`` is the copy, open for the supervisor to write, or -1 before it is made.  With
    ``is_tmpfs``, the directory is on a tmpfs of the container's own.
    """

    __slots__ = ("_is_tmpfs", "_library", "page")

    def __init__(
        self, library: bytes, directory: bytes, need: str = CREATED, *, is_tmpfs: bool = False
    ) -> None:
        super().__init__(directory + b"/" + LIBRARY_NAME, need, writable=False)
        self._is_tmpfs = is_tmpfs
        self._library = library
        self.page = -1

    def what(self) -> str:
        """See ``DetachedMount``."""
        return "bind a copy of the fast path's library"

    def generate(self, scratch: int) -> None:
        """Copy the library to a tmpfs of its own, which no program can fill."""
        place = own_directory(scratch, self.destination)
        mount_tmpfs(place, _ROOM)
        path = place + b"/" + LIBRARY_NAME
        self.page = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755)
        page = PAGE_PLACE - LIBRARY_PLACE
        end = page + PAGE_SIZE
        with Closing(os.open(self._library, os.O_RDONLY | os.O_CLOEXEC)) as library:
            write_all(self.page, os.pread(library, page + WORDS_SIZE, 0))
            os.lseek(self.page, end, 0)  # SEEK_SET; what the page tells is still zero
            write_all(self.page, os.pread(library, _DATA_LIMIT, end))
        self.tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE)
        mount_setattr(self.tree, b"", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY)

    def make_mount_point(self) -> None:
        """See ``DetachedMount``."""
        if not self._is_tmpfs:
            return super().make_mount_point()
        return make_mount_point(self.mount_point(), inside=RESOLVE_NO_MAGICLINKS)

    def preload(self, command: list[bytes], environment: Environment) -> None:
        """Let the ``command`` load the library, if it can; call it in the container.

        A command with a library of its own to preload is left alone.
        """
        if self.page >= 0:
            preload(self.destination, command, environment)


def preload(place: bytes, command: list[bytes], environment: Environment) -> None:
    """Let the ``command`` load the library at its ``place``: see ``LibraryMount.preload``."""
    if PRELOAD_VARIABLE in environment or not exists(place):
        return
    try:
        path, _ = find_program(command[0], environment)
    except OSError:
        return  # execve(2) will fail, too
    program, loader = loaded_program(path)
    if loader.endswith(_LOADERS) and not _wants_other_first(program):
        environment.set(PRELOAD_VARIABLE, place)


def _wants_other_first(program: bytes) -> bool:
    """Tell whether a program insists on being loaded with another library first."""
    try:
        with open(program, "rb") as file:
            return _SANITIZER in file.read(_NAMES_SIZE)
    except OSError:
        return True
