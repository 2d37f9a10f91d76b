"""Search of a dynamic linker's directories for libraries, on the host or in an image.

The directories are those that the caller names, then those of ``/etc/ld.so.conf``, then the
linker's own.  The linker's cache says the same, but it may be old, missing or damaged, so the
directories themselves are read.

The root may be an image's, so it may be hostile: no link leads out of it, and there are bounds.

Sources: ld.so(8), ldconfig(8); glibc's manual for ``glibc-hwcaps``.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import descriptor_path, libc_call
from sundog.runtime.container.root_files import NAMES_LIMIT, names_inside, open_inside
from sundog.runtime.linker.elf import ElfError
from sundog.runtime.linker.linkers import C_LIBRARY
from sundog.runtime.linker.shared_object import SharedObject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_LINKER_CONFIGURATION = b"/etc/ld.so.conf"
_LINKER_DIRECTORIES = (b"/lib", b"/lib64", b"/usr/lib", b"/usr/lib64")
_MULTIARCH_DIRECTORIES = (b"/lib", b"/usr/lib")
_MULTIARCH = b"-linux-gnu"
HWCAPS = b"glibc-hwcaps"  # subdirectories of it are for newer processors

_SEARCHED_LIMIT = 4096  # directories that the configuration names
PATTERNS_LIMIT = 256  # that include files into the configuration
_INCLUDED_FILES_LIMIT = 256
SEARCHED_HWCAPS_LIMIT = 32  # kinds of newer processors
_MULTIARCH_LIMIT = 32  # architectures
LIBRARIES_READ_LIMIT = 4096  # a hostile one takes 10 ms
_PATTERN_LIMIT = 255
_CONFIGURATION_LIMIT = 1 << 16  # bytes of a file
_FNM_PERIOD = 4  # no wildcard is the period at the beginning of a name


class FoundLibrary:
    """A library at ``path`` below a root.

    name       the last part of the path; the file's own name may have more of a version
    file_name  that of the file to which links lead
    file       what identifies the file: device and inode
    library    what its headers say
    """

    __slots__ = ("file", "file_name", "library", "name", "path")

    def __init__(
        self, path: bytes, file_name: bytes, file: tuple[int, int], library: SharedObject
    ) -> None:
        self.path = path
        self.name = path.rpartition(b"/")[2]
        self.file_name = file_name
        self.file = file
        self.library = library


class LinkerConfiguration:
    """The file /etc/ld.so.conf of the root directory ``root``, and the files that it includes.

    files        their paths
    directories  the directories that they name, in order
    is_cut       whether they have more than is read
    """

    __slots__ = ("_names_left", "_patterns_left", "_root", "directories", "files", "is_cut")

    def __init__(self, root: int) -> None:
        self._root = root
        self._names_left = NAMES_LIMIT  # each costs a microsecond for each pattern
        self._patterns_left = PATTERNS_LIMIT
        self.is_cut = False
        self.files = [_LINKER_CONFIGURATION]
        self.directories = self._read(_LINKER_CONFIGURATION)
        if len(self.directories) > _SEARCHED_LIMIT:
            self.is_cut = True
            del self.directories[_SEARCHED_LIMIT:]

    def _read(self, path: bytes) -> list[bytes]:
        """Return the directories that a file names."""
        directories = []
        text = small_file(self._root, path)
        self.is_cut |= len(text) == _CONFIGURATION_LIMIT
        for line in text.split(b"\n"):
            line = line.partition(b"#")[0].strip()  # noqa: PLW2901 - without its comment
            words = line.split()
            if words[:1] == [b"include"]:
                for pattern in words[1:]:
                    directories += self._included(path, pattern)
            elif line.startswith(b"/") and (named := line.partition(b"=libc")[0].rstrip(b" \t/")):
                directories.append(named)
        return directories

    def _included(self, path: bytes, pattern: bytes) -> list[bytes]:
        """Return the directories in the files that match ``pattern``, which ``path`` includes."""
        if not pattern.startswith(b"/"):
            pattern = path.rpartition(b"/")[0] + b"/" + pattern
        place, _, last = pattern.rpartition(b"/")
        directories: list[bytes] = []
        if len(last) > _PATTERN_LIMIT or self._patterns_left == 0 or set(place) & set(b"*?["):
            self.is_cut = True
            return directories
        self._patterns_left -= 1
        names = names_inside(self._root, place or b"/", self._names_left)
        self._names_left -= len(names)
        self.is_cut |= self._names_left == 0
        for name in sorted(names):
            found = place + b"/" + name
            if libc_call("fnmatch", last, name, _FNM_PERIOD) or found in self.files:
                continue
            if len(self.files) == _INCLUDED_FILES_LIMIT:
                self.is_cut = True
                break
            self.files.append(found)
            directories += self._read(found)
        return directories


class LibrarySearch:
    """The directories that the linker of the root directory ``root`` searches.

    ``first`` are searched before its own.  ``directories`` are those that exist, in order.  Those
    for newer processors are among them unless ``newer`` is False.
    """

    __slots__ = ("_libraries_left", "_names", "configuration", "directories", "root")

    def __init__(self, root: int, first: Sequence[bytes] = (), *, newer: bool = True) -> None:
        self.root = root
        configuration = LinkerConfiguration(root)
        self.configuration = configuration.files
        self._libraries_left = LIBRARIES_READ_LIMIT
        wanted = [*first, *configuration.directories, *default_directories(root)]
        self.directories: list[bytes] = []
        self._names: list[tuple[bytes, list[bytes]]] = []
        left = NAMES_LIMIT
        for directory in dict.fromkeys(wanted):
            for place in (*(self._newer(directory) if newer else ()), directory):
                names = names_inside(root, place, left)
                left -= len(names)
                if names:
                    self.directories.append(place)
                    self._names.append((place, names))

    def paths(self, *, beginning: bytes = b"", name: bytes = b"") -> list[bytes]:
        """Return the paths of the files with this ``name``, or whose names begin so, in order."""
        return [
            directory + b"/" + found
            for directory, names in self._names
            for found in names
            if (found == name if name else found.startswith(beginning))
        ]

    def find(self, name: bytes, machine: tuple[int, int, str] | None = None) -> FoundLibrary | None:
        """Return the first library with this ``name``, and for this ``machine`` if it is given."""
        for path in self.paths(name=name):
            found = self.open(path)
            if found is not None and machine in (None, found.library.machine):
                return found
        return None

    def open(self, path: bytes) -> FoundLibrary | None:
        """Return the library ``path``; None if there is none that can be read.

        Of the search's libraries, only the first ``LIBRARIES_READ_LIMIT`` are read.
        """
        try:
            fd = open_inside(self.root, path)
            if fd < 0:
                return None
            with Closing(fd):
                if self._libraries_left == 0:
                    return None
                self._libraries_left -= 1
                status = os.fstat(fd)
                file_name = descriptor_path(fd).rpartition(b"/")[2]
                file = (status.st_dev, status.st_ino)
                return FoundLibrary(path, file_name, file, SharedObject(fd))
        except (ElfError, OSError):
            return None

    def _newer(self, directory: bytes) -> list[bytes]:
        place = directory + b"/" + HWCAPS
        names = names_inside(self.root, place, SEARCHED_HWCAPS_LIMIT)
        return [place + b"/" + name for name in sorted(names, reverse=True)]


def default_directories(root: int) -> list[bytes]:
    """Return the directories that the linker of a root searches without any configuration.

    Debian's linker searches those of its architecture.
    """
    multiarch = [
        directory + b"/" + name
        for directory in _MULTIARCH_DIRECTORIES
        for name in sorted(names_inside(root, directory))
        if _MULTIARCH in name
    ][:_MULTIARCH_LIMIT]
    is_debian = any(_is_file_inside(root, place + b"/" + C_LIBRARY) for place in multiarch)
    return [*multiarch, *(_MULTIARCH_DIRECTORIES if is_debian else _LINKER_DIRECTORIES)]


def _is_file_inside(root: int, path: bytes) -> bool:
    """Tell whether a root has a regular file ``path``."""
    fd = open_inside(root, path)
    if fd >= 0:
        os.close(fd)
    return fd >= 0


def small_file(root: int, path: bytes) -> bytes:
    """Return the beginning of a file below ``root``; nothing if there is no such file."""
    fd = open_inside(root, path)
    if fd < 0:
        return b""
    with Closing(fd):
        try:
            return os.read(fd, _CONFIGURATION_LIMIT)
        except OSError:
            return b""
