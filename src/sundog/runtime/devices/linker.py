"""A cache, or musl's list, by which the image's dynamic linker finds the host's libraries.

``ldconfig`` would read all libraries of the image again, and write into the image.  So Sundog adds
the host's libraries to a copy of the image's cache, and shows the copy in its place.  If the linker
finds the libraries without that, the image's cache stays: its own ``ldconfig`` can't replace a file
that is mounted.
"""

from __future__ import annotations

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.errors import SundogError
from sundog.runtime.container.operations import CREATED, DESIRED, FileMount
from sundog.runtime.container.root_files import names_inside, open_inside, read_inside, write_inside
from sundog.runtime.devices.cuda_compat import compat_directory
from sundog.runtime.linker.cache import (
    LINKER_CACHE,
    LINKER_CACHE_LIMIT,
    CachedLibrary,
    LinkerCache,
    cached_library,
    is_library_name,
)
from sundog.runtime.linker.linkers import (
    C_LIBRARY,
    GLIBC_LINKERS,
    linkers_inside,
    musl_directories,
    musl_linker,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.runtime.devices.hooks import CompatRequest

_DEVICES_CONFIGURATION = b"/etc/ld.so.conf.d/00-sundog-devices.conf"
_LIBRARIES_LIMIT = 4096  # of one directory of an image


class LinkerMount(FileMount):
    """Show the linker a cache with ``libraries`` of the host in front, or musl their directories.

    With ``is_file``, the file is written into the container's root, which is writable, and nothing
    is mounted.

    folders    the directories that the linker is to search, in this order
    compat     whether the image's own CUDA libraries come first: see ``cuda_compat``
    """

    __slots__ = ("compat", "folders", "is_file", "libraries")

    def __init__(
        self,
        folders: Sequence[bytes],
        libraries: Sequence[CachedLibrary],
        compat: CompatRequest | None,
        *,
        is_file: bool,
    ) -> None:
        super().__init__(b"", LINKER_CACHE, DESIRED)
        self.is_file = is_file
        self.folders = folders
        self.libraries = libraries
        self.compat = compat

    def what(self) -> str:
        """See ``DetachedMount``."""
        folders = ", ".join(map(printable, self.folders))
        return f"extend the dynamic linker's cache by {folders or 'newer libraries of CUDA'}"

    def covers_directory(self) -> bool:
        """See ``DetachedMount``."""
        return False

    def generate(self, scratch: int) -> None:
        """Do nothing yet: the content depends on the root."""

    def inspect(self, root: int, scratch: int) -> None:
        """Make the file.  Raises SundogError if the image needs none."""
        first = compat_directory(root, self.compat) if self.compat else b""
        folders = [first, *self.folders] if first else self.folders
        data = read_inside(root, LINKER_CACHE, LINKER_CACHE_LIMIT)
        linkers = [] if data else linkers_inside(root)
        musl = musl_linker(linkers)
        if musl:
            self._list_for_musl(root, musl, folders)
        elif data or any(name.startswith(GLIBC_LINKERS) for name in linkers):
            self._extend_cache(root, LinkerCache(data or b""), folders)
        else:
            raise SundogError("the image has no dynamic linker")
        self.need = CREATED
        super().generate(scratch)

    def attach(self) -> None:
        """See ``DetachedMount``."""
        if not self.is_file or not write_inside(self.destination, self.contents):
            super().attach()
        elif self.destination == LINKER_CACHE:  # for an ``ldconfig`` in the container
            folders = b"".join([folder + b"\n" for folder in self.folders])
            write_inside(_DEVICES_CONFIGURATION, folders)

    def _extend_cache(self, root: int, cache: LinkerCache, folders: Sequence[bytes]) -> None:
        found = list(self.libraries)
        place = {folder: number for number, folder in enumerate(folders)}
        for folder in folders:
            plain = _without_usr(folder)
            if not cache.mentions(plain) and not cache.mentions(b"/usr" + plain):
                found += _libraries_inside(root, folder)
        found.sort(key=lambda library: place.get(directory_of(library.path), len(place)))
        if not _is_extension_needed(cache, found):
            raise SundogError("the image's linker finds the libraries anyway")
        self.contents = cache.extended(found)

    def _list_for_musl(self, root: int, linker: bytes, folders: Sequence[bytes]) -> None:
        self.destination, listed = musl_directories(root, linker)
        if all(folder in listed for folder in folders):
            raise SundogError("the image's linker finds the libraries anyway")
        paths = [*folders, *(path for path in listed if path not in folders)]
        self.contents = b"".join([path + b"\n" for path in paths])


def _is_extension_needed(cache: LinkerCache, libraries: Sequence[CachedLibrary]) -> bool:
    """Tell whether the linker would find another library, or none, with the ``cache`` as it is."""
    defaults = {directory_of(_without_usr(library.path)) for library in cache.find(C_LIBRARY)}
    seen = set()
    for library in libraries:
        key = (library.name, library.flags)
        if key in seen:
            continue
        seen.add(key)
        paths = [each.path for each in cache.find(library.name) if each.flags == library.flags]
        path = _without_usr(library.path)
        is_found = _without_usr(paths[0]) == path if paths else directory_of(path) in defaults
        if not is_found:
            return True
    return False


def _libraries_inside(root: int, folder: bytes) -> list[CachedLibrary]:
    """Return the libraries that the image itself has in ``folder``."""
    found = []
    for name in sorted(names_inside(root, folder))[:_LIBRARIES_LIMIT]:
        if not is_library_name(name):
            continue
        path = folder + b"/" + name
        fd = open_inside(root, path)
        if fd < 0:
            continue
        with Closing(fd):
            library = cached_library(fd, path)
        if library is not None:
            found.append(library)
    return found


def directory_of(path: bytes) -> bytes:
    """Return the directory part of ``path``."""
    return path.rpartition(b"/")[0]


def _without_usr(path: bytes) -> bytes:
    """Return ``path`` in the form that does not depend on whether /lib is /usr/lib."""
    return path.removeprefix(b"/usr")
