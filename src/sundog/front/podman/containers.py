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
from contextlib import contextmanager, suppress

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.base.record.kept import CONTAINER_ID_LENGTH
from sundog.errors import SundogError
from sundog.front.podman.container import Container, check_name, is_container_name, read_container
from sundog.front.podman.kept import Kept
from sundog.runtime.state.place import CONTAINERS, make_private, state_place
from sundog.runtime.state.records import Record, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

_SHORTEST_ID = 4
_LOG, _EXIT = "log", "exit"


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

    def make_exit(self, container: Container) -> None:
        """Make the file for the exit status of a detached container.  Raises SundogError."""
        try:
            os.close(self._record(container.name).make_file(_EXIT))
        except OSError as error:
            raise self._unwritable(error) from error

    def write_exit(self, container: Container, status: int) -> None:
        """Write the exit status for those that have opened its file.  Raises OSError."""
        path = os.path.join(self._record(container.name).path, _EXIT)
        with Closing(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)) as fd:
            os.write(fd, b"%d" % status)

    def open_exit(self, container: Container) -> int | None:
        """Open the file of ``write_exit``, which can be read after the record was deleted."""
        try:
            return self._record(container.name).open_file(_EXIT)
        except (OSError, ValueError):
            return None

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


def own_containers(storage: str) -> Containers:
    """Return the containers of this user on this machine, and those that a storage keeps.

    Raises SundogError.
    """
    place = os.fsdecode(state_place(os.environb, CONTAINERS, make=True))
    return Containers(place, Kept(storage))


@contextmanager
def changing(containers: Containers, container: Container) -> Generator[None]:
    """Keep other commands from starting or changing a kept container that does not run.

    Raises SundogError if one has just started it, or removed it.
    """
    try:
        lock = containers.kept.record(container.identity).lock()
    except FileNotFoundError:
        raise SundogError(f"{container.name}: no such container", "sundog ps -a") from None
    with Closing(lock):
        old = containers.recorded(container.name)
        if old is not None and old.is_running:
            raise SundogError(f"{container.name}: it runs", f"sundog stop {container.name}")
        containers.remove(container.name)
        yield


def _found(record: Record) -> Container | None:
    """Return the container of a process's record; None if it is damaged, or not there."""
    container = _read(record)
    if container is None or container.is_running or container.status is not None:
        return container
    return _read(record)  # its status was written between the two looks, or never


def _read(record: Record) -> Container | None:
    try:
        container = read_container(record.read())
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return container if container.name == record.name and container.process.pid > 0 else None
