"""The containers that stay when they have ended, with their changes: see ``record.kept``.

    STORAGE/containers/ID/    a container; its record is complete when it gets its name
    STORAGE/containers/NAME   a symbolic link to ID

They outlive the boot.  What runs of them has a record in the place of run-time state, too.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from sundog.base.record.kept import (
    CONTAINER_EXIT,
    CONTAINER_IMAGE,
    CONTAINER_UPPER,
    CONTAINER_WORK,
    CONTAINERS_DIRECTORY,
    is_container_id,
)
from sundog.base.record.names import canonical_name
from sundog.base.record.stored_path import stored_place
from sundog.errors import SundogError
from sundog.front.podman.container import Container, check_name, read_container
from sundog.runtime.state.records import Record

_OVERLAY = (CONTAINER_UPPER, CONTAINER_WORK)
_IMAGE_FILES = ("stack", "config.json", "image.json")
_ROOT, _BASE, _LOG = "root", "base.json", "log"
_PRIVATE = 0o077
_STATUS_LIMIT = 16  # bytes of the file with the exit status
# A storage directory in which this user can't make anything keeps no containers.
_NOT_MINE = (errno.EACCES, errno.EPERM, errno.EROFS)
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


class Kept:
    """The kept containers of the storage directory ``storage``."""

    __slots__ = ("_storage", "directory")

    def __init__(self, storage: str) -> None:
        self._storage = storage
        self.directory = os.path.join(storage, os.fsdecode(CONTAINERS_DIRECTORY))

    def make(self, container: Container, platform: str = "", image: str | None = None) -> bool:
        """Make a container of an image in this storage.  Return False if it can't keep any.

        ``platform`` is that of the image, as in ``stored_place``.  ``image`` is the directory of
        one whose layers alone are here.  Raises SundogError if its name is taken, and OSError.
        """
        status = os.stat(self._storage)
        if status.st_uid != os.geteuid() or status.st_mode & _PRIVATE:
            return False
        if image is None:
            storage, name = os.fsencode(self._storage), canonical_name(container.image)
            image = os.fsdecode(stored_place(storage, name, platform.encode()))
        source = image
        record = self.record(container.identity)
        try:
            with suppress(FileExistsError):
                os.mkdir(self.directory, 0o700)
            record.claim(container.to_json(), lambda place: _fill(place, source))
        except OSError as error:
            if error.errno in _NOT_MINE:
                return False
            raise
        try:
            self._take_name(container)
        except BaseException:
            record.remove()
            raise
        return True

    def _take_name(self, container: Container) -> None:
        """Give a complete container its name: so a name without a container is an old one's."""
        link = self._at(container.name)
        while True:
            try:
                os.symlink(container.identity, link)
            except FileExistsError:
                if self.named(container.name) is not None:
                    raise SundogError(
                        f"a container has the name {container.name}", "sundog ps -a"
                    ) from None
                with suppress(FileNotFoundError):
                    os.unlink(link)
            else:
                return

    def write(self, container: Container) -> None:
        """Write the record of a container in place of an older one.  Raises OSError."""
        self.record(container.identity).write(container.to_json())

    def begin(self, container: Container) -> None:
        """Note that a container starts: nobody knows its exit status.  Raises OSError."""
        with suppress(FileNotFoundError):
            os.unlink(self._file(container.identity, CONTAINER_EXIT))
        self.write(container)

    def end(self, identity: str, status: int) -> None:
        """Note the exit status of a container that has ended.  Raises OSError."""
        path = self._file(identity, CONTAINER_EXIT)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS
        with open(os.open(path, flags, 0o600), "wb") as file:
            file.write(b"%d\n" % status)

    def named(self, name: str) -> Container | None:
        """Return the container ``name``; None if there is none."""
        check_name(name)
        try:
            identity = os.readlink(self._at(name))
        except OSError:
            return None
        found = self.find(identity)
        return found if found is not None and found.name == name else None

    def find(self, identity: str) -> Container | None:
        """Return the container with an ID; None if there is none, or if its record is damaged."""
        if not is_container_id(os.fsencode(identity)):
            return None
        try:
            found = read_container(self.record(identity).read())
        except (OSError, ValueError, TypeError, KeyError):
            return None
        if found.identity != identity:
            return None
        status, finished = self._end(identity)
        return found.changed(storage=self._storage, kept=True, status=status, finished=finished)

    def list(self) -> list[Container]:
        """Return all containers, in no order."""
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        return [found for name in names if (found := self.find(name)) is not None]

    def record(self, identity: str) -> Record:
        """Return the record of a container, which need not exist."""
        return Record(self.directory, identity)

    def open_log(self, identity: str) -> int:
        """Open the log of a container for more; return its descriptor.  Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | _FLAGS
        return os.open(os.path.join(self._at(identity), _LOG), flags, 0o600)

    def image(self, identity: str) -> str:
        """Return the directory with the image of a container, as ``images/NAME`` has it."""
        return os.path.join(self._at(identity), os.fsdecode(CONTAINER_IMAGE))

    def forget_name(self, container: Container) -> None:
        """Let another container have the name of one that is about to be removed."""
        link = self._at(container.name)
        with suppress(OSError):
            if os.readlink(link) == container.identity:
                os.unlink(link)

    def count_layers(self, identity: str) -> int:
        """Return how many layers the image of a container had when the container was made.

        Raises OSError and ValueError.
        """
        import json  # ``make`` needs none

        with open(self.record(identity).open_file(_BASE), "rb") as file:
            layers = json.load(file)["layers"]
        return len(layers)

    def _end(self, identity: str) -> tuple[int | None, int]:
        """Return the exit status of the last run, and its time; None and 0 if nobody knows."""
        try:
            path = self._file(identity, CONTAINER_EXIT)
            with open(os.open(path, os.O_RDONLY | _FLAGS), "rb") as file:
                text = file.read(_STATUS_LIMIT)
                finished = os.fstat(file.fileno()).st_mtime_ns
        except OSError:
            return None, 0
        return (int(text), finished) if text.strip().isdigit() else (None, 0)

    def _at(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def _file(self, identity: str, name: bytes) -> str:
        return os.path.join(self._at(identity), os.fsdecode(name))


def _fill(place: str, image: str) -> None:
    """Put an image, and an empty upper directory on it, into the directory of a container."""
    directory = os.open(image, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        own = os.path.join(place, os.fsdecode(CONTAINER_IMAGE))
        os.mkdir(own, 0o700)
        for name in _IMAGE_FILES:
            _copy(name, directory, os.path.join(own, name))
        _copy("image.json", directory, os.path.join(place, _BASE))
        mode = _copy_tree(_ROOT, directory, os.path.join(own, _ROOT))
    finally:
        os.close(directory)
    upper, work = (os.path.join(os.fsencode(place), name) for name in _OVERLAY)
    os.mkdir(work, 0o700)
    os.mkdir(upper, 0o700)
    os.chmod(upper, mode)


def _copy_tree(name: str, directory: int, target: str) -> int:
    """Copy the directories and files of an image that are not in its layers; return the mode."""
    source = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _FLAGS, dir_fd=directory)
    try:
        mode = os.fstat(source).st_mode & 0o7777
        os.mkdir(target, 0o700)
        with os.scandir(source) as entries:
            for entry in entries:
                copy = _copy_tree if entry.is_dir(follow_symlinks=False) else _copy
                copy(entry.name, source, os.path.join(target, entry.name))
        os.chmod(target, mode)
    finally:
        os.close(source)
    return mode


def _copy(name: str, directory: int, target: str) -> int:
    """Copy a small file; return its mode."""
    with open(os.open(name, os.O_RDONLY | _FLAGS, dir_fd=directory), "rb") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o7777
        data = file.read()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS
    with open(os.open(target, flags, 0o600), "wb") as copy:
        copy.write(data)
        os.fchmod(copy.fileno(), mode)
    return mode
