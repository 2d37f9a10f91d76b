"""Compare the host's libraries with the image's, and decide which the container shows, and where.

The host's library takes the place of the image's if both have one ABI.  A library that the image
lacks comes beside its own.  Of a library that the MPI only needs, the newer one stays: programs of
the image may need what only the newer one has.
"""

from __future__ import annotations

from sundog.base.kernel.libc import printable
from sundog.errors import SundogError
from sundog.runtime.container.root_files import names_inside
from sundog.runtime.host_mpi.abi import (
    C_LIBRARY,
    MPI_LIBRARIES,
    abi_name,
    described,
    glibc_version,
    is_glibc,
    linker_name,
    misfit,
    version_numbers,
    version_of,
)
from sundog.runtime.host_mpi.host_set import (
    NOTHING_FOUND_HINT,
    PLUGINS_BESIDE,
    HostLibrary,
    HostSet,
    host_set_of,
    mpi_of_host,
)
from sundog.runtime.host_mpi.shown import HOST_LIBRARIES
from sundog.runtime.linker.cache import cache_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.host_mpi.profile import HostProfile
    from sundog.runtime.linker.search import FoundLibrary, LibrarySearch

_CANDIDATES_LIMIT = 300  # libraries of an image that one of the host may replace

_IMAGE_HINT = (
    "name its directory in the profile's image_directories; an MPI that is linked statically can't "
    "be replaced"
)
_ABI_HINT = "use an image whose MPI has the host's ABI; or leave out --host-mpi"
_GLIBC_HINT = "--host-glibc shows the host's C library, too; or use an image with a newer one"


class Fit:
    """The host's libraries that the container shows.

    covers    (host's file, file of the image whose place it takes)
    added     name → host's file, for libraries that the image lacks
    cached    (name, path in the container, flags) for the linker's cache
    plugins   (host's directory or b"", directory of the image): plug-ins; b"" hides the image's
    warnings  what the user should know
    notes     what -v tells
    """

    __slots__ = ("added", "cached", "covers", "notes", "plugins", "warnings")

    def __init__(self) -> None:
        self.covers: list[tuple[bytes, bytes]] = []
        self.added: dict[bytes, bytes] = {}
        self.cached: list[tuple[bytes, bytes, int]] = []
        self.plugins: list[tuple[bytes, bytes]] = []
        self.warnings: list[str] = []
        self.notes: list[str] = []


