"""The terminal of a container: a pseudoterminal, whose master goes to the caller.

Specification: runtime-spec, config.md "process.terminal"; pts(4).  The pair is made in the
container's own devpts if it has one, so that ttyname(3) works there.
"""

from __future__ import annotations

import os
import stat
import sys
from fcntl import ioctl
from termios import TIOCSCTTY, TIOCSWINSZ

from sundog.base.cpython import AF_UNIX, SOCK_STREAM, socket
from sundog.base.kernel.descriptors import send_message
from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import checked, encode_text, kernel_error, libc_call, printable
from sundog.base.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    OPEN_TREE_CLONE,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    move_mount,
    open_tree,
    openat2,
)
from sundog.base.kernel.numbers import IOC_NONE
from sundog.errors import KernelError, SundogError
from sundog.runtime.container.paths import OPEN_DIRECTORY

_PTMX = (5, 2)  # device numbers
_CONSOLE = b"/dev/console"
_OPEN = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK
TIOCGPTPEER = IOC_NONE | 0x5441  # Linux 4.13


def connect_console(path: str) -> socket:
    """Return a connection to the --console-socket ``path``.  Raises SundogError."""
    connection = socket(AF_UNIX, SOCK_STREAM)
    name = encode_text(path)
    directory, _, last = name.rpartition(b"/")
    try:
        # The path may be longer than an address of a socket.
        with Closing(os.open(directory or b".", OPEN_DIRECTORY)) as fd:
            connection.connect(b"/proc/self/fd/%d/%b" % (fd, last))
    except OSError as error:
        connection.close()
        raise SundogError(
            f"console socket {printable(name)}: {error.strerror}",
            "--console-socket names a socket on which the caller listens",
        ) from None
    return connection


class Console:
    """A pseudoterminal."""

    __slots__ = ("_master", "_slave")

    def __init__(self, host_master: int) -> None:
        """Make it in the container, or use the host's one ``host_master``.  Raises SundogError."""
        self._master = open_multiplexer()
        if self._master < 0:
            self._master = host_master
        elif host_master >= 0:
            os.close(host_master)
        if self._master < 0:
            raise SundogError("cannot make a terminal: neither the container nor the host has one")
        try:
            checked(libc_call("unlockpt", self._master), "unlockpt", b"/dev/ptmx")
            self._slave = ioctl(self._master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            raise kernel_error("ioctl", b"/dev/ptmx", error.errno or 0, "make a terminal") from None

    def set_size(self, rows: int, columns: int) -> None:
        """Set the size of the window, unless both are 0."""
        if rows or columns:
            size = b"".join(n.to_bytes(2, sys.byteorder) for n in (rows, columns, 0, 0))
            ioctl(self._slave, TIOCSWINSZ, size)

    def send(self, connection: socket) -> None:
        """Send the master through ``connection``, and close both.  Raises SundogError."""
        try:
            name = os.ttyname(self._slave)
        except OSError:  # the container does not show it
            name = "/dev/ptmx"
        try:
            send_message(connection, os.fsencode(name), (self._master,))
        except OSError as error:
            raise SundogError(f"console socket: cannot send: {error.strerror}") from None
        connection.close()
        os.close(self._master)

    def cover_console(self) -> None:
        """Show the terminal as /dev/console, if the container has such a file."""
        try:
            resolve = RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS
            with Closing(openat2(AT_FDCWD, _CONSOLE, os.O_PATH, resolve)) as place:
                tree = open_tree(self._slave, b"", OPEN_TREE_CLONE | AT_EMPTY_PATH)
                with Closing(tree):
                    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
                    move_mount(tree, b"", place, b"", flags)
        except KernelError:
            return

    def take(self) -> None:
        """Make it the controlling terminal and the standard streams of this session leader."""
        ioctl(self._slave, TIOCSCTTY, 0)
        for stream in (0, 1, 2):
            os.dup2(self._slave, stream)
        if self._slave > 2:
            os.close(self._slave)


def open_multiplexer() -> int:
    """Return the master of a new pair of the container's devpts, -1 if it has none."""
    for path in (b"/dev/pts/ptmx", b"/dev/ptmx"):
        try:
            fd = openat2(AT_FDCWD, path, _OPEN, RESOLVE_NO_MAGICLINKS)
        except KernelError:
            continue
        status = os.fstat(fd)
        device = os.major(status.st_rdev), os.minor(status.st_rdev)
        if stat.S_ISCHR(status.st_mode) and device == _PTMX:
            os.set_blocking(fd, True)
            return fd
        os.close(fd)
    return -1


def host_multiplexer() -> int:
    """Return the master of a new pair of the host's, -1 if the host has none.

    Call it before the change of root.
    """
    try:
        return os.open(b"/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return -1
