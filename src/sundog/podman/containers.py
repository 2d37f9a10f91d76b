"""The containers that have a name: one record for each, in the user's run-time directory.

``sundog run`` becomes ``ch-run``, and that becomes the command, or stands in for it.  So a
container is a process, and its record has the ID and the start time of that process, and the ID of
the boot: together they are never used twice.  A record is a JSON file, complete when it gets its
name.  There is no daemon: each command finds out which containers have ended.

The directory is ``$XDG_RUNTIME_DIR/sundog``, else ``/tmp/sundog-UID``.  It belongs to the machine,
as its processes do, and only the user can enter it.
"""

from __future__ import annotations

import json
import os
import stat
import time
from contextlib import suppress

from sundog.errors import SundogError
from sundog.kernel.libc import printable
from sundog.kernel.living_process import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_NAME_LIMIT = 60
_RECORD_LIMIT = 1 << 20
_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_RECORD, _LOG = ".json", ".log"
_PAUSE = 0.002  # seconds


class Container:
    """A container with a name.

    process           its process
    created           seconds since 1970
    storage           the storage directory, absolute
    user              the options of ``ch-run`` that say who its command is
    emulated          whether a supervisor emulates users
    status            the exit status of a detached command that has ended, else None
    """

    __slots__ = (
        "command",
        "created",
        "detached",
        "emulated",
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
        user: list[str],
        emulated: bool,
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
        self.emulated = emulated
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
        makes the group before it enters its user namespace.
        """
        own = os.stat("/proc/self/ns/user").st_ino
        while self.is_running:
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
            "process": process.pid,
            "started": process.start,
            "boot": process.boot,
        }


class Containers:
    """The records in a directory."""

    def __init__(self, directory: str) -> None:
        """Make the directory if need be.  Raises SundogError if it is not the user's alone."""
        self.directory = directory
        try:
            os.makedirs(directory, 0o700, exist_ok=True)
            found = os.lstat(directory)
        except OSError as error:
            raise SundogError(f"can't use {directory}: {error.strerror}") from error
        is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
        if not is_own or found.st_mode & 0o022:
            raise SundogError(
                f"{directory}: not a directory that is yours alone", "set $XDG_RUNTIME_DIR"
            )

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
        self._write(container, os.link)

    def update(self, container: Container) -> None:
        """Write the record of a container in place of an older one."""
        self._write(container, os.rename)

    def _write(self, container: Container, put: Callable[[str, str], None]) -> None:
        """Write a complete record, and ``put`` it in place."""
        path = self._place(container.name, _RECORD)
        draft = f"{path}.{os.getpid()}"
        try:
            with open(draft, "x", encoding="utf-8", errors="surrogateescape") as file:
                json.dump(container.to_json(), file, ensure_ascii=True)
            try:
                put(draft, path)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(draft)
        except FileExistsError:
            raise SundogError(f"a container has the name {container.name}", "sundog ps") from None
        except OSError as error:
            raise SundogError(f"can't write {path}: {error.strerror}") from error

    def find(self, name: str) -> Container | None:
        """Return the container ``name``, which may have ended; None if there is none."""
        check_name(name)
        try:
            with open(self._place(name, _RECORD), "rb") as file:
                return _read(json.loads(file.read(_RECORD_LIMIT)))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

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
        for file in sorted(os.listdir(self.directory)):
            name = file.removesuffix(_RECORD)
            container = self.find(name) if name != file and is_name(name) else None
            if container is None:
                continue
            if container.is_running or container.detached:
                found.append(container)
            else:
                self.remove(name)
        return found

    def remove(self, name: str) -> None:
        """Delete the record of a container, if there is one, and its log."""
        for suffix in (_RECORD, _LOG):
            try:
                os.unlink(self._place(name, suffix))
            except FileNotFoundError:
                continue

    def log(self, name: str) -> str:
        """Return the path of the output of a detached container."""
        return self._place(name, _LOG)

    def _place(self, name: str, suffix: str) -> str:
        return os.path.join(self.directory, name + suffix)


def run_time_directory(environment: Mapping[str, str]) -> str:
    """Return the directory of the records."""
    place = environment.get("XDG_RUNTIME_DIR", "")
    if place.startswith("/") and os.path.isdir(place) and os.access(place, os.W_OK):
        return os.path.join(place, "sundog")
    return f"/tmp/sundog-{os.geteuid()}"


def is_name(text: str) -> bool:
    """Tell whether a container can have the name ``text``."""
    return text[:1].isalnum() and len(text) <= _NAME_LIMIT and _CHARACTERS.issuperset(text)


def check_name(text: str) -> None:
    """Raise SundogError if no container can have the name ``text``."""
    if not is_name(text):
        raise SundogError(
            f"not a name for a container: {printable(os.fsencode(text))}",
            f"letters, digits, _ . - and at most {_NAME_LIMIT} of them",
        )


def _read(value: Any) -> Container:
    pid, start, boot = (value.pop(name) for name in ("process", "started", "boot"))
    container = Container(**value, process=Process(pid, start, boot))
    numbers = (pid, start, container.created)
    words = [*container.command, *container.user]
    words += [container.image, container.workdir, container.storage, boot]
    if not all(isinstance(number, int) for number in numbers):
        raise ValueError("not a record")
    if not all(isinstance(word, str) for word in words):
        raise ValueError("not a record")
    return container
