"""A heartbeat: a file whose time a child process renews as long as the command lives.

Other nodes can't ask this node's kernel whether a process is alive.  They look at the time of its
file.  Its times and the times of their own files come from one file server, or from clocks that
differ by less than the bound.

If the file is gone, another node has taken the command for dead, and works in its place.  The child
then kills the command at once.  This happens if the machine was suspended, or did not reach the
file server, for longer than the bound.
"""

from __future__ import annotations

import errno
import gc
import os
import select
import signal
from contextlib import suppress

from sundog.base.kernel.files import STDERR_FILENO, Closing, close_all_but
from sundog.base.kernel.libc import printable
from sundog.base.kernel.process import fork
from sundog.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_RENEWALS = 6  # in the time after which a process is taken for dead
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Heartbeat:
    """The new file ``path``, which is renewed often enough for a bound of ``seconds``."""

    def __init__(self, path: bytes, seconds: int) -> None:
        self.path = path
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        # The child ends when no process has the other end of this pipe: this process and those
        # that it forks, until they execute another program.
        ended, self._alive = os.pipe()
        parent = os.pidfd_open(os.getpid())
        self._pid = fork()
        if not self._pid:
            _renew_until(ended, path, seconds, parent)
        os.close(ended)
        os.close(parent)

    def renew(self) -> float:
        """Renew the time now, and return it.

        Raises StoreError if this process has been taken for dead.
        """
        try:
            os.utime(self.path)
            return time_of(self.path)
        except FileNotFoundError:
            raise StoreError(_lost(self.path), "run the command again") from None

    def leave_to_parent(self) -> None:
        """Let it end with the parent of this process, which was forked since."""
        os.close(self._alive)

    def close(self) -> None:
        """End the child, and remove the file."""
        # The end of the pipe would not do: later children of this process hold it open.
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._alive)
        with suppress(OSError):
            os.unlink(self.path)


def time_of(path: bytes) -> float:
    """Return the time of a file: of an open file, a client of NFS does not know an old one.

    Raises FileNotFoundError, also if another node removes the file meanwhile, and OSError.
    """
    try:
        with Closing(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as fd:
            return os.fstat(fd).st_mtime
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error


def _renew_until(ended: int, path: bytes, seconds: int, parent: int) -> NoReturn:
    """Run as the child: renew ``path`` until ``ended`` does, then remove it.  Never returns."""
    try:
        gc.freeze()  # objects of the parent must not close numbers that are in use again
        close_all_but((STDERR_FILENO, ended, parent))
        os.setsid()  # ^Z stops the command only
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        while not poll.poll(seconds * 1000 / _RENEWALS):
            try:
                os.utime(path)
            except FileNotFoundError:
                signal.pidfd_send_signal(parent, signal.SIGKILL)
                os.write(STDERR_FILENO, b"error: %b\n" % _lost(path).encode())
                break
            except OSError:
                continue
        os.unlink(path)
    finally:
        os._exit(0)


def _lost(path: bytes) -> str:
    directory = printable(os.path.dirname(path))
    return (
        "another node has taken the locks of this command, which did not renew them in time: "
        f"{directory}"
    )
