"""A container of ``sundog``: its name, its process and its record."""

from __future__ import annotations

import os
import time

from sundog.base.kernel.libc import printable
from sundog.base.kernel.living_process import Process
from sundog.base.record.kept import is_container_id
from sundog.errors import SundogError
from sundog.front.podman.users import MODES, Who
from sundog.runtime.state.records import is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAME_LIMIT = 60
_PAUSE = 0.002  # seconds
_START = 30  # seconds until the container of a process must exist
NOBODY = Process(0, 0, "")  # the process of a container that does not run

RUNNING, EXITED, CREATED = "running", "exited", "created"


class Container:
    """A container.

    identity          its ID, 64 hexadecimal digits
    words             the words of ``sundog run`` that made it, without what they meant only then
    process           its process; NOBODY if it does not run
    created, started, finished
                      nanoseconds since 1970; 0: not yet, or unknown
    storage           the storage directory, absolute
    user              who its command is
    status            the exit status of a command that has ended, None if nobody saw the end
    kept              whether it stays when it has ended, with its changes
    """

    __slots__ = (
        "command",
        "created",
        "detached",
        "finished",
        "identity",
        "image",
        "kept",
        "name",
        "process",
        "started",
        "status",
        "storage",
        "user",
        "words",
        "workdir",
    )

    def __init__(
        self,
        name: str,
        image: str,
        command: list[str],
        *,
        identity: str,
        words: list[str],
        process: Process,
        created: int,
        workdir: str,
        storage: str,
        user: Who,
        detached: bool,
        kept: bool,
        started: int = 0,
        finished: int = 0,
        status: int | None = None,
    ) -> None:
        self.name = name
        self.image = image
        self.command = command
        self.identity = identity
        self.words = words
        self.process = process
        self.created = created
        self.started = started
        self.finished = finished
        self.workdir = workdir
        self.storage = storage
        self.user = user
        self.detached = detached
        self.kept = kept
        self.status = status

    def changed(self, **changes: Any) -> Container:
        """Return a copy with other values."""
        return Container(**({name: getattr(self, name) for name in self.__slots__} | changes))

    @property
    def tag(self) -> str:
        """The tag of its group for ``ch-run --join``; no other container has ever had it."""
        return f"sundog/{self.process.pid}/{self.process.start}"

    @property
    def is_running(self) -> bool:
        """Tell whether its process is alive, or its exit status is about to be written down."""
        if self.process.pid <= 0:
            return False
        is_noted = not self.detached or self.status is not None
        return self.process.lives() if is_noted else self.process.is_there()

    @property
    def state(self) -> str:
        """RUNNING, EXITED or CREATED."""
        if self.is_running:
            return RUNNING
        return EXITED if self.started else CREATED

    def wait_for_group(self) -> None:
        """Wait until the group of its tag exists, or its process has ended.

        Until then, another process with the tag would make a container of its own.  ``ch-run``
        makes the group before it enters its user namespace.  Raises SundogError if that takes too
        long.
        """
        own = os.stat("/proc/self/ns/user").st_ino
        due = time.monotonic() + _START
        while self.is_running:
            if time.monotonic() > due:
                raise SundogError(
                    f"{self.name}: its process {self.process.pid} has not started a container"
                    f" within {_START} seconds",
                    f"sundog rm --force {self.name}",
                )
            try:
                if os.stat(f"/proc/{self.process.pid}/ns/user").st_ino != own:
                    return
            except PermissionError:  # it is in the container, and does not let others look
                return
            except OSError:  # it has just ended
                pass
            time.sleep(_PAUSE)

    def to_json(self) -> dict[str, Any]:
        """Return the record."""
        process = self.process
        return {name: getattr(self, name) for name in self.__slots__} | {
            "user": self.user.words,
            "mode": self.user.mode,
            "process": process.pid,
            "start": process.start,
            "boot": process.boot,
        }


def is_container_name(text: str) -> bool:
    """Tell whether a container can have the name ``text``."""
    return is_name(text) and text[0].isalnum() and "+" not in text and len(text) <= _NAME_LIMIT


def check_name(text: str) -> None:
    """Raise SundogError if no container can have the name ``text``."""
    if not is_container_name(text):
        raise SundogError(
            f"not a name for a container: {printable(os.fsencode(text))}",
            f"letters, digits, _ . - and at most {_NAME_LIMIT} of them",
        )


def read_container(value: dict[str, Any]) -> Container:
    """Return the container of a record.  Raises ValueError, TypeError and KeyError."""
    pid, start, boot, words, mode = map(value.pop, ("process", "start", "boot", "user", "mode"))
    container = Container(**value, process=Process(pid, start, boot), user=Who(mode, words))
    status, command, line = (value[name] for name in ("status", "command", "words"))
    numbers = [pid, start, 0 if status is None else status]
    numbers += [value[name] for name in ("created", "started", "finished")]
    texts = [value[name] for name in ("name", "image", "workdir", "storage", "identity")]
    if not (
        all(type(number) is int for number in numbers)
        and isinstance(command, list)
        and isinstance(line, list)
        and all(isinstance(text, str) for text in [*texts, boot, words, *command, *line])
        and all(isinstance(value[name], bool) for name in ("detached", "kept"))
        and mode in MODES
        and pid >= 0
        and is_container_id(os.fsencode(container.identity))
    ):
        raise ValueError("not a record")
    return container