class Fitting:
    """Fits the host's libraries into an image; ``search`` and ``image`` find those of each."""

    __slots__ = ("_covered", "_image", "_profile", "_search", "_there", "_wants_glibc", "fit")

    def __init__(
        self,
        profile: HostProfile,
        search: LibrarySearch,
        image: LibrarySearch,
        *,
        host_glibc: bool,
    ) -> None:
        self._profile = profile
        self._search = search
        self._image = image
        self._wants_glibc = host_glibc or profile.host_glibc
        self._covered: set[tuple[int, int]] = set()  # files of the image
        self._there: set[bytes] = set()  # names in the image that lead to them
        self.fit = Fit()

    def decide(self, library_path: list[bytes]) -> HostSet:
        """Decide about all libraries of the host's MPI, and return them.

        ``library_path`` is $LD_LIBRARY_PATH of the host.  Raises SundogError if they do not fit.
        """
        search = self._search
        own = self._image.find(C_LIBRARY)
        if own is None or not glibc_version(own.library.defined):  # musl can have this name, too
            raise SundogError(
                "the image has no glibc, which the host's MPI needs",
                "the image may be one with musl (Alpine), or of static programs; use another base",
            )
        theirs = self._mpi_of_image()
        if self._profile.path:
            host = host_set_of(self._profile, search, library_path)
        else:
            host = HostSet(search, library_path)
            for found in self._usable(mpi_of_host(search), theirs):
                host.add(found, is_mpi=True)
        for library in host.libraries:
            if library.found.library.machine != own.library.machine:
                raise SundogError(
                    f"the host's {printable(library.path)} is for another machine than the image",
                    "use an image for this machine: --arch",
                )
        self._fit_mpi(host, theirs)
        for library in host.libraries:
            if not library.is_mpi:
                self._fit_dependency(library)
        self._fit_glibc(host, own)
        return host

    def _mpi_of_image(self) -> list[FoundLibrary]:
        """Return the libraries of MPI in the image: one for each name and file."""
        names = [(path, path.rpartition(b"/")[2]) for path in self._image.paths(beginning=b"lib")]
        wanted = {abi_name(name.rpartition(b"/")[2]) for name in self._profile.libraries}
        wanted |= set(MPI_LIBRARIES)
        places = [path for path, name in names if version_of(name) and abi_name(name) in wanted]
        found = map(self._image.open, places[:_CANDIDATES_LIMIT])
        return [library for library in found if library is not None]

    def _usable(self, ours: list[FoundLibrary], theirs: list[FoundLibrary]) -> list[FoundLibrary]:
        """Return those of the host's MPIs whose ABI the image's programs need, or else all."""
        if not ours:
            raise SundogError("the host's linker finds no MPI", NOTHING_FOUND_HINT)
        abis = {(abi_name(library.name), _major_of(library)) for library in theirs}
        usable = [
            library for library in ours if (abi_name(library.name), _major_of(library)) in abis
        ]
        return usable or [library for library in ours if abi_name(library.name) == MPI_LIBRARIES[0]]

    def _fit_mpi(self, host: HostSet, theirs: list[FoundLibrary]) -> None:
        """Put the host's MPI in the places of the image's.  Raises SundogError."""
        libraries = [library for library in host.libraries if library.is_mpi]
        names = {abi_name(library.names[0]) for library in libraries}
        if not any(abi_name(found.name) in names for found in theirs):
            shown = " ".join(sorted(printable(name) for name in names))
            raise SundogError(f"the image has no MPI that can be replaced: {shown}", _IMAGE_HINT)
        refused = []
        fitting = False
        for library in libraries:
            name = abi_name(library.names[0])
            pairs = [found for found in theirs if abi_name(found.name) == name]
            same = [found for found in pairs if _major_of(found) == library.major]
            for found in same:
                self._compare_mpi(library, found)
                self._cover(library, found)
            fitting = fitting or bool(same)
            if pairs and not same:
                refused.append((library, pairs[0]))
            self._add_names(library)
        if refused and not fitting:
            library, found = refused[0]
            raise SundogError(
                f"the host's {described(library.names[0], library.major)} does not fit the image's"
                f" {described(found.name, _major_of(found))}: the ABIs {library.major} and"
                f" {_major_of(found)} differ",
                _ABI_HINT,
            )

    def _compare_mpi(self, library: HostLibrary, found: FoundLibrary) -> None:
        """Compare the versions of the host's and the image's MPI.  Raises SundogError."""
        image = max(version_of(found.file_name), version_of(found.name), key=len)
        compatibility = self._profile.compatibility
        is_refused, reason = misfit(library.version, image, compatibility)
        if not reason:
            return
        text = (
            f"the host's {printable(library.found.file_name)} and the image's"
            f" {printable(found.file_name)}: {reason}"
        )
        if is_refused:
            raise SundogError(
                f"{text}; the profile asks for compatibility {compatibility}", _ABI_HINT
            )
        if text not in self.fit.warnings:
            self.fit.warnings.append(text)

    def _fit_dependency(self, library: HostLibrary) -> None:
        """Decide about a library that the MPI needs."""
        same = [
            found
            for name in library.names
            for path in self._image.paths(name=name)[:_CANDIDATES_LIMIT]
            if (found := self._image.open(path)) is not None
            and found.library.machine == library.found.library.machine
        ]
        if same and self._stays(library, same[0]):
            file_name = printable(same[0].file_name)
            self.fit.notes.append(f"host MPI: the image's {file_name} stays: it is newer")
            return
        for found in same:
            self._cover(library, found)
        self._add_names(library)

    def _stays(self, library: HostLibrary, found: FoundLibrary) -> bool:
        """Tell whether the image's library is newer, and has all that the host's defines."""
        image = version_of(found.file_name)
        is_newer = len(image) > 1 and len(library.version) > 1 and image > library.version
        return is_newer and library.found.library.defined <= found.library.defined

    def _cover(self, library: HostLibrary, found: FoundLibrary) -> None:
        """Show the host's library in the place of the image's."""
        self._there.add(found.name)
        self._cache(found.name, found.path, library)
        if found.file not in self._covered:
            self._covered.add(found.file)
            self.fit.covers.append((library.path, found.path))
            self._show_plugins(library, found.path.rpartition(b"/")[0])

    def _add_names(self, library: HostLibrary) -> None:
        """Show the host's library beside the image's, by the names that the image lacks."""
        wanted = [*library.names, *(self._there_as(library) if library.is_mpi else [])]
        for name in wanted:
            if name != library.names[-1] or name not in self._there:
                self.fit.added[name] = library.path
                self._cache(name, HOST_LIBRARIES + b"/" + name, library)
        plugins = _plugins_beside(library)
        if (
            plugins
            and library.names[0] in self.fit.added
            and names_inside(self._search.root, plugins)
        ):
            self.fit.added[plugins.rpartition(b"/")[2]] = plugins

    def _cache(self, name: bytes, path: bytes, library: HostLibrary) -> None:
        """Let the linker find the host's library by ``name`` at ``path`` in the container."""
        self.fit.cached.append((name, path, cache_flags(library.found.library.machine)))

    def _there_as(self, library: HostLibrary) -> list[bytes]:
        """Return the names in the image of the libraries whose places the host's takes."""
        own = abi_name(library.names[0])
        return sorted(
            name
            for name in self._there
            if abi_name(name) == own and version_of(name) == (library.major,)
        )

    def _show_plugins(self, library: HostLibrary, directory: bytes) -> None:
        """Show the plug-ins of a library in place of the image's, which are of another version."""
        plugins = _plugins_beside(library)
        place = directory + b"/" + plugins.rpartition(b"/")[2]
        if plugins and names_inside(self._image.root, place):
            there = names_inside(self._search.root, plugins)
            self.fit.plugins.append((plugins if there else b"", place))

    def _fit_glibc(self, host: HostSet, own: FoundLibrary) -> None:
        """Make sure that the image has the C library that the host's libraries need.

        ``own`` is the image's.  Raises SundogError.
        """
        if self._wants_glibc and self._replace_glibc(host, own):
            return
        for name, versions in host.glibc.items():
            found = self._image.find(name, own.library.machine)
            defined = set() if found is None else found.library.defined
            lacking = [version for version in versions if version not in defined]
            if lacking:
                version = max(lacking, key=version_numbers)
                has = ".".join(map(str, glibc_version(own.library.defined)))
                raise SundogError(
                    f"the host's {printable(versions[version].found.file_name)} needs"
                    f" {printable(version)} of {printable(name)}; the image has {has}",
                    _GLIBC_HINT,
                )

    def _replace_glibc(self, host: HostSet, own: FoundLibrary) -> bool:
        """Show the host's glibc, all of it, if it is newer; return whether it is."""
        machine = own.library.machine
        theirs = self._search.find(C_LIBRARY, machine)
        if theirs is None:
            return False
        versions = [glibc_version(found.library.defined) for found in (theirs, own)]
        shown = [".".join(map(str, version)) for version in versions]
        if versions[0] <= versions[1] or machine[1] != 64:
            self.fit.notes.append(f"host MPI: glibc {shown[1]} of the image stays")
            return False
        self.fit.notes.append(f"host MPI: glibc {shown[0]} in place of the image's {shown[1]}")
        there = set()
        names = [(path, path.rpartition(b"/")[2]) for path in self._image.paths(beginning=b"l")]
        places = [path for path, name in names if version_of(name) and is_glibc(name)]
        for path in places[:_CANDIDATES_LIMIT]:
            found = self._image.open(path)
            if found is None or found.library.machine != machine:
                continue
            there.add(found.name)
            ours = self._search.find(found.name, machine)
            if ours is not None and found.file not in self._covered:
                self._covered.add(found.file)
                self.fit.covers.append((ours.path, path))
        for name in host.glibc:
            ours = self._search.find(name, machine)
            if name not in there and ours is not None:
                self.fit.added[name] = ours.path
        return True


def _plugins_beside(library: HostLibrary) -> bytes:
    """Return the directory of the plug-ins that belong to a library; b"" if it has none."""
    name = PLUGINS_BESIDE.get(linker_name(library.names[0]), b"")
    return library.path.rpartition(b"/")[0] + b"/" + name if name else b""


def _major_of(found: FoundLibrary) -> int:
    """Return the number of the ABI of a library, or -1."""
    numbers = version_of(found.library.soname) or version_of(found.name)
    return numbers[0] if numbers else -1
