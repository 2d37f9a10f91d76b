"""``ch-run --host-mpi``: find, compare and mount the host's MPI, or say why it does not fit.

Most starts find what an earlier one has kept: see ``kept``.
"""

from __future__ import annotations

import os

from sundog.base.wire.values import pack_value
from sundog.runtime.container.operations import (
    CREATED,
    DESIRED,
    REQUIRED,
    Bind,
    FileMount,
    TmpfsMount,
)
from sundog.runtime.container.paths import OPEN_DIRECTORY
from sundog.runtime.container.root_files import read_inside
from sundog.runtime.host_mpi.findings import Findings, states, states_in, unpack_findings
from sundog.runtime.host_mpi.fit import Fit, Fitting
from sundog.runtime.host_mpi.kept import KeptValue
from sundog.runtime.host_mpi.profile import find_profile
from sundog.runtime.host_mpi.shown import (
    HOST_DIRECTORY,
    HOST_LIBRARIES,
    HOST_PROVIDERS,
    HostDirectory,
    HostLinkerCache,
)
from sundog.runtime.linker.cache import LINKER_CACHE, LINKER_CACHE_LIMIT, CachedLibrary, LinkerCache
from sundog.runtime.linker.search import LibrarySearch, small_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.runtime.container.operations import Operation
    from sundog.runtime.container.plan import Plan
    from sundog.runtime.container.variables import Environment

_IMAGE_VARIABLES = b"/ch/environment"
_LIBRARY_PATH = b"LD_LIBRARY_PATH"
_PROVIDER_PATH = b"FI_PROVIDER_PATH"


class HostMpi:
    """The host's MPI for one container.

    ``places`` are mounts for the container's plan.  What they show, and more mounts, depends on the
    image: see ``show``.
    """

    __slots__ = (
        "_cache",
        "_directory",
        "_host_glibc",
        "_library_path",
        "_profile",
        "_storage",
        "places",
        "told",
        "warned",
    )

    def __init__(
        self,
        name: bytes,
        environment: Environment,
        storage: int,
        *,
        host_glibc: bool,
        writable: bool,
        told: Callable[[str], None],
        warned: Callable[[str], None],
    ) -> None:
        """Read the profile ``name``; the host's default if it is empty.

        ``storage`` is a storage directory that only this user can enter, or -1: findings are kept
        there.  In a ``writable`` image no mount point is made, because it would stay.  ``told`` and
        ``warned`` get messages.  Raises SundogError.
        """
        self._profile = find_profile(name, environment, storage)
        self._host_glibc = host_glibc
        self._storage = storage
        path = environment.get(_LIBRARY_PATH) or b""
        self._library_path = [place for place in path.split(b":") if place.startswith(b"/")]
        self.told = told
        self.warned = warned
        need = REQUIRED if writable else CREATED
        self._directory = HostDirectory(need)
        self._cache = HostLinkerCache(need)
        self.places: list[Operation] = [self._directory, self._cache]
        self.places += [
            Bind(source, destination, need, writable=is_writable)
            for source, destination, is_writable in self._profile.binds
        ]
        self.places += [
            Bind(plugins, plugins, need, writable=False) for plugins in self._profile.plugins
        ]

    def show(self, root: int, plan: Plan, image: bytes, *, is_stable: bool) -> list[Operation]:
        """Make the mounts for the image that is mounted in the directory ``root``; return more.

        Call it after ``Plan.mount`` and ``add_missing_points`` of the ``plan``, before ``enter``.
        ``image`` identifies the image, and also its content if it ``is_stable``.  Raises
        SundogError if the libraries do not fit.
        """
        profile = self._profile
        key = pack_value((image, profile.path, self._library_path, self._host_glibc))
        kept = KeptValue(self._storage, key)
        findings = unpack_findings(kept.read())
        if findings is None or not findings.is_current(root):
            findings = self._find(root, is_stable=is_stable)
            kept.write(findings.pack())
        else:
            self.told("host MPI: kept from an earlier start")
        fit = findings.fit
        for text in fit.warnings:
            self.warned(text)
        for text in fit.notes:
            self.told(text)
        self._decide(fit)
        self._directory.acquire()
        more = _covering(fit)
        for operation in more:
            operation.acquire()
        cache = LinkerCache(_shown_cache(root, plan.operations))
        self._cache.contents = cache.extended([CachedLibrary(*each) for each in fit.cached])
        for operation in (self._directory, self._cache, *more):
            operation.generate(plan.scratch)
        return more

    def _find(self, root: int, *, is_stable: bool) -> Findings:
        """Compare the host's libraries with those of the image."""
        profile = self._profile
        host_root = os.open(b"/", OPEN_DIRECTORY)
        # The container's linker takes what it is given, and other nodes may share the findings: so
        # the libraries are those for all processors.
        search = LibrarySearch(host_root, self._library_path, newer=False)
        image = LibrarySearch(root, [*profile.image_directories, *_image_library_path(root)])
        fitting = Fitting(profile, search, image, host_glibc=self._host_glibc)
        host = fitting.decide(self._library_path)
        fit = fitting.fit
        os.close(host_root)
        sources = [source for source, _ in fit.covers]
        decided = [
            *profile.files(),
            LINKER_CACHE,
            *self._library_path,
            *[library.path for library in host.libraries],
            *sources,
            *fit.added.values(),
        ]
        seen = [_IMAGE_VARIABLES]  # they belong to an image, and not to its layers
        if not is_stable:
            seen += [*image.configuration, *image.directories]
        return Findings(fit, states(decided), states_in(root, seen))

    def _decide(self, fit: Fit) -> None:
        """Say what the directory of the host's libraries shows."""
        profile = self._profile
        lib = HOST_LIBRARIES.removeprefix(HOST_DIRECTORY + b"/") + b"/"
        entries = {lib + name: path for name, path in fit.added.items()}
        variables = [*profile.environment]
        for path in profile.providers:
            name = path.rpartition(b"/")[2]
            entries[HOST_PROVIDERS.removeprefix(HOST_DIRECTORY + b"/") + b"/" + name] = path
        if profile.providers:
            variables.insert(0, (_PROVIDER_PATH, HOST_PROVIDERS))
        self._directory.entries = entries
        self._directory.environment = b"".join(
            [name + b"=" + value + b"\0" for name, value in variables]
        )


def _covering(fit: Fit) -> list[Operation]:
    """Return the mounts over files and directories of the image."""
    more: list[Operation] = [
        Bind(source, place, REQUIRED, writable=False) for source, place in fit.covers
    ]
    for source, place in fit.plugins:
        if source:
            more.append(Bind(source, place, DESIRED, writable=False))
        else:
            more.append(TmpfsMount(place, DESIRED, options=b"size=4096", writable=False))
    return more


def _shown_cache(root: int, operations: Sequence[Operation]) -> bytes:
    """Return the linker's cache that the container would have: that of devices, or the image's."""
    for operation in operations:
        is_cache = operation.destination == LINKER_CACHE
        if is_cache and isinstance(operation, FileMount) and operation.contents:
            return operation.contents
    return read_inside(root, LINKER_CACHE, LINKER_CACHE_LIMIT) or b""


def _image_library_path(root: int) -> list[bytes]:
    """Return the directories of $LD_LIBRARY_PATH of an image."""
    found: list[bytes] = []
    for line in small_file(root, _IMAGE_VARIABLES).split(b"\n"):
        name, _, value = line.partition(b"=")
        if name == _LIBRARY_PATH:
            found = [place for place in value.split(b":") if place.startswith(b"/")]
    return found
