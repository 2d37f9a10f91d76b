"""The mounts of a container of Apptainer, and the directory in which its command starts.

Specification: Apptainer's user guide, "Bind Paths and Mounts".
"""

from __future__ import annotations

from sundog.base.pathnames import joined, normalized
from sundog.errors import UsageError
from sundog.front.apptainer.binds import Bind, Tmpfs, binds_of, mount_of
from sundog.front.apptainer.line import listed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.apptainer.host import Host
    from sundog.front.apptainer.site import Site
    from sundog.front.options import Line

UMASK = 0o022
VAR_TMP = "/var/tmp"
# A working directory that is one of these, or in one of those, is not shown.
UNBOUND = frozenset(
    ("/", "/etc", "/bin", "/mnt", "/usr", "/var", "/opt", "/sbin", "/lib", "/lib64")
)
UNBOUND_BELOW = ("/sys", "/proc", "/dev")
_NO_MOUNTS = ("home", "tmp", "cwd")
_NEVER_SHOWN = ("hostfs", "bind-paths", "devpts")
_ALWAYS_SHOWN = "it is shown in any case"


class Choices:
    """The switches of a line, with those that others imply."""

    def __init__(self, line: Line) -> None:
        compat = line.is_set("compat")
        self.contains_all = compat or line.is_set("containall")
        self.contains = self.contains_all or line.is_set("contain")
        self.is_clean = self.contains_all or line.is_set("cleanenv")
        self.is_evaluated = not (compat or line.is_set("no-eval"))
        self.is_root = line.is_set("fakeroot")
        self.has_init = not (compat or line.is_set("no-init"))
        self.writes = line.is_set("writable")
        self.writes_nowhere = not self.writes and (compat or line.is_set("writable-tmpfs"))
        self.umask = UMASK if compat or self.is_root or line.is_set("no-umask") else None


class Shown:
    """The mounts of a container, and the directory in which its command starts.

    home         the home directory, and its path in the container
    asked        the binds that the user has asked for
    mounts       all binds and empty directories, each over the ones before
    directories  those of the host that must be made
    """

    def __init__(self, line: Line, choices: Choices, host: Host, warnings: list[str]) -> None:
        self.directories: list[str] = []
        self._left_out = _left_out(line, host.site, warnings)
        self.home = _home(line, choices, host)
        self.asked = [
            *binds_of(listed(line, "bind", escapes=True), host.directory),
            *(
                mount_of(text, host.directory)
                for value in line.all("mount")
                for text in value.split("\n")
                if text
            ),
        ]
        workdir = line.last("workdir")
        self._workdir = joined(host.directory, workdir) if workdir else ""
        self.has_private_tmp = "tmp" in self._left_out or (choices.contains and not self._workdir)
        shown = self._contained(line) if choices.contains else self._usual(host)
        self.mounts = [*shown, *map(self._scratch, listed(line, "scratch")), *self.asked]
        home = self.home.target if self._has_home else "/"
        self.workdir = start_directory(line, host, home, contains=choices.contains)

    @property
    def told(self) -> str:
        """The binds as $APPTAINER_BIND has them."""
        return ",".join(bind.told() for bind in self.asked)

    @property
    def _has_home(self) -> bool:
        return "home" not in self._left_out

    def _usual(self, host: Host) -> list[Bind | Tmpfs]:
        shown: list[Bind | Tmpfs] = []
        if self._has_home:
            shown.append(self.home)
        if "tmp" not in self._left_out and host.exists(VAR_TMP):
            shown.append(Bind(VAR_TMP, VAR_TMP))
        if "bind-paths" not in self._left_out:
            site = binds_of(host.site.binds, "/")
            shown += [bind for bind in site if host.exists(bind.source)]
        here = host.directory
        temporary = [] if "tmp" in self._left_out else [Bind("/tmp", "/tmp")]
        is_seen = any(_lies_in(here, place) for place in _own_places([*shown, *temporary]))
        is_bound = here not in UNBOUND and not any(_lies_in(here, top) for top in UNBOUND_BELOW)
        if is_bound and not is_seen and "cwd" not in self._left_out:
            shown.append(Bind(here, here))
        return shown

    def _contained(self, line: Line) -> list[Bind | Tmpfs]:
        """Return an empty home, and empty directories for temporary files."""
        is_given = line.last("home") is not None
        shown: list[Bind | Tmpfs] = []
        if self._workdir:
            places = [("tmp", "/tmp"), ("var_tmp", VAR_TMP)]
            if self._has_home and not is_given:
                places.append(("home", self.home.target))
            shown += [self._below_workdir(name, target) for name, target in places]
            for name, top in places[:2]:
                if self._has_home and _lies_in(self.home.target, top):  # its mount point
                    self._below_workdir(name + self.home.target[len(top) :], self.home.target)
        else:
            shown.append(Tmpfs(VAR_TMP))
            if self._has_home and not is_given:
                shown.append(Tmpfs(self.home.target, "700"))
        return [*shown, self.home] if is_given and self._has_home else shown

    def _scratch(self, target: str) -> Bind | Tmpfs:
        """Return the empty directory of --scratch."""
        if not target.startswith("/") or not target.strip("/"):
            raise UsageError(f"--scratch {target}: not an absolute path", "give one, not /")
        if not self._workdir:
            return Tmpfs(target)
        return self._below_workdir(f"scratch/{target.strip('/')}", target)

    def _below_workdir(self, name: str, target: str) -> Bind:
        source = normalized(joined(self._workdir, name))
        if not _lies_in(source, normalized(self._workdir)):
            raise UsageError(f"--scratch {target}: it leads out of --workdir", "leave out ..")
        self.directories.append(source)
        return Bind(source, target)


def start_directory(line: Line, host: Host, home: str, *, contains: bool) -> str:
    """Return the directory of the container in which a command starts.

    Without --contain, it is the host's; ``ch-run`` takes the home if the container lacks that.
    Raises UsageError.
    """
    given = line.last("cwd")
    if given is not None:
        if not given.startswith("/"):
            raise UsageError(f"--cwd {given}: not an absolute path", "give one of the container")
        return normalized(given)
    return home if contains else host.directory


def _home(line: Line, choices: Choices, host: Host) -> Bind:
    """Return the home directory, and its path in the container."""
    given = line.last("home")
    if given is None:
        return Bind(host.home, "/root" if choices.is_root else host.home)
    source, colon, target = given.partition(":")
    source = normalized(joined(host.directory, source))
    target = normalized(target) if colon else source
    if not target.startswith("/") or not target.strip("/") or ":" in target:
        raise UsageError(f"--home {given}: not SRC[:DST], with an absolute DST", "--home SRC:DST")
    return Bind(source, target)


def _left_out(line: Line, site: Site, warnings: list[str]) -> set[str]:
    """Return what the container does not show of what it shows by default."""
    names = {name: f"--no-mount {name}" for name in listed(line, "no-mount")}
    names |= {name: f"the site's 'mount {name} = no'" for name in site.left_out}
    for name, asked in names.items():
        if name not in _NO_MOUNTS and name not in _NEVER_SHOWN:
            warnings.append(f"{asked} has no effect: {_ALWAYS_SHOWN}")
    return {*names, *(["home"] if line.is_set("no-home") else [])}


def _own_places(mounts: Sequence[Bind | Tmpfs]) -> list[str]:
    """Return the places of the host that mounts show at their own paths."""
    binds = [mount for mount in mounts if isinstance(mount, Bind)]
    return [bind.target for bind in binds if bind.source == bind.target]


def _lies_in(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top.rstrip('/')}/")
