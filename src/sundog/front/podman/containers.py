"""The containers of ``sundog``: those that run, and those that are kept.

``sundog run`` becomes ``ch-run``, and that becomes the command, or stands in for it.  So a
container is a process, and its record has the ID and the start time of that process, and the ID of
the boot: together they are never used twice.  There is no daemon: each command finds out which
containers have ended.

A container with a process has a record in the place of run-time state, under its name.  A container
that is kept has a record without a process, too: see ``podman.kept``.  Of a record, ``exec`` uses
nothing but numbers, and what it can compare with the container: see ``exec_line``.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

from sundog.base.kernel.libc import printable
from sundog.base.kernel.living_process import Process
from sundog.base.record.kept import CONTAINER_ID_LENGTH, is_container_id
from sundog.errors import SundogError
from sundog.front.podman.users import MODES, Who
from sundog.runtime.state.place import make_private
from sundog.runtime.state.records import Record, is_name, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sundog.front.podman.kept import Kept

_NAME_LIMIT = 60
_SHORTEST_ID = 4
_LOG = "log"
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
        """Tell whether its process is alive."""
        return self.process.pid > 0 and self.process.lives()

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


class Containers:
    """The containers whose records are in a directory, and those of a storage that are ``kept``."""

    def __init__(self, directory: str, kept: Kept) -> None:
        """Make the directory if need be.  Raises SundogError if it is not the user's alone."""
        make_private(os.fsencode(directory))
        self.directory = directory
        self.kept = kept

    def free(self, name: str) -> None:
        """Forget an old container ``name``, unless it runs or stays.  Raises SundogError."""
        old = self.named(name)
        if old is not None and old.is_running:
            raise SundogError(
                f"a container has the name {name}", f"sundog stop {name}, or choose another --name"
            )
        if old is not None:
            raise SundogError(f"an ended container has the name {name}", f"sundog rm {name}")
        self.remove(name)

    def claim(self, container: Container) -> None:
        """Write the record of a container that starts.  Raises SundogError if its name has one."""
        try:
            self._record(container.name).claim(container.to_json())
        except FileExistsError:
            raise SundogError(f"a container has the name {container.name}", "sundog ps") from None
        except OSError as error:
            raise self._unwritable(error) from error

    def update(self, container: Container) -> None:
        """Write the record of a container in place of an older one.  Raises SundogError."""
        try:
            self._record(container.name).write(container.to_json())
        except OSError as error:
            raise self._unwritable(error) from error

    def named(self, name: str) -> Container | None:
        """Return the container ``name``, which may have ended; None if there is none."""
        found = self.recorded(name)
        if found is not None and (found.is_running or (found.detached and not found.kept)):
            return found
        return self.kept.named(name)

    def recorded(self, name: str) -> Container | None:
        """Return what the record of a process says under a name; the process may have ended."""
        return _found(self._record(name))

    def find(self, text: str) -> Container | None:
        """Return the container with a name, or with an ID or its beginning; None if none has it.

        Raises SundogError if several have it.
        """
        if is_container_name(text):
            found = self.named(text)
            if found is not None:
                return found
        if not _SHORTEST_ID <= len(text) <= CONTAINER_ID_LENGTH:
            check_name(text)
            return None
        several = [each for each in self.list() if each.identity.startswith(text)]
        if len(several) > 1:
            raise SundogError(f"{text}: several containers have such an ID", "sundog ps --no-trunc")
        if not several:
            check_name(text)
        return several[0] if several else None

    def get(self, text: str, *, running: bool = False) -> Container:
        """Return the container ``text``.  Raises SundogError if it is not there, or has ended."""
        found = self.find(text)
        if found is None:
            raise SundogError(f"{text}: no such container", "sundog ps -a")
        if running and not found.is_running:
            what = "it has ended" if found.started else "it has not started"
            raise SundogError(f"{text}: {what}", f"sundog start {text}" if found.kept else "")
        return found

    def list(self) -> list[Container]:
        """Return all containers, the oldest first; records of those that are over are deleted."""
        found: dict[str, Container] = {}
        for record in records(self.directory):
            container = _found(record)
            if container is None:
                continue
            if container.is_running or (container.detached and not container.kept):
                found[container.identity] = container
            else:
                self.remove(record.name)
        for container in self.kept.list():
            found.setdefault(container.identity, container)
        return sorted(found.values(), key=lambda container: (container.created, container.name))

    def remove(self, name: str) -> None:
        """Delete the record of a container's process, if there is one, and its log."""
        with suppress(FileNotFoundError):
            self._record(name).remove()

    def make_log(self, container: Container) -> int:
        """Make the file for the output of a detached container; return its descriptor.

        Raises SundogError.
        """
        try:
            if container.kept:
                return self.kept.open_log(container.identity)
            return self._record(container.name).make_file(_LOG)
        except OSError as error:
            raise self._unwritable(error) from error

    def append_log(self, container: Container) -> int:
        """Open the file that ``make_log`` has made, for more output.  Raises SundogError."""
        try:
            if container.kept:
                return self.kept.open_log(container.identity)
            path = os.path.join(self._record(container.name).path, _LOG)
            return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise self._unwritable(error) from error

    def open_log(self, container: Container) -> int:
        """Open the output of a detached container.  Raises SundogError."""
        try:
            if container.kept:
                return self.kept.record(container.identity).open_file(_LOG)
            return self._record(container.name).open_file(_LOG)
        except (OSError, ValueError) as error:
            raise SundogError(f"{container.name}: can't read its output: {error}") from error

    def _record(self, name: str) -> Record:
        check_name(name)
        return Record(self.directory, name)

    def _unwritable(self, error: OSError) -> SundogError:
        shown = printable(os.fsencode(self.directory))
        return SundogError(f"can't write to {shown}: {error.strerror}")


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


def _found(record: Record) -> Container | None:
    """Return the container of a process's record; None if it is damaged, or not there."""
    try:
        container = read_container(record.read())
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return container if container.name == record.name and container.process.pid > 0 else None


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
