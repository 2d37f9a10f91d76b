"""A container in podman's words, for ``ps`` and ``inspect``.

Specification: podman-ps(1), podman-inspect(1), and what podman 5.4 prints.
"""

from __future__ import annotations

import time
from contextlib import suppress

from sundog.errors import UsageError
from sundog.front.podman.container import CREATED, RUNNING
from sundog.front.podman.kept_words import kept_line
from sundog.front.podman.stopping import STOP_SECONDS, whole_number
from sundog.front.podman.template_values import Moment, Structure
from sundog.front.podman.times import SECOND, age, decimal_size
from sundog.front.podman.volumes import Volume, mount_value, volume
from sundog.runtime.container.search_path import ENGINE_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from sundog.front.podman.container import Container

ID_LENGTH = 12
_COMMAND_LENGTH = 20  # characters of a command in a table, with the dots
_DOTS = "..."
UNKNOWN_STATUS = -1  # the exit status of a command whose end nobody saw
HEADINGS = Structure(
    ID="CONTAINER ID",
    Id="CONTAINER ID",
    Names="NAMES",
    Image="IMAGE",
    ImageID="IMAGE ID",
    Command="COMMAND",
    Created="CREATED",
    CreatedAt="CREATED AT",
    CreatedHuman="CREATED",
    RunningFor="CREATED",
    Status="STATUS",
    State="STATE",
    Exited="EXITED",
    ExitedAt="EXITED AT",
    ExitCode="EXIT CODE",
    StartedAt="STARTED AT",
    Pid="PID",
    Ports="PORTS",
    Networks="NETWORKS",
    Labels="LABELS",
    Mounts="MOUNTS",
    Size="SIZE",
)


