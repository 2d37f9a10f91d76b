"""The dynamic linker's view of an image, as ``ldconfig`` makes it; no program of the image runs.

In each directory that the linker searches, the newest library of a soname gets a symlink by that
name.  glibc's linker has a cache of all these names.  musl's linker looks into the directories, so
for it the symlinks are enough.

The image may be hostile: every path is resolved in it, and there are bounds.

Source: ldconfig(8).  A test compares the result with that of the images' own ``ldconfig``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

from sundog.base.kernel.files import Closing, open_regular
from sundog.base.kernel.libc import printable
from sundog.base.kernel.mounts import AT_FDCWD
from sundog.errors import KernelError, SundogError
from sundog.image.fromhost.tree import ENTRIES_LIMIT, Tree
from sundog.runtime.container.root_files import names_inside, open_inside
from sundog.runtime.linker.cache import (
    HWCAPS_LIMIT,
    CachedLibrary,
    cached_library,
    is_library_name,
    sort_key,
)
from sundog.runtime.linker.linkers import (
    GLIBC_LINKERS,
    linkers_inside,
    musl_directories,
    musl_linker,
)
from sundog.runtime.linker.new_cache import new_cache
from sundog.runtime.linker.search import HWCAPS, LinkerConfiguration, default_directories

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LIBRARIES_LIMIT = 1 << 16
_NO_CACHE = "name the directory by --dest, and leave out the linker's cache by --no-ldconfig"
# Files that package managers and prelink(8) are about to write.
_DRAFT_ENDS = (b".dpkg-new", b".dpkg-tmp", b".#prelink#")
_DRAFT_MARKS = (b";", b".#prelink#.")


@dataclass(frozen=True, slots=True)
class Change:
    """One file to make at ``path``: a symlink to ``target``, or a file with ``text``."""

    path: bytes
    target: bytes = b""
    text: bytes = b""


@dataclass(frozen=True, slots=True)
class _Directory:
    """A directory as the linker names it; ``place`` is its path for ``Tree``."""

    path: bytes
    place: bytes
    hwcaps: bytes = b""


@dataclass(frozen=True, slots=True)
class _Library:
    """A library in a directory; ``stands_alone`` if its file is no symlink to another name."""

    file_name: bytes
    stands_alone: bool
    cached: CachedLibrary

    def rank(self) -> tuple[bool, list[tuple[int, int]]]:
        """Return what makes it the one for its soname: the largest."""
        return self.stands_alone, sort_key(self.file_name)


class Linker:
    """The linker of an image; ``report`` gets a line for each symlink that is missing."""

    def __init__(self, tree: Tree, report: Callable[[str], None]) -> None:
        self._tree = tree
        self._report = report
        self._left = LIBRARIES_LIMIT

    def directories(self) -> list[bytes]:
        """Return the directories that the linker searches, in this order.  Raises SundogError."""
        return [each.path for each in self._searched if not each.hwcaps]

    def libraries(self) -> list[tuple[bytes, bytes]]:
        """Return names and paths of the libraries that the linker can find.  Raises SundogError."""
        return self._known

    def changes(self, files: Mapping[bytes, bytes]) -> list[Change]:
        """Return what is missing for ``files`` in the image (path → the host's file).

        That is symlinks in the directories that the linker searches, and its cache.  Paths are
        those of ``Tree``, resolved.  Raises SundogError.
        """
        self._left = LIBRARIES_LIMIT
        changes, cached = [], []
        for directory in self._searched:
            for library in self._in_directory(directory, files):
                cached.append(library.cached)
                if not directory.hwcaps and library.stands_alone:
                    changes += self._link(directory, library, files)
        if self._has_cache:
            if not self._cache:
                raise SundogError("not a directory: /etc in the image", _NO_CACHE)
            if not cached:
                raise SundogError("no library of a known machine in the image", _NO_CACHE)
            changes.append(Change(self._cache, text=new_cache(cached)))
        return changes

    @cached_property
    def _known(self) -> list[tuple[bytes, bytes]]:
        self._left = LIBRARIES_LIMIT
        return [
            (library.cached.name, library.cached.path)
            for directory in self._searched
            for library in self._in_directory(directory, {})
        ]

    @cached_property
    def _linkers(self) -> list[bytes]:
        return linkers_inside(self._tree.fd)

    @cached_property
    def _cache(self) -> bytes:
        """The path of the cache; b"" if /etc is no directory."""
        place = self._tree.resolved_directory(b"etc")
        return b"" if place is None else os.path.join(place, b"ld.so.cache")

    @cached_property
    def _has_cache(self) -> bool:
        has_file = bool(self._cache and self._tree.status(self._cache))
        return has_file or any(name.startswith(GLIBC_LINKERS) for name in self._linkers)

    @cached_property
    def _searched(self) -> list[_Directory]:
        found: dict[bytes, _Directory] = {}
        for path in self._named():
            place = self._tree.resolved_directory(path)
            if place is None or place in found:
                continue
            found[place] = _Directory(path, place)
            newer = names_inside(self._tree.fd, path + b"/" + HWCAPS, HWCAPS_LIMIT + 1)
            if len(newer) > HWCAPS_LIMIT:
                raise SundogError(
                    f"too many directories in {printable(path)}/glibc-hwcaps of the image",
                    _NO_CACHE,
                )
            for name in newer if self._has_cache else ():
                inner = b"/".join((path, HWCAPS, name))
                place = self._tree.resolved_directory(inner)
                if place is not None:
                    found.setdefault(place, _Directory(inner, place, name))
        if not found:
            raise SundogError("the image's linker has no directory to search", _NO_CACHE)
        return list(found.values())

    def _named(self) -> list[bytes]:
        """Return the directories that the linker would search if they existed."""
        root = self._tree.fd
        if self._has_cache:
            configuration = LinkerConfiguration(root)
            if configuration.is_cut:
                raise SundogError(
                    "/etc/ld.so.conf of the image is too large, or includes by a pattern of "
                    "directories",
                    _NO_CACHE,
                )
            return [*configuration.directories, *default_directories(root)]
        linker = musl_linker(self._linkers)
        if not linker:
            raise SundogError("the image has no dynamic linker", _NO_CACHE)
        return musl_directories(root, linker)[1]

    def _in_directory(
        self, directory: _Directory, files: Mapping[bytes, bytes]
    ) -> Iterator[_Library]:
        """Yield the newest library of each soname."""
        newest: dict[bytes, _Library] = {}
        for name, is_link in self._names(directory, files):
            library = self._read(directory, name, files, is_link=is_link)
            if library is None:
                continue
            other = newest.setdefault(library.cached.name, library)
            if library.rank() > other.rank():
                newest[library.cached.name] = library
        for soname, library in newest.items():
            # A soname is the same after an update.  Nobody makes these symlinks for hwcaps.
            name = library.file_name if directory.hwcaps else soname
            library.cached.path = os.path.join(directory.path, name)
            library.cached.hwcaps = directory.hwcaps
            yield library

    def _names(
        self, directory: _Directory, files: Mapping[bytes, bytes]
    ) -> Iterator[tuple[bytes, bool]]:
        """Yield the names of a directory's libraries, and whether they are symlinks."""
        found = {}
        with Closing(self._tree.open(directory.place)) as fd, os.scandir(fd) as entries:
            for count, entry in enumerate(entries):
                if count == ENTRIES_LIMIT:
                    raise SundogError(
                        f"too many files in {printable(directory.path)} of the image", _NO_CACHE
                    )
                found[os.fsencode(entry.name)] = entry.is_symlink()
        for path in files:
            place, name = os.path.split(path)
            if place == directory.place:
                found[name] = False
        for name in sorted(found):
            is_draft = name.endswith(_DRAFT_ENDS) or any(mark in name for mark in _DRAFT_MARKS)
            if is_library_name(name) and not is_draft:
                yield name, found[name]

    def _read(
        self, directory: _Directory, name: bytes, files: Mapping[bytes, bytes], *, is_link: bool
    ) -> _Library | None:
        """Return the library ``name``, None if it is none."""
        if self._left == 0:
            raise SundogError(f"more than {LIBRARIES_LIMIT} libraries in the image", _NO_CACHE)
        self._left -= 1
        path = os.path.join(directory.place, name)
        source = files.get(path)
        fd = open_regular(AT_FDCWD, source, 0) if source else open_inside(self._tree.fd, path)
        if fd < 0:
            return None
        with Closing(fd):
            cached = cached_library(fd, name)
        if cached is None:
            return None
        # A symlink by the soname, or libNAME.so for programs that are linked, is no other library.
        is_alias = name == cached.name or (name.endswith(b".so") and cached.name.startswith(name))
        if is_link and is_alias:
            cached.name = name
        return _Library(name, not (is_link and is_alias), cached)

    def _link(
        self, directory: _Directory, library: _Library, files: Mapping[bytes, bytes]
    ) -> list[Change]:
        """Return the symlink from the soname to the file, unless it is there."""
        path, file = (
            os.path.join(directory.place, name) for name in (library.cached.name, library.file_name)
        )
        if path == file or path in files:
            return []
        target = self._target(path)
        if target and target == (file if file in files else self._target(file)):
            return []
        text = f"/{printable(path)} -> {printable(library.file_name)}"
        if target == path:
            self._report(f"not made, because a file has the name: {text}")
            return []
        self._report(text)
        return [Change(path, target=library.file_name)]

    def _target(self, path: bytes) -> bytes:
        """Return where a symlink leads at last; b"" if nothing is there."""
        try:
            return self._tree.resolved(path)
        except KernelError:
            return b""
