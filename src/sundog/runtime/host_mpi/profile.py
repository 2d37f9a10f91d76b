"""Profiles: files in which a site says which libraries of its hosts containers get.

A profile is ``NAME.toml`` in one of the directories of ``_profile_directories``; the first one
counts.  Without a name, ``default.toml`` counts, if it is there.  A name with a slash is a path.
"""

from __future__ import annotations

import os

from sundog.base.kernel.libc import escaped, printable
from sundog.base.spelling import nearest
from sundog.errors import SundogError
from sundog.runtime.host_mpi.abi import COMPATIBILITIES, FULL_FITS
from sundog.runtime.host_mpi.kept import KeptValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.variables import Environment

_PROFILE_DIRECTORIES = b"CH_RUN_HOST_MPI_DIRS"  # a variable, with colons between directories
_SITE_PROFILES = b"/etc/sundog/host-mpi.d"
_USER_PROFILES = b"sundog/host-mpi.d"  # below $XDG_CONFIG_HOME
_DEFAULT_PROFILE = b"default"
_PROFILE_SUFFIX = b".toml"
_PROFILE_LIMIT = 1 << 20  # bytes

_PROFILE_HINT = "see ch-run --help, and the chapter on the host's MPI in docs/how-to/mpi.md"
_STRING_LISTS = ("libraries", "dependencies", "plugins", "providers", "binds", "image_directories")
_PROFILE_FIELDS = (*_STRING_LISTS, "description", "compatibility", "environment", "host_glibc")


class HostProfile:
    """A site's description of its MPI.

    path               the file; b"" if there is none, and the host's linker decides
    libraries          the MPI itself: host paths of the libraries that programs are linked with
    dependencies       more libraries that it needs, which nothing names (dlopen(3))
    plugins            directories of plug-ins, shown at their own paths
    providers          plug-ins of libfabric, found by $FI_PROVIDER_PATH
    binds              (source, destination, whether writable) of further files and directories
    environment        variables of the command
    image_directories  directories in which the image may have its MPI, besides the linker's
    compatibility      how close the versions must be; see ``abi.misfit``
    host_glibc         whether the host's C library may replace an older one
    """

    __slots__ = (
        "binds",
        "compatibility",
        "dependencies",
        "environment",
        "host_glibc",
        "image_directories",
        "libraries",
        "path",
        "plugins",
        "providers",
    )

    def __init__(self, path: bytes = b"", table: dict[str, object] | None = None) -> None:
        """Take the ``table`` in the file ``path``.  Raises SundogError for a mistake in it."""
        self.path = path
        table = table or {}
        lists = {name: _checked_list(path, table, name) for name in _STRING_LISTS}
        self.libraries = lists["libraries"]
        self.dependencies = lists["dependencies"]
        self.plugins = lists["plugins"]
        self.providers = lists["providers"]
        self.image_directories = lists["image_directories"]
        self.binds = [_checked_bind(path, text) for text in lists["binds"]]
        for name in ("libraries", "dependencies", "plugins", "providers", "image_directories"):
            for value in lists[name]:
                if not value.startswith(b"/"):
                    raise _mistake(path, f"{name}: {printable(value)} is not an absolute path")
        if path and not self.libraries:
            raise _mistake(path, "libraries: the profile names no library of MPI")
        compatibility = table.get("compatibility", FULL_FITS)
        if compatibility not in COMPATIBILITIES:
            raise _mistake(path, f"compatibility: one of {', '.join(COMPATIBILITIES)}")
        self.compatibility = str(compatibility)
        self.host_glibc = table.get("host_glibc", False)
        if not isinstance(self.host_glibc, bool):
            raise _mistake(path, "host_glibc: true or false")
        self.environment = _checked_variables(path, table.get("environment", {}))
        if not isinstance(table.get("description", ""), str):
            raise _mistake(path, "description: write a string")

    def files(self) -> list[bytes]:
        """Return the host's files on which the profile's meaning depends."""
        return [self.path] if self.path else []


