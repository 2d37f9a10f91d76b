"""Lines of ``sundog apptainer`` about instances, as lines of ``ch-run``.

The container of an instance is a group of ``ch-run --join``.  Its first member is idle, so that the
container lasts.  The startscript, and all later commands, are other members.
"""

from __future__ import annotations

from sundog.front.apptainer.command import command_of
from sundog.front.apptainer.plan import (
    Inside,
    Plan,
    command_line,
    container_words,
    identity_words,
    namespaces_of,
    passed_of,
)
from sundog.front.apptainer.shown import Choices, Shown, start_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.apptainer.host import Host
    from sundog.front.apptainer.image import ImageFacts
    from sundog.front.apptainer.instances import Instance
    from sundog.front.options import Line

_IDLE = "idle"  # the command's name in messages; it is not executed
# Options that say what a container is.  One that is there stays as it is.
_SHAPING = (
    *("bind", "mount", "home", "no-home", "no-mount", "workdir", "scratch", "overlay"),
    *("writable", "writable-tmpfs", "fakeroot", "security", "nv", "rocm", "device", "cdi-dirs"),
    *("contain", "pid", "ipc", "uts", "hostname", "net", "network"),
)


class InstancePlan:
    """The start of an instance.

    container   the start of its first member
    identity, home, contains, binds
                as in ``instances.Instance``
    """

    __slots__ = ("binds", "container", "contains", "home", "identity")

    def __init__(
        self,
        container: Plan,
        *,
        identity: list[str],
        home: str,
        contains: bool,
        binds: str,
    ) -> None:
        self.container = container
        self.identity = identity
        self.home = home
        self.contains = contains
        self.binds = binds


def instance_plan(line: Line, image: ImageFacts, host: Host) -> InstancePlan:
    """Return the plan for the container of ``instance start``.  Raises UsageError, SundogError."""
    choices = Choices(line)
    warnings = list(line.warnings)
    shown = Shown(line, choices, host, warnings)
    identity = identity_words(line, choices, [])
    own = container_words(line, image, host, choices=choices, shown=shown, warnings=warnings)
    passed = passed_of(host)
    namespaces, hostname = namespaces_of(line, choices, warnings)
    container = Plan(
        [*own, *passed.options, image.word, "--", _IDLE],
        passed.environment,
        directories=shown.directories,
        umask=choices.umask,
        namespaces=sorted({*namespaces, "pid"}),
        has_init=True,
        hostname=hostname,
        notes=[],
        warnings=warnings,
    )
    home = shown.home.target
    return InstancePlan(
        container, identity=identity, home=home, contains=choices.contains, binds=shown.told
    )


def member_plan(
    action: str, line: Line, image: ImageFacts, host: Host, instance: Instance
) -> Plan | None:
    """Return the plan for a command in an instance; None if it has no startscript to start.

    Raises UsageError, NothingToRun, and what ``host.read_file`` raises.
    """
    choices = Choices(line)
    notes: list[str] = []
    command = command_of(action, line, image, notes, is_evaluated=choices.is_evaluated)
    if not command:
        return None
    workdir = start_directory(line, host, instance.home, contains=instance.contains)
    warnings: list[str] = []
    started, seconds = command_line(
        action, line, image, host,
        inside=Inside(instance.home, workdir, instance.binds),
        command=command, notes=notes, warnings=warnings,
    )  # fmt: skip
    return Plan(
        [*instance.identity, f"--join-tag={instance.tag}", *started.arguments],
        started.environment,
        directories=[],
        umask=choices.umask,
        namespaces=[],
        has_init=False,
        hostname="",
        notes=notes,
        warnings=warnings,
        seconds=seconds,
    )


def unused_options(line: Line) -> Sequence[str]:
    """Return warnings for the options of a line that can't change an instance which runs."""
    given = dict.fromkeys(option.name for option, _ in line.found if option.name in _SHAPING)
    return [f"--{name} has no effect: the instance runs already" for name in given]
