"""A line of ``sundog apptainer exec``, ``run``, ``shell`` or ``test`` as a line of ``ch-run``.

Specification: Apptainer's user guide, "Bind Paths and Mounts" and "Persistent Overlays".
"""

from __future__ import annotations

import posixpath

from sundog.errors import SundogError, UsageError
from sundog.front.apptainer.binds import Bind, Tmpfs, binds_of, mount_of
from sundog.front.apptainer.command import TEXT_VARIABLE, after_scripts, command_of
from sundog.front.apptainer.line import listed
from sundog.front.apptainer.variables import PROMPT, environment_of
from sundog.front.ch_run_line import Passed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sundog.front.apptainer.image import ImageFacts
    from sundog.front.apptainer.site import Site
    from sundog.front.options import Line

UMASK = 0o022
_VAR_TMP = "/var/tmp"
# A working directory that is one of these, or in one of those, is not shown.
_UNBOUND = frozenset(
    ("/", "/etc", "/bin", "/mnt", "/usr", "/var", "/opt", "/sbin", "/lib", "/lib64")
)
_UNBOUND_BELOW = ("/sys", "/proc", "/dev")
_GPUS = {
    "nv": ("nvidia.com/gpu", "Could not find any nv files on this host!"),
    "rocm": ("amd.com/gpu", "Could not find any rocm files on this host!"),
}
_NO_MOUNTS = ("home", "tmp", "cwd")
_NEVER_SHOWN = ("hostfs", "bind-paths", "devpts")
_ALWAYS_SHOWN = "it is shown in any case"


class Host:
    """The facts of this process and of this machine.

    directory    the working directory
    home         the home directory
    exists       tells whether a path of the host exists
    has_devices  tells whether there are devices of a kind, by a CDI specification
    site         the settings of the site
    """

    __slots__ = ("directory", "environment", "exists", "has_devices", "home", "read_file", "site")

    def __init__(
        self,
        environment: Mapping[str, str],
        directory: str,
        home: str,
        *,
        exists: Callable[[str], bool],
        has_devices: Callable[[str], bool],
        read_file: Callable[[str], str],
        site: Site,
    ) -> None:
        self.environment = environment
        self.site = site
        self.directory = directory
        self.home = home
        self.exists = exists
        self.has_devices = has_devices
        self.read_file = read_file


class Plan:
    """A start of ``ch-run``, and what must be done before it.

    arguments, environment
                 of ``ch-run``
    directories  those that must be made
    umask        that of the command; None: that of this process
    namespaces   names of what the container has for itself: ipc, net, pid, uts
    has_init     whether PID 1 of its PID namespace is another process than the command
    hostname     the name of the machine, "" for the host's
    notes, warnings
                 lines of INFO and WARNING
    """

    __slots__ = (
        "arguments",
        "directories",
        "environment",
        "has_init",
        "hostname",
        "namespaces",
        "notes",
        "umask",
        "warnings",
    )

    def __init__(
        self,
        arguments: list[str],
        environment: dict[str, str],
        *,
        directories: list[str],
        umask: int | None,
        namespaces: list[str],
        has_init: bool,
        hostname: str,
        notes: list[str],
        warnings: list[str],
    ) -> None:
        self.arguments = arguments
        self.environment = environment
        self.directories = directories
        self.umask = umask
        self.namespaces = namespaces
        self.has_init = has_init
        self.hostname = hostname
        self.notes = notes
        self.warnings = warnings


class _Choices:
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