def find_profile(name: bytes, environment: Environment, storage: int) -> HostProfile:
    """Return the profile ``name``; an empty one if ``name`` is empty and the site has no default.

    ``storage`` is for ``KeptValue``: to read TOML takes longer than the rest of such a start.
    Raises SundogError if there is no such profile, or if it is wrong.
    """
    directories = _profile_directories(environment)
    file_name = (name or _DEFAULT_PROFILE) + _PROFILE_SUFFIX
    paths = [name] if b"/" in name else [place + b"/" + file_name for place in directories]
    for path in paths:
        try:
            with open(path, "rb") as file:
                data = file.read(_PROFILE_LIMIT)
            kept = KeptValue(storage, data)
            table = kept.read()
            if isinstance(table, dict):
                return HostProfile(path, table)
            table = _parsed(path, data.decode())
            profile = HostProfile(path, table)
            kept.write(table)
            return profile
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise SundogError(f"can't read {printable(path)}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise _mistake(path, "it is not text in UTF-8") from None
    if not name:
        return HostProfile()
    if b"/" in name:
        raise SundogError(f"no such profile: {printable(name)}", _PROFILE_HINT)
    there = _known_profiles(directories)
    shown = printable(name)
    raise SundogError(
        f"no profile of the host's MPI has the name {shown}",
        f"known: {' '.join(there)}" if there else f"no profile is in {_places(directories)}",
    )


def _profile_directories(environment: Environment) -> list[bytes]:
    """Return the directories of profiles, in order: $CH_RUN_HOST_MPI_DIRS, else user and site."""
    named = environment.get(_PROFILE_DIRECTORIES)
    if named:
        return [directory for directory in named.split(b":") if directory]
    home = environment.get(b"HOME")
    own = environment.get(b"XDG_CONFIG_HOME") or (home + b"/.config" if home else b"")
    return [own + b"/" + _USER_PROFILES, _SITE_PROFILES] if own else [_SITE_PROFILES]


def _known_profiles(directories: list[bytes]) -> list[str]:
    """Return the names of all profiles."""
    found = set()
    for directory in directories:
        try:
            found |= {name for name in os.listdir(directory) if name.endswith(_PROFILE_SUFFIX)}
        except OSError:
            continue
    return [printable(name.removesuffix(_PROFILE_SUFFIX)) for name in sorted(found)]


def _places(directories: list[bytes]) -> str:
    """Name directories for a message."""
    return " or ".join(map(printable, directories))


def _mistake(path: bytes, text: str) -> SundogError:
    """Return the error for a mistake in a profile."""
    return SundogError(f"{printable(path)}: {text}", _PROFILE_HINT)


def _parsed(path: bytes, text: str) -> dict[str, object]:
    """Return the table in a profile; it has only known fields.  Raises SundogError."""
    import tomllib  # noqa: PLC0415 - it takes 14 ms, and most starts find a record

    try:
        table: dict[str, object] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _mistake(path, f"it is not TOML: {error}") from None
    for name in table:
        if name not in _PROFILE_FIELDS:
            near = nearest(name, _PROFILE_FIELDS)
            more = f"; did you mean {near}?" if near else f"; known: {' '.join(_PROFILE_FIELDS)}"
            raise _mistake(path, f"there is no field {escaped(name)}{more}")
    return table


def _checked_list(path: bytes, table: dict[str, object], name: str) -> list[bytes]:
    """Return the field ``name``, a list of strings.  Raises SundogError."""
    values = table.get(name, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _mistake(path, f"{name}: write a list of strings")
    texts = [value.encode("utf-8", "surrogateescape") for value in values]
    if any(b"\0" in text or not text for text in texts):
        raise _mistake(path, f"{name}: a path must not be empty, and must not have a NUL")
    return texts


def _checked_bind(path: bytes, text: bytes) -> tuple[bytes, bytes, bool]:
    """Return the parts of SRC[:DST[:ro|rw]].  Raises SundogError."""
    source, _, rest = text.partition(b":")
    destination, _, mode = rest.partition(b":")
    destination = destination or source
    if mode not in (b"", b"ro", b"rw") or source[:1] + destination[:1] != b"//":
        raise _mistake(path, f"binds: write /SRC, /SRC:/DST or /SRC:/DST:ro, not {printable(text)}")
    return source, destination, mode != b"ro"


def _checked_variables(path: bytes, table: object) -> list[tuple[bytes, bytes]]:
    """Return the field ``environment``, a table of strings.  Raises SundogError."""
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise _mistake(path, 'environment: write a table of strings: { NAME = "value" }')
    pairs = [(name.encode(), value.encode()) for name, value in table.items()]
    if any(not name or b"=" in name or b"\0" in name + value for name, value in pairs):
        raise _mistake(
            path, "environment: a name must not be empty or have =, and nothing may have NUL"
        )
    return pairs
