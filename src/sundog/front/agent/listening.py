"""The agent's socket: a Unix socket at a path, private to the user.

The socket appears at its path when it can take connections.  A socket of an agent that was killed
is replaced.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from contextlib import contextmanager, suppress

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.errors import SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

PATH_LIMIT = 107  # bytes: sun_path of unix(7), with its NUL
_WAITING = 64  # connections that the kernel holds for the agent


@contextmanager
def listening(path: bytes) -> Generator[socket.socket]:
    """Return a socket that listens at ``path``; remove ``path`` at the end.

    Raises SundogError if another agent listens there, and OSError.
    """
    if len(path) > PATH_LIMIT:
        raise SundogError(
            f"{printable(path)}: the path of a socket has at most {PATH_LIMIT} bytes",
            "give a shorter one: sundog agent --socket PATH",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as ours:
        try:
            _put(ours, path)
        except OSError as error:
            raise SundogError(f"can't listen at {printable(path)}: {error.strerror}") from error
        here = os.stat(path)
        try:
            yield ours
        finally:
            with suppress(OSError):
                there = os.lstat(path)
                if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
                    os.unlink(path)


def _put(ours: socket.socket, path: bytes) -> None:
    """Make ``ours`` listen at ``path``."""
    directory, name = os.path.split(path)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    with Closing(os.open(directory or b".", flags)) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)  # only one agent at a time replaces the socket
        _clear(path)
        draft = b".sundog-%d" % os.getpid()
        # By this path the length of the draft's name does not matter.
        where = b"/proc/self/fd/%d/%b" % (fd, draft)
        ours.bind(where)
        try:
            os.chmod(where, 0o600)
            ours.listen(_WAITING)
            os.rename(draft, name, src_dir_fd=fd, dst_dir_fd=fd)
        except BaseException:
            os.unlink(draft, dir_fd=fd)
            raise


def _clear(path: bytes) -> None:
    """Make sure that ``path`` is free, or a socket at which nobody listens.  Raises SundogError."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise SundogError(
            f"{printable(path)} is there already, and is no socket",
            "remove it, or give another path: sundog agent --socket PATH",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                return
            if error.errno != errno.EAGAIN:  # too many wait for the one that listens
                raise
    raise SundogError(
        f"another agent listens at {printable(path)}",
        "use that one; or give another path: sundog agent --socket PATH",
    )
