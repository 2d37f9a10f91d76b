"""Records of containers: ROOT/NAME, a directory for each container.

    state.json   what a later command must know of the container; replaced as a whole
    lock         held by a command while it changes the container
    …            what belongs to the container: its log, its sockets

ROOT and its directories are private to the user, and no container sees them.  Nevertheless, a
reader believes nothing that it can check: it follows no link, takes no file that another user could
have written, reads no more than a limit, and knows a process by its number and start time.  A
record says who runs, and never what to run.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress

from sundog.base.cpython import encode_basestring_ascii
from sundog.base.kernel.files import Closing, write_all
from sundog.base.kernel.libc import escaped
from sundog.base.kernel.locks import open_locked, unlock
from sundog.errors import UsageError
from sundog.runtime.state.place import OTHERS_WRITE, is_own_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

_RECORD, _LOCK = "state.json", "lock"

_SIZE_LIMIT = 16 << 20  # bytes of a record
_NAME_LIMIT = 240
_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-")
_PRIVATE = "~"  # no name of a container has this character
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_EXISTS = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


class Record:
    """The record ROOT/NAME of one container, which need not exist.

    Methods raise FileNotFoundError if it does not exist and they need it, and OSError.
    """

    __slots__ = ("name", "path")

    def __init__(self, root: str, name: str) -> None:
        """Name the record.  Raises UsageError for a name that cannot be a container's."""
        if not is_name(name):
            raise UsageError(
                f"invalid container ID: {escaped(name[:80])}",
                f"an ID has letters, digits and _ + - . and at most {_NAME_LIMIT} of them",
            )
        self.name = name
        self.path = os.path.join(root, name)

    def reserve(self) -> int:
        """Make a record without state; return the lock on it.  Raises FileExistsError."""
        os.mkdir(self.path, 0o700)
        return self.lock()

    def claim(self, state: Mapping[str, Any], fill: Callable[[str], None] | None = None) -> None:
        """Make the record as a whole; ``fill`` puts more into the directory that it gets.

        Raises FileExistsError if the name has one.
        """
        draft = Record.__new__(Record)
        draft.name = self.name
        draft.path = f"{self.path}{_PRIVATE}{os.urandom(8).hex()}"
        os.mkdir(draft.path, 0o700)
        try:
            draft.write(state)
            if fill is not None:
                fill(draft.path)
            os.rename(draft.path, self.path)
        except OSError as error:
            _remove(draft.path)
            if error.errno not in _EXISTS:
                raise
            raise FileExistsError(error.errno, error.strerror, self.path) from None

    def write(self, state: Mapping[str, Any]) -> None:
        """Write the state; a reader finds the old one or the new one."""
        draft = f"{_RECORD}{_PRIVATE}{os.getpid()}"
        with Closing(self.open()) as directory:
            with suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=directory)
            with Closing(_make(draft, directory)) as fd:
                write_all(fd, _as_json(state).encode("ascii"))
            os.rename(draft, _RECORD, src_dir_fd=directory, dst_dir_fd=directory)

    def read(self) -> dict[str, Any]:
        """Return the state.  Raises ValueError if it is damaged, or not the user's own."""
        with open(self.open_file(_RECORD), "rb") as file:
            text = file.read(_SIZE_LIMIT + 1)
        import json  # noqa: PLC0415 - it takes as long as the rest of a start of ``sundog run``

        if len(text) > _SIZE_LIMIT:
            raise ValueError("a record is larger than any that Sundog writes")
        try:
            state = json.loads(text)
        except RecursionError:
            raise ValueError("a record is nested too deeply") from None
        if not isinstance(state, dict):
            raise ValueError("a record is no object")
        return state

    def make_file(self, name: str) -> int:
        """Make a file, which must not be there, for this user alone; return its descriptor."""
        with Closing(self.open()) as directory:
            return _make(name, directory)

    def open_file(self, name: str) -> int:
        """Open a file of this user to read it.  Raises ValueError if it is anything else."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        with Closing(self.open()) as directory:
            fd = os.open(name, flags, dir_fd=directory)
        status = os.fstat(fd)
        is_own = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
        if not is_own or status.st_mode & OTHERS_WRITE or status.st_nlink > 1:
            os.close(fd)
            raise ValueError(f"{name}: not a file of yours alone")
        return fd

    def open(self) -> int:
        """Return a descriptor of the directory."""
        try:
            directory = os.open(self.path, _DIRECTORY)
        except NotADirectoryError:  # also a symbolic link
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path) from None
        if not is_own_directory(os.fstat(directory)):
            os.close(directory)
            raise PermissionError(errno.EPERM, "not a directory that is yours alone", self.path)
        return directory

    def exists(self) -> bool:
        """Tell whether the record has a state."""
        return os.path.lexists(os.path.join(self.path, _RECORD))

    def lock(self) -> int:
        """Lock the record against other commands; wait for the lock; return it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        return open_locked(self._at(_LOCK), flags, fcntl.LOCK_EX)

    def is_locked(self) -> bool:
        """Tell whether a command is changing the container."""
        flags = os.O_RDWR | os.O_NOFOLLOW
        try:
            fd = open_locked(self._at(_LOCK), flags, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        unlock(fd)
        return False

    def remove(self) -> None:
        """Forget the container; from then on another one can have its name."""
        trash = f"{self.path}{_PRIVATE}{os.urandom(8).hex()}"
        os.rename(self.path, trash)
        _remove(trash)

    def _at(self, name: str) -> bytes:
        return os.fsencode(os.path.join(self.path, name))


def records(root: str) -> Iterator[Record]:
    """Yield the records below ``root`` that have a state, in the order of their names."""
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return
    for name in filter(is_name, names):
        record = Record(root, name)
        if record.exists():
            yield record


def is_name(text: str) -> bool:
    """Tell whether a container can have the name ``text``."""
    is_short = 0 < len(text) <= _NAME_LIMIT
    return is_short and _CHARACTERS.issuperset(text) and text not in (".", "..")


def _as_json(value: object) -> str:
    """Return plain values as JSON."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_as_json(key)}: {_as_json(value[key])}' for key in value)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_as_json, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    return encode_basestring_ascii(str(value))


def _make(name: str, directory: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, 0o600, dir_fd=directory)


def _remove(path: str) -> None:
    """Remove a directory with all that is in it, as far as possible."""
    with suppress(OSError):
        for name in os.listdir(path):
            inside = os.path.join(path, name)
            try:
                os.unlink(inside)
            except IsADirectoryError:
                _remove(inside)
        os.rmdir(path)
