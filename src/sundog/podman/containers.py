"""The containers that have a name: one record for each, in the place of run-time state.

``sundog run`` becomes ``ch-run``, and that becomes the command, or stands in for it.  So a
container is a process, and its record has the ID and the start time of that process, and the ID of
the boot: together they are never used twice.  There is no daemon: each command finds out which
containers have ended.

Of a record, ``exec`` uses nothing but numbers, and what it can compare with the container: see
``exec_line``.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

from sundog.errors import SundogError
from sundog.kernel.libc import printable
from sundog.kernel.living_process import Process
from sundog.podman.users import MODES, Who
from sundog.state.place import CONTAINERS, make_private, state_place
from sundog.state.records import Record, is_name, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAME_LIMIT = 60
_LOG = "log"
_PAUSE = 0.002  # seconds
_START = 30  # seconds until the container of a process must exist


class Container:
    """A container with a name.

    process           its process
    created           seconds since 1970
    storage           the storage directory, absolute
    user              who its command is
    status            the exit status of a detached command that has ended, else None
    """

    __slots__ = (
        "command",
        "created",
        "detached",
        "image",
        "name",
        "process",
        "status",
        "storage",
        "user",
        "workdir",
    )

    def __init__(
        self,
        name: str,
        image: str,
        command: list[str],
        *,
        process: Process,
        created: int,
        workdir: str,
        storage: str,
        user: Who,
        detached: bool,
        status: int | None = None,
    ) -> None:
        self.name = name
        self.image = image
        self.command = command
        self.process = process
        self.created = created
        self.workdir = workdir
        self.storage = storage
        self.user = user
        self.detached = detached
        self.status = status

    @property
    def tag(self) -> str:
        """The tag of its group for ``ch-run --join``; no other container has ever had it."""
        return f"sundog/{self.process.pid}/{self.process.start}"

    @property
    def is_running(self) -> bool:
        """Whether its process is alive."""
        return self.process.lives()

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
            "started": process.start,
            "boot": process.boot,
        }


class Containers:
    """The containers whose records are in a directory."""

    def __init__(self, directory: str) -> None:
        """Make the directory if need be.  Raises SundogError if it is not the user's alone."""
        make_private(os.fsencode(directory))
        self.directory = directory

    def free(self, name: str) -> None:
        """Forget an old container ``name``, unless it runs or has a log.  Raises SundogError."""
        old = self.find(name)
        if old is not None and old.is_running:
            raise SundogError(
                f"a container has the name {name}", f"sundog stop {name}, or choose another --name"
            )
        if old is not None and old.detached:
            raise SundogError(f"an ended container has the name {name}", f"sundog rm {name}")
        self.remove(name)

    def claim(self, container: Container) -> None:
        """Write the record of a new container.  Raises SundogError if its name has one."""
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

    def find(self, name: str) -> Container | None:
        """Return the container ``name``, which may have ended; None if there is none."""
        try:
            found = _read(self._record(name).read())
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return found if found.name == name else None

    def get(self, name: str, *, running: bool = False) -> Container:
        """Return the container ``name``.  Raises SundogError if it is not there, or has ended."""
        found = self.find(name)
        if found is None or (not found.is_running and (running or not found.detached)):
            what = "no such container" if found is None or not found.detached else "it has ended"
            raise SundogError(
                f"{name}: {what}", "sundog ps; only containers with a --name can be found"
            )
        return found

    def list(self) -> list[Container]:
        """Return all containers, sorted by name; records of those that are over are deleted."""
        found = []
        for record in records(self.directory):
            container = self.find(record.name)
            if container is None:
                continue
            if container.is_running or container.detached:
                found.append(container)
            else:
                self.remove(record.name)
        return found

    def remove(self, name: str) -> None:
        """Delete the record of a container, if there is one, and its log."""
        with suppress(FileNotFoundError):
            self._record(name).remove()

    def make_log(self, name: str) -> int:
        """Make the file for the output of a detached container; return its descriptor.

        Raises SundogError.
        """
        try:
            return self._record(name).make_file(_LOG)
        except OSError as error:
            raise self._unwritable(error) from error

    def open_log(self, name: str) -> int:
        """Open the output of a detached container.  Raises SundogError."""
        try:
            return self._record(name).open_file(_LOG)
        except (OSError, ValueError) as error:
            raise SundogError(f"{name}: can't read its output: {error}") from error

    def _record(self, name: str) -> Record:
        check_name(name)
        return Record(self.directory, name)

    def _unwritable(self, error: OSError) -> SundogError:
        shown = printable(os.fsencode(self.directory))
        return SundogError(f"can't write to {shown}: {error.strerror}")


def own_containers() -> Containers:
    """Return the containers of this user on this machine.  Raises SundogError."""
    return Containers(os.fsdecode(state_place(os.environb, CONTAINERS, make=True)))


def check_name(text: str) -> None:
    """Raise SundogError if no container can have the name ``text``."""
    if not (is_name(text) and text[0].isalnum() and "+" not in text and len(text) <= _NAME_LIMIT):
        raise SundogError(
            f"not a name for a container: {printable(os.fsencode(text))}",
            f"letters, digits, _ . - and at most {_NAME_LIMIT} of them",
        )


def _read(value: dict[str, Any]) -> Container:
    """Return the container of a record.  Raises ValueError, TypeError and KeyError."""
    pid, start, boot, words, mode = map(value.pop, ("process", "started", "boot", "user", "mode"))
    container = Container(**value, process=Process(pid, start, boot), user=Who(mode, words))
    status, command, detached = (value[name] for name in ("status", "command", "detached"))
    numbers = [pid, start, value["created"], 0 if status is None else status]
    texts = [*(value[name] for name in ("name", "image", "workdir", "storage")), boot, words]
    if not (
        all(type(number) is int for number in numbers)
        and isinstance(command, list)
        and all(isinstance(text, str) for text in [*texts, *command])
        and isinstance(detached, bool)
        and mode in MODES
        and pid > 0
    ):
        raise ValueError("not a record")
    return container
