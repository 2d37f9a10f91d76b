"""A line of ``sundog apptainer exec``, ``run``, ``shell`` or ``test`` as a line of ``ch-run``.

Specification: Apptainer's user guide, "Bind Paths and Mounts" and "Persistent Overlays".
"""

from __future__ import annotations

from sundog.base.pathnames import joined
from sundog.errors import SundogError, UsageError
from sundog.front.apptainer.bound_scripts import with_bound
from sundog.front.apptainer.command import TEXT_VARIABLE, after_scripts, command_of
from sundog.front.apptainer.line import listed
from sundog.front.apptainer.shown import Choices, Shown
from sundog.front.apptainer.variables import PROMPT, environment_of
from sundog.front.ch_run_line import ChRunLine, Passed
from sundog.front.pflag_values import parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.apptainer.host import Host
    from sundog.front.apptainer.image import ImageFacts
    from sundog.front.options import Line

_GPUS = {
    "nv": ("nvidia.com/gpu", "Could not find any nv files on this host!"),
    "rocm": ("amd.com/gpu", "Could not find any rocm files on this host!"),
}

FALLBACK_VARIABLE = "SUNDOG_FALLBACK"
# ch-run would show $TMPDIR at /tmp.  The others are between its processes.
_NOT_PASSED = (
    *("TMPDIR", FALLBACK_VARIABLE, "SUNDOG_IDLE", "SUNDOG_JOIN", "SUNDOG_LIMIT", "SUNDOG_WAITER"),
)
_SCRIPT_SECONDS = 60.0
_LONGEST = 2**63 - 1  # nanoseconds


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
    seconds      the time for a shell of the image that evaluates texts before the command; 0: none
                 does
    """

    __slots__ = (
        "arguments",
        "directories",
        "environment",
        "has_init",
        "hostname",
        "namespaces",
        "notes",
        "seconds",
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
        seconds: float = 0,
    ) -> None:
        self.seconds = seconds
        self.arguments = arguments
        self.environment = environment
        self.directories = directories
        self.umask = umask
        self.namespaces = namespaces
        self.has_init = has_init
        self.hostname = hostname
        self.notes = notes
        self.warnings = warnings


def plan_of(action: str, line: Line, image: ImageFacts, host: Host) -> Plan:
    """Return the plan for a scanned line of ``action``, which has an IMAGE.

    Raises UsageError, SundogError, NothingToRun, and what ``host.read_file`` raises.
    """
    choices = Choices(line)
    notes: list[str] = []
    warnings = list(line.warnings)
    command = command_of(action, line, image, notes, is_evaluated=choices.is_evaluated)
    shown = Shown(line, choices, host, warnings)
    inside = Inside(shown.home.target, shown.workdir, shown.told)
    image = image.with_scripts(with_bound(image.scripts, shown.asked, host.read_script))
    started, seconds = command_line(
        action, line, image, host,
        inside=inside, command=command, notes=notes, warnings=warnings,
    )  # fmt: skip
    own = container_words(line, image, host, choices=choices, shown=shown, warnings=warnings)
    namespaces, hostname = namespaces_of(line, choices, warnings)
    return Plan(
        [*own, *started.arguments],
        started.environment,
        directories=shown.directories,
        umask=choices.umask,
        namespaces=namespaces,
        has_init=choices.has_init,
        hostname=hostname,
        notes=notes,
        warnings=warnings,
        seconds=seconds,
    )


class Inside:
    """The container as its command finds it.

    home     the home directory
    workdir  the directory in which the command starts
    binds    what $APPTAINER_BIND says
    """

    __slots__ = ("binds", "home", "workdir")

    def __init__(self, home: str, workdir: str, binds: str) -> None:
        self.home = home
        self.workdir = workdir
        self.binds = binds


def container_words(
    line: Line,
    image: ImageFacts,
    host: Host,
    *,
    choices: Choices,
    shown: Shown,
    warnings: list[str],
) -> list[str]:
    """Return the options of ``ch-run`` that make the container.  Raises SundogError."""
    if choices.writes and not image.is_directory:
        raise SundogError(
            "--writable: only an image that is a directory can be written to",
            "--writable-tmpfs, or make a directory of it: ch-convert IMAGE DIR",
        )
    overlays = _overlays(line, host)
    if choices.writes and overlays:
        raise SundogError("--writable: the changes can't go to --overlay, too", "leave one out")
    if choices.writes and line.is_set("writable-tmpfs"):
        warnings.append("Disabling --writable-tmpfs flag, mutually exclusive with --writable")
    return [
        *identity_words(line, choices, warnings),
        *(["--write"] if choices.writes else []),
        *(["--write-fake"] if choices.writes_nowhere and not _has_writable(overlays) else []),
        *(f"--overlay={overlay}" for overlay in overlays),
        *(["--own-dev"] if choices.contains or host.site.has_few_devices else []),
        *(["--private-tmp"] if shown.has_private_tmp else []),
        *(mount.word() for mount in shown.mounts),
        *_devices(line, host, warnings),
    ]


def command_line(
    action: str,
    line: Line,
    image: ImageFacts,
    host: Host,
    *,
    inside: Inside,
    command: Sequence[str],
    notes: list[str],
    warnings: list[str],
) -> tuple[ChRunLine, float]:
    """Return the words of ``ch-run`` for the ``command`` in its container, with the environment.

    Also returns the seconds for a shell that evaluates texts before the command; 0 without one.
    Raises UsageError, and what ``host.read_file`` raises.
    """
    choices = Choices(line)
    own = {
        "HOME": inside.home,
        "PWD": inside.workdir,
        "PS1": PROMPT,
        "PROMPT_COMMAND": f'PS1="{PROMPT}"; unset PROMPT_COMMAND',
        **_told_variables(action, image, inside.binds, is_evaluated=choices.is_evaluated),
    }
    environment = environment_of(
        line, image, host.environment, host.read_file, own,
        is_clean=choices.is_clean, is_evaluated=choices.is_evaluated,
    )  # fmt: skip
    notes += environment.notes
    warnings += environment.warnings
    passed = passed_of(host)
    texts = [text for _, text in environment.texts]
    for number, text in enumerate(texts):
        passed.hide(TEXT_VARIABLE.format(number), text)
    for name, value in environment.variables.items():
        passed.hide(name, value)
    words = [f"--cd={inside.workdir}", *passed.options, image.word, "--"]
    line_of_all = [*words, *after_scripts(command, environment)]
    seconds = _seconds(line)
    is_evaluated = environment.scripts or environment.texts
    started = ChRunLine(line_of_all, passed.environment | _fallback(line, inside))
    return started, seconds if is_evaluated else 0


def _seconds(line: Line) -> float:
    """Return the time for the scripts of variables of an image.  Raises UsageError."""
    given = line.last("runscript-timeout")
    if given is None:
        return _SCRIPT_SECONDS
    found = parse_duration(given)
    if not found or found > _LONGEST:
        raise UsageError(f"--runscript-timeout {given}: not a time", "write 90s, 10m or 1h30m")
    return found / 1e9


def _fallback(line: Line, inside: Inside) -> dict[str, str]:
    """Return the variable of ``ch-run`` for a working directory that the container lacks."""
    return {} if line.last("cwd") else {FALLBACK_VARIABLE: inside.home}


def passed_of(host: Host) -> Passed:
    """Return the environment of ``ch-run``, which gives none of its own to the command."""
    options = ["--env-no-expand", "--no-mpi-env", "--unset-env=*"]
    passed = Passed(host.environment, options, host.configured)
    for name in _NOT_PASSED:
        passed.environment.pop(name, None)
    return passed


def _told_variables(
    action: str, image: ImageFacts, binds: str, *, is_evaluated: bool
) -> dict[str, str]:
    """Return the variables by which a container knows itself, under both names."""
    told = {
        "BIND": binds,
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


def identity_words(line: Line, choices: Choices, warnings: list[str]) -> list[str]:
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


def _overlays(line: Line, host: Host) -> list[str]:
    """Return the directories of --overlay, absolute, with their modes."""
    return [joined(host.directory, field) for field in listed(line, "overlay")]


def _has_writable(overlays: Sequence[str]) -> bool:
    return any(not overlay.endswith(":ro") for overlay in overlays)


def _devices(line: Line, host: Host, warnings: list[str]) -> list[str]:
    """Return the options for devices."""
    directories = listed(line, "cdi-dirs")
    for directory in directories:
        if ":" in directory:
            raise UsageError(f"--cdi-dirs: a colon in {directory}", "give each directory by itself")
    words = [f"--cdi-dirs={':'.join(directories)}"] if directories else []
    words += [f"--device={name}" for name in listed(line, "device")]
    for switch, (kind, missing) in _GPUS.items():
        if not line.is_set(switch) or line.is_set(f"no-{switch}"):
            continue
        if host.has_devices(kind):
            words.append(f"--device={kind}=all")
        else:
            warnings.append(missing)
    return words


def namespaces_of(line: Line, choices: Choices, warnings: list[str]) -> tuple[list[str], str]:
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
