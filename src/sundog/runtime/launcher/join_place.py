"""A place for the socket of a group that nobody else can take: in that of run-time state.

The usual name of the socket is abstract, so that a process that joins asks no file system.  But any
user of the machine can take such a name, and any program of a container.  If one has, the group is
led from here.  A lock tells whether somebody leads it: a file of a socket stays when its process is
killed.

A process that begins a group looks at both places, so that there is one group even if the stranger
comes or goes meanwhile.  At the usual place it listens first, and then looks here; here it takes
the lock first, and then looks there.  So of two processes at least one sees the other, and gives
way.

Only the first process of a group, and those that meet a stranger, load this module.
"""

from __future__ import annotations

import fcntl
import os

from sundog.base.cpython import AF_UNIX, SOCK_SEQPACKET, socket
from sundog.base.kernel.files import Closing
from sundog.base.kernel.locks import open_locked
from sundog.base.record.location import JOIN
from sundog.errors import SundogError
from sundog.runtime.container.paths import OPEN_DIRECTORY
from sundog.runtime.state.place import make_private, state_place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.base.record.location import Variables

_LOCK_NAME, _SOCKET_NAME = b"lock.", b"socket."


class Lead:
    """The lead of a group: its socket, which is bound, and descriptors that the keeper keeps."""

    __slots__ = ("_directory", "_lock", "_name", "listener")

    def __init__(self, directory: int, lock: int, name: bytes) -> None:
        """Take the place of the socket of a group that has ended.  Raises OSError."""
        self._directory = directory
        self._lock = lock
        self._name = name
        _remove(_SOCKET_NAME + name, directory)
        self.listener = socket(AF_UNIX, SOCK_SEQPACKET)
        _at_directory(directory, lambda: self.listener.bind(_SOCKET_NAME + name))

    def descriptors(self) -> tuple[int, int]:
        """Return what must stay open while the group lasts."""
        return self._directory, self._lock

    def end(self) -> None:
        """Remove the files.  The lock ends with its last descriptor."""
        for kind in (_SOCKET_NAME, _LOCK_NAME):
            _remove(kind + self._name, self._directory)
        self.close()

    def close(self) -> None:
        """Close the descriptors of this process."""
        for fd in self.descriptors():
            os.close(fd)


class JoinPlace:
    """The place of one group."""

    __slots__ = ("_environment", "_name")

    def __init__(self, environment: Variables, name: bytes) -> None:
        """``name`` tells the group, and is not as long as the name of a file may be."""
        self._environment = environment
        self._name = name.replace(b"/", b"\1")

    def is_led(self) -> bool:
        """Tell whether a process leads the group."""
        try:
            place = state_place(self._environment, JOIN, make=False)
            fd = os.open(place + b"/" + _LOCK_NAME + self._name, os.O_RDONLY | os.O_CLOEXEC)
        except (SundogError, OSError):
            return False  # nobody has ever led a group here, or may
        with Closing(fd):
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def lead(self) -> Lead | None:
        """Take the lead of the group; return None if another process has it.

        Raises SundogError if there is no such place, and OSError.
        """
        place = state_place(self._environment, JOIN, make=True)
        make_private(place)
        directory = os.open(place, OPEN_DIRECTORY)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        operation = fcntl.LOCK_EX | fcntl.LOCK_NB
        try:
            lock = open_locked(_LOCK_NAME + self._name, flags, operation, directory)
        except BlockingIOError:
            os.close(directory)
            return None
        return Lead(directory, lock, self._name)

    def connect(self, connection: socket) -> None:
        """Connect to the process that leads the group.  Raises OSError."""
        place = state_place(self._environment, JOIN, make=False)
        with Closing(os.open(place, OPEN_DIRECTORY)) as directory:
            _at_directory(directory, lambda: connection.connect(_SOCKET_NAME + self._name))


def _remove(name: bytes, directory: int) -> None:
    """Remove a file of the directory, if it is there."""
    try:  # noqa: SIM105 - contextlib would cost a module
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass


def _at_directory(directory: int, act: Callable[[], None]) -> None:
    """Do something in another working directory: the address of a socket is short (unix(7))."""
    with Closing(os.open(b".", OPEN_DIRECTORY)) as here:
        os.fchdir(directory)
        try:
            act()
        finally:
            os.fchdir(here)