def plan_of(action: str, line: Line, image: ImageFacts, host: Host) -> Plan:
    """Return the plan for a scanned line of ``action``, which has an IMAGE.

    Raises UsageError, SundogError, NothingToRun, and what ``host.read_file`` raises.
    """
    choices = _Choices(line)
    notes: list[str] = []
    warnings = list(line.warnings)
    command = command_of(action, line, image, notes, is_evaluated=choices.is_evaluated)
    if choices.writes and not image.is_directory:
        raise SundogError(
            "--writable: only an image that is a directory can be written to",
            "--writable-tmpfs, or make a directory of it: ch-convert IMAGE DIR",
        )
    if choices.writes and line.is_set("writable-tmpfs"):
        warnings.append("Disabling --writable-tmpfs flag, mutually exclusive with --writable")
    shown = _Shown(line, choices, host, warnings)
    own = {
        "HOME": shown.home.target,
        "PWD": shown.workdir,
        "PS1": PROMPT,
        "PROMPT_COMMAND": f'PS1="{PROMPT}"; unset PROMPT_COMMAND',
        **_told_variables(action, image, shown.asked, is_evaluated=choices.is_evaluated),
    }
    environment = environment_of(
        line, image, host.environment, host.read_file, own,
        is_clean=choices.is_clean, is_evaluated=choices.is_evaluated,
    )  # fmt: skip
    passed = Passed(host.environment, ["--env-no-expand", "--no-mpi-env", "--unset-env=*"])
    passed.environment.pop("TMPDIR", None)  # ch-run would show it at /tmp
    texts = [text for _, text in environment.texts]
    for number, text in enumerate(texts):
        passed.hide(TEXT_VARIABLE.format(number), text)
    for name, value in environment.variables.items():
        passed.hide(name, value)
    namespaces, hostname = _namespaces(line, choices, warnings)
    arguments = [
        *_identity(line, choices, warnings),
        *(["--write"] if choices.writes else []),
        *(["--write-fake"] if choices.writes_nowhere else []),
        *(["--private-tmp"] if shown.has_private_tmp else []),
        *(mount.word() for mount in shown.mounts),
        *_devices(line, host, warnings),
        f"--cd={shown.workdir}",
        *passed.options,
        image.word,
        "--",
        *after_scripts(command, environment),
    ]
    return Plan(
        arguments,
        passed.environment,
        directories=shown.directories,
        umask=choices.umask,
        namespaces=namespaces,
        has_init=choices.has_init,
        hostname=hostname,
        notes=[*notes, *environment.notes],
        warnings=[*warnings, *environment.warnings],
    )


class _Shown:
    """The mounts of a container, and the directory in which its command starts.

    home         the home directory, and its path in the container
    asked        the binds that the user has asked for
    mounts       all binds and empty directories, each over the ones before
    directories  those of the host that must be made
    """

    def __init__(self, line: Line, choices: _Choices, host: Host, warnings: list[str]) -> None:
        self.directories: list[str] = []
        self._left_out = _left_out(line, warnings) | {*host.site.left_out}
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
        self._workdir = posixpath.join(host.directory, workdir) if workdir else ""
        self.has_private_tmp = "tmp" in self._left_out or (choices.contains and not self._workdir)
        shown = self._contained(line) if choices.contains else self._usual(host)
        self.mounts = [*shown, *map(self._scratch, listed(line, "scratch")), *self.asked]
        self.workdir = self._directory(line, choices, host)

    @property
    def has_home(self) -> bool:
        return "home" not in self._left_out

    def _usual(self, host: Host) -> list[Bind | Tmpfs]:
        shown: list[Bind | Tmpfs] = []
        if self.has_home:
            shown.append(self.home)
        if "tmp" not in self._left_out and host.exists(_VAR_TMP):
            shown.append(Bind(_VAR_TMP, _VAR_TMP))
        if "bind-paths" not in self._left_out:
            site = binds_of(host.site.binds, "/")
            shown += [bind for bind in site if host.exists(bind.source)]
        here = host.directory
        places = [mount for mount in shown if isinstance(mount, Bind)]
        places += [] if "tmp" in self._left_out else [Bind("/tmp", "/tmp")]
        is_seen = any(bind.source == bind.target and _lies_in(here, bind.target) for bind in places)
        is_bound = here not in _UNBOUND and not any(_lies_in(here, top) for top in _UNBOUND_BELOW)
        if is_bound and not is_seen and "cwd" not in self._left_out:
            shown.append(Bind(here, here))
        return shown

    def _contained(self, line: Line) -> list[Bind | Tmpfs]:
        """Return an empty home, and empty directories for temporary files."""
        is_given = line.last("home") is not None
        shown: list[Bind | Tmpfs] = [Tmpfs("/dev/shm")]
        if self._workdir:
            places = [("tmp", "/tmp"), ("var_tmp", _VAR_TMP)]
            if self.has_home and not is_given:
                places.append(("home", self.home.target))
            shown += [self._below_workdir(name, target) for name, target in places]
        else:
            shown.append(Tmpfs(_VAR_TMP))
            if self.has_home and not is_given:
                shown.append(Tmpfs(self.home.target, "700"))
        return [*shown, self.home] if is_given and self.has_home else shown

    def _scratch(self, target: str) -> Bind | Tmpfs:
        """Return the empty directory of --scratch."""
        if not target.startswith("/") or not target.strip("/"):
            raise UsageError(f"--scratch {target}: not an absolute path", "give one, not /")
        if not self._workdir:
            return Tmpfs(target)
        return self._below_workdir(f"scratch/{target.strip('/')}", target)

    def _below_workdir(self, name: str, target: str) -> Bind:
        source = posixpath.normpath(posixpath.join(self._workdir, name))
        if not _lies_in(source, posixpath.normpath(self._workdir)):
            raise UsageError(f"--scratch {target}: it leads out of --workdir", "leave out ..")
        self.directories.append(source)
        return Bind(source, target)

    def _directory(self, line: Line, choices: _Choices, host: Host) -> str:
        given = line.last("cwd")
        if given is not None:
            if not given.startswith("/"):
                raise UsageError(
                    f"--cwd {given}: not an absolute path", "give one of the container"
                )
            return posixpath.normpath(given)
        here = host.directory
        is_there = here in _UNBOUND or any(_lies_in(here, top) for top in _UNBOUND_BELOW)
        seen = [*self.mounts, *([] if self.has_private_tmp else [Bind("/tmp", "/tmp")])]
        if not choices.contains:
            binds = [mount for mount in seen if isinstance(mount, Bind)]
            if is_there or any(
                bind.source == bind.target and _lies_in(here, bind.target) for bind in binds
            ):
                return here
        return self.home.target if self.has_home else "/"


