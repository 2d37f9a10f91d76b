"""The host's side: the libraries of its MPI, and all libraries that these need, but glibc.

A needed library is found as the host's linker finds it: by the directories that the library itself
names (RPATH, RUNPATH), by $LD_LIBRARY_PATH, which modules of a site set, and in the linker's
directories.  Source: ld.so(8).
"""

from __future__ import annotations

from sundog.base.kernel.libc import printable
from sundog.errors import SundogError
from sundog.runtime.container.root_files import names_inside
from sundog.runtime.host_mpi.abi import MPI_LIBRARIES, SAME_AS, abi_name, is_glibc, version_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.host_mpi.profile import HostProfile
    from sundog.runtime.linker.search import FoundLibrary, LibrarySearch

_HOST_LIBRARIES_LIMIT = 1000
_ORIGINS = (b"$ORIGIN", b"${ORIGIN}")

# Libraries that load plug-ins from a directory beside them: linker name → the directory.  The
# plug-ins belong to exactly this version of the library.
PLUGINS_BESIDE = {
    b"libfabric": b"libfabric",
    b"libopen-pal": b"openmpi",
    b"libpmix": b"pmix2",
    b"libucs": b"ucx",
}

NOTHING_FOUND_HINT = (
    "load the module of an MPI, so that $LD_LIBRARY_PATH names it; or write a profile: see "
    "docs/how-to/mpi.md"
)


class HostLibrary:
    """A library of the host that the container may need.

    names    what it is looked up by: the name in the profile, and its soname
    major    the number of its ABI, or -1
    version  the numbers in its file's name, or else in its soname
    is_mpi   whether it is a part of the MPI, and not only needed by it
    """

    __slots__ = ("found", "is_mpi", "major", "names", "version")

    def __init__(self, found: FoundLibrary, *, is_mpi: bool) -> None:
        self.found = found
        self.is_mpi = is_mpi
        soname = found.library.soname or found.name
        self.names = list(dict.fromkeys((found.name, soname)))
        own = version_of(soname) or version_of(found.name)
        self.major = own[0] if own else -1
        self.version = max(version_of(found.file_name), own, key=len)

    @property
    def path(self) -> bytes:
        """Return its path on the host."""
        return self.found.path


class HostSet:
    """The libraries of the host's MPI, and what they need, in the order in which they are found.

    ``named`` finds each by each of its names.  ``glibc`` tells which symbol versions of each part
    of glibc they need, and who needs them.
    """

    __slots__ = ("_machine", "_path", "glibc", "libraries", "named", "search")

    def __init__(self, search: LibrarySearch, library_path: list[bytes]) -> None:
        self.search = search
        self._path = library_path
        self._machine: tuple[int, int, str] | None = None
        self.libraries: list[HostLibrary] = []
        self.named: dict[bytes, HostLibrary] = {}
        self.glibc: dict[bytes, dict[bytes, HostLibrary]] = {}

    def add_path(self, path: bytes, *, is_mpi: bool, purpose: str) -> None:
        """Add the library ``path``, which the profile names for a ``purpose``, and its needs.

        Raises SundogError.
        """
        self.add(self._opened(path, purpose), is_mpi=is_mpi)

    def add_needs_of(self, path: bytes, *, purpose: str) -> None:
        """Add what the plug-in ``path`` needs, as ``add_path`` does."""
        self._add_needs(HostLibrary(self._opened(path, purpose), is_mpi=False))

    def add_plugins(self, directory: bytes) -> None:
        """Add what the plug-ins in ``directory`` need.  Raises SundogError."""
        for name in sorted(names_inside(self.search.root, directory)):
            found = self.search.open(directory + b"/" + name) if b".so" in name else None
            if found is not None:
                self._add_needs(HostLibrary(found, is_mpi=False))

    def add(self, found: FoundLibrary, *, is_mpi: bool) -> None:
        """Add a library and what it needs.  Raises SundogError if the host lacks something."""
        library = HostLibrary(found, is_mpi=is_mpi)
        if any(name in self.named for name in library.names):
            return
        if len(self.libraries) == _HOST_LIBRARIES_LIMIT:
            raise SundogError(f"the host's MPI needs more than {_HOST_LIBRARIES_LIMIT} libraries")
        self._machine = self._machine or found.library.machine
        self.libraries.append(library)
        for name in library.names:
            self.named[name] = library
        self._add_needs(library)

    def _opened(self, path: bytes, purpose: str) -> FoundLibrary:
        found = self.search.open(path)
        if found is None:
            raise SundogError(
                f"the host has no library {printable(path)}",
                f"the profile names it in {purpose}; it must be a shared library that you can read",
            )
        return found

    def _add_needs(self, library: HostLibrary) -> None:
        """Add the libraries that ``library`` needs."""
        for name, versions in library.found.library.wanted.items():
            if is_glibc(name):
                self.glibc.setdefault(name, {}).update(dict.fromkeys(versions, library))
        for name in library.found.library.needed:
            if is_glibc(name) or name in self.named:
                continue
            found = self._find(name, library.found)
            if found is None:
                raise SundogError(
                    f"the host has no library {printable(name)}, which {printable(library.path)}"
                    " needs",
                    "load the module that has it, so that $LD_LIBRARY_PATH names it",
                )
            self.add(found, is_mpi=False)

    def _find(self, name: bytes, needing: FoundLibrary) -> FoundLibrary | None:
        """Return the library ``name`` that the host's linker would load for ``needing``."""
        own, place = needing.library, needing.path.rpartition(b"/")[0]
        before = b"" if own.runpath else own.rpath
        directories = [
            *_expanded_directories(before, place),
            *self._path,
            *_expanded_directories(own.runpath, place),
        ]
        for directory in directories:
            found = self.search.open(directory + b"/" + name)
            if found is not None and found.library.machine == self._machine:
                return found
        return self.search.find(name, self._machine)


def _expanded_directories(text: bytes, origin: bytes) -> list[bytes]:
    """Return the absolute directories of an RPATH; ``origin`` is the directory of its library."""
    directories = []
    for item in text.split(b":"):
        for word in _ORIGINS:
            item = item.replace(word, origin)  # noqa: PLW2901 - two spellings of one word
        if item.startswith(b"/"):
            directories.append(item)
    return directories


def mpi_of_host(search: LibrarySearch) -> list[FoundLibrary]:
    """Return the libraries of all MPIs that the host's linker finds: one for each ABI."""
    spellings = {name: [name] for name in MPI_LIBRARIES}
    for other, name in SAME_AS.items():
        spellings[name].append(other)
    first: dict[tuple[bytes, int], FoundLibrary] = {}
    for names in spellings.values():
        for name in names:
            for path in search.paths(beginning=name + b".so."):
                version = version_of(path.rpartition(b"/")[2])
                if len(version) == 1 and (found := search.open(path)) is not None:
                    first.setdefault((abi_name(found.name), version[0]), found)
    return list(first.values())


def host_set_of(profile: HostProfile, search: LibrarySearch, library_path: list[bytes]) -> HostSet:
    """Return the libraries that the ``profile`` names, with all that they need.

    Raises SundogError if the host lacks one.
    """
    host = HostSet(search, library_path)
    for path in profile.libraries:
        host.add_path(path, is_mpi=True, purpose="libraries")
    for path in profile.dependencies:
        host.add_path(path, is_mpi=False, purpose="dependencies")
    for path in profile.providers:
        host.add_needs_of(path, purpose="providers")
    for directory in profile.plugins:
        host.add_plugins(directory)
    return host