class View:
    """A container, its line, and the configuration of its image.

    ``config`` is ``config`` of the image's configuration, as ``stored.image_config`` returns it.
    """

    def __init__(self, container: Container, config: Mapping[str, Any]) -> None:
        """Read the line.  Raises UsageError if it is from another version of Sundog."""
        self.container = container
        self.line = kept_line(container.words)
        self._config = config

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the image, and those of the line."""
        found = dict(self._config.get("Labels", {}))
        for text in self.line.all("label"):
            name, _, value = text.partition("=")
            found[name] = value
        return found

    @property
    def environment(self) -> list[str]:
        """The variables that the image and the line set."""
        found = {"PATH": ENGINE_PATH}
        for text in [*self._config.get("Env", ()), *self.line.all("env")]:
            name, _, value = text.partition("=")
            found[name] = value
        return [f"{name}={value}" for name, value in found.items()]

    @property
    def entrypoint(self) -> list[str]:
        """The words before the command."""
        from sundog.front.podman.run_line import entrypoint_words

        given = self.line.last("entrypoint")
        image = [*self._config.get("Entrypoint", ())]
        return image if given is None else entrypoint_words(given)

    @property
    def command(self) -> list[str]:
        """The words of the line, else the image's CMD."""
        replaced = self.line.last("entrypoint") is not None
        image = [] if replaced else [*self._config.get("Cmd", ())]
        return self.container.command or image

    @property
    def stop_signal(self) -> str:
        """The signal that ends it, as the line or the image says it; "" for the default."""
        return self.line.last("stop-signal") or self._config.get("StopSignal", "")

    @property
    def stop_timeout(self) -> int:
        """The seconds between that signal and SIGKILL.  Raises UsageError."""
        given = whole_number(self.line.last("stop-timeout"), "--stop-timeout")
        return STOP_SECONDS if given is None else given

    @property
    def mounts(self) -> list[Structure]:
        """The files and directories of the host that it sees; without those that are gone."""
        found = []
        for option, read in (("volume", volume), ("mount", mount_value)):
            for text in self.line.all(option):
                with suppress(UsageError):
                    shown = read(text)
                    if isinstance(shown, Volume):
                        found.append(_bind(shown))
        return found

    @property
    def exit_code(self) -> int:
        """The exit status; 0 for a container that has not ended, -1 if nobody saw the end."""
        if self.container.state == RUNNING or not self.container.started:
            return 0
        return UNKNOWN_STATUS if self.container.status is None else self.container.status

    def status(self, now: int) -> str:
        """Return the state and its age in words; ``now`` is in nanoseconds."""
        container = self.container
        if container.state == CREATED:
            return "Created"
        if container.state == RUNNING:
            return f"Up {age((now - container.started) / SECOND)}"
        if container.status is None:
            return "Exited (unknown)"
        return f"Exited ({container.status}) {age((now - container.finished) / SECOND)} ago"

    def row(
        self, *, whole: bool, image_id: str = "", size: tuple[int, int] | None = None
    ) -> Structure:
        """Return the fields of a row of ``ps``; with ``whole`` IDs and commands are not cut."""
        container, now = self.container, time.time_ns()
        command = " ".join(self.command)
        if len(command) > _COMMAND_LENGTH and not whole:
            command = command[: _COMMAND_LENGTH - len(_DOTS)] + _DOTS
        created = f"{age((now - container.created) / SECOND)} ago"
        identity = container.identity
        return Structure(
            ID=identity if whole else identity[:ID_LENGTH],
            Id=identity,
            Names=container.name,
            Image=container.image,
            ImageID=image_id if whole else image_id[:ID_LENGTH],
            Command=command,
            Created=Moment(container.created),
            CreatedAt=Moment(container.created),
            CreatedHuman=created,
            RunningFor=created,
            Status=self.status(now),
            State=container.state,
            Exited=container.state not in (RUNNING, CREATED),
            ExitedAt=container.finished // SECOND,
            ExitCode=self.exit_code,
            StartedAt=container.started // SECOND,
            Pid=container.process.pid if container.is_running else 0,
            Ports="",
            Networks="",
            Labels=self.labels,
            Mounts=[mount["Destination"] for mount in self.mounts],
            Size="" if size is None else _sizes(*size),
        )

    def entry(self, size: tuple[int, int] | None = None) -> Structure:
        """Return what ``ps --format json`` prints."""
        container, now = self.container, time.time_ns()
        sizes = None if size is None else Structure(rwSize=size[0], rootFsSize=size[1])
        return Structure(
            AutoRemove=not container.kept,
            Command=self.command,
            CreatedAt=f"{age((now - container.created) / SECOND)} ago",
            Exited=container.state not in (RUNNING, CREATED),
            ExitedAt=container.finished // SECOND,
            ExitCode=self.exit_code,
            Id=container.identity,
            Image=container.image,
            Labels=self.labels,
            Mounts=[mount["Destination"] for mount in self.mounts],
            Names=[container.name],
            Pid=container.process.pid if container.is_running else 0,
            Ports=None,
            Size=sizes,
            StartedAt=container.started // SECOND,
            State=container.state,
            Status=self.status(now),
            Created=container.created // SECOND,
        )

    def structure(
        self, *, image_id: str, upper: str = "", size: tuple[int, int] | None = None
    ) -> Structure:
        """Return what ``inspect`` prints; ``upper`` is the directory with the changes, or ""."""
        container, line = self.container, self.line
        words = [*self.entrypoint, *self.command]
        is_running = container.state == RUNNING
        more = {} if size is None else {"SizeRw": size[0], "SizeRootFs": size[1]}
        return Structure(
            Id=container.identity,
            Created=Moment(container.created),
            Path=words[0] if words else "",
            Args=words[1:],
            State=Structure(
                Status=container.state,
                Running=is_running,
                Paused=False,
                Restarting=False,
                OOMKilled=False,
                Dead=False,
                Pid=container.process.pid if is_running else 0,
                ExitCode=self.exit_code,
                Error="",
                StartedAt=Moment(container.started) if container.started else Moment(),
                FinishedAt=Moment(container.finished) if container.finished else Moment(),
                Health=None,
            ),
            Image=image_id,
            ImageName=container.image,
            Rootfs="",
            Name=container.name,
            RestartCount=0,
            Driver="overlay",
            Mounts=self.mounts,
            GraphDriver=Structure(Name="overlay", Data={"UpperDir": upper} if upper else None),
            NetworkSettings=Structure(IPAddress="", Ports={}, Networks={}),
            Config=Structure(
                Hostname="",
                User=line.last("user") or self._config.get("User", ""),
                Tty=line.is_set("tty"),
                OpenStdin=line.is_set("interactive"),
                Env=self.environment,
                Cmd=self.command,
                Image=container.image,
                Volumes=None,
                WorkingDir=container.workdir or "/",
                Entrypoint=self.entrypoint,
                OnBuild=None,
                Labels=self.labels,
                StopSignal=self.stop_signal or "SIGTERM",
                StopTimeout=self.stop_timeout,
            ),
            HostConfig=Structure(
                Binds=[
                    f"{mount['Source']}:{mount['Destination']}:{'rw' if mount['RW'] else 'ro'}"
                    for mount in self.mounts
                ],
                NetworkMode="host",
                AutoRemove=not container.kept,
                ReadonlyRootfs=line.is_set("read-only"),
                Privileged=False,
                RestartPolicy=Structure(Name="no", MaximumRetryCount=0),
            ),
            **more,
        )


def _bind(shown: Volume) -> Structure:
    return Structure(
        Type="bind",
        Source=shown.source,
        Destination=shown.target,
        Driver="",
        Mode="",
        Options=["rbind"],
        RW=shown.writable is not False,
        Propagation="rprivate",
    )


def _sizes(changed: int, everything: int) -> str:
    return f"{decimal_size(changed, 4)} (virtual {decimal_size(everything, 3)})"