def _home(line: Line, choices: _Choices, host: Host) -> Bind:
    """Return the home directory, and its path in the container."""
    given = line.last("home")
    if given is None:
        return Bind(host.home, "/root" if choices.is_root else host.home)
    source, colon, target = given.partition(":")
    source = posixpath.normpath(posixpath.join(host.directory, source))
    target = target if colon else source
    if not target.startswith("/") or not target.strip("/") or ":" in target:
        raise UsageError(f"--home {given}: not SRC[:DST], with an absolute DST", "--home SRC:DST")
    return Bind(source, posixpath.normpath(target))


def _left_out(line: Line, warnings: list[str]) -> set[str]:
    """Return what the container does not show of what it shows by default."""
    names = listed(line, "no-mount")
    if line.is_set("no-home"):
        names.append("home")
    for name in names:
        if name not in _NO_MOUNTS and name not in _NEVER_SHOWN:
            warnings.append(f"--no-mount {name} has no effect: {_ALWAYS_SHOWN}")
    return set(names)


def _told_variables(
    action: str, image: ImageFacts, binds: list[Bind], *, is_evaluated: bool
) -> dict[str, str]:
    """Return the variables by which a container knows itself, under both names."""
    told = {
        "BIND": ",".join(bind.told() for bind in binds),
        "COMMAND": action,
        "CONTAINER": image.container,
        "ENVIRONMENT": "/.singularity.d/env/91-environment.sh",
        "NAME": image.container.rpartition("/")[2],
        **({} if is_evaluated else {"NO_EVAL": "1"}),
    }
    return {
        f"{start}_{name}": value
        for name, value in told.items()
        for start in ("APPTAINER", "SINGULARITY")
    }


def _identity(line: Line, choices: _Choices, warnings: list[str]) -> list[str]:
    """Return the options for the user of the command."""
    ids = {"uid": "", "gid": ""}
    for text in listed(line, "security"):
        name, _, value = text.partition(":")
        if name not in ids:
            warnings.append(f"--security {text} has no effect: the container has your own rights")
        elif not (value.isascii() and value.isdigit()):
            raise UsageError(f"--security {text}: not a number", f"--security {name}:NUMBER")
        else:
            ids[name] = value
    if choices.is_root:
        ids = {name: value or "0" for name, value in ids.items()}
    words = [f"--{name}={value}" for name, value in ids.items() if value]
    return [*(["--notify"] if choices.is_root else []), *words]


def _devices(line: Line, host: Host, warnings: list[str]) -> list[str]:
    """Return the options for devices."""
    directories = listed(line, "cdi-dirs")
    words = [f"--cdi-dirs={':'.join(directories)}"] if directories else []
    words += [f"--device={name}" for name in listed(line, "device")]
    for switch, (kind, missing) in _GPUS.items():
        if not line.is_set(switch):
            continue
        if host.has_devices(kind):
            words.append(f"--device={kind}=all")
        else:
            warnings.append(missing)
    return words


def _namespaces(line: Line, choices: _Choices, warnings: list[str]) -> tuple[list[str], str]:
    """Return the names of what the container has for itself, and its name of the machine."""
    names = []
    if choices.contains_all or line.is_set("ipc"):
        names.append("ipc")
    if (choices.contains_all and not line.is_set("no-pid")) or line.is_set("pid"):
        names.append("pid")
    network = line.last("network")
    if line.is_set("net"):
        if network != "none":
            raise SundogError(
                f"--net: a network {network or 'bridge'} needs rights of root",
                "--net --network none, or leave out --net",
            )
        names.append("net")
    elif network is not None:
        warnings.append(f"--network {network} has no effect: --net is not given")
    hostname = line.last("hostname") or ""
    if hostname or line.is_set("uts"):
        names.append("uts")
    return names, hostname


def _lies_in(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top.rstrip('/')}/")
