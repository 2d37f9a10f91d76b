"""The log of a site: a line of JSON for each start, and for most commands that change images.

A line goes to the machine's syslog, to the journal, to a file, or to a program.  Writing it never
waits, and what hinders it is no error: the line is lost then, and counted.

Specification: RFC 3164 (syslog, without the name of the host, as syslog(3) writes it); "Native
Journal Protocol" of systemd.
"""

from __future__ import annotations

import errno
import os
import time

from sundog.base.configuration.keys import JOURNAL, NO_LOG, PROGRAM, SYSLOG
from sundog.base.configuration.log_program import LogProgram
from sundog.base.configuration.lost_lines import LostLines
from sundog.base.cpython import (
    AF_UNIX,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    SIG_DFL,
    SIG_IGN,
    SIGXFSZ,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    encode_basestring_ascii,
    signal,
    socket,
)
from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.base.kernel.modes import S_IFMT, S_IFREG
from sundog.base.record.location import local_user

_SOCKETS = {SYSLOG: b"/dev/log", JOURNAL: b"/run/systemd/journal/socket"}
_TAG = b"sundog"
_LINE_LIMIT = 4096  # bytes: one write
_TEXT_LIMIT = 200  # characters of an image's name
_USER_INFO = 14  # facility "user", severity "informational": RFC 3164, 4.1.1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.record.location import Variables


class LogEntry:
    """A line of the log.

    command   the command's name: ch-run, or as ``ch-image build``
    image     the image's name or path, or None
    identity  its ID as lists show it, and the digest by which it was pulled; either may be ""
    mode      how root is emulated, or None
    status    what became of it: an exit status, or a word
    duration  in seconds; None if nobody waits for the end
    """

    __slots__ = ("command", "duration", "identity", "image", "mode", "status")

    def __init__(
        self,
        command: str,
        image: str | None,
        *,
        status: str | int,
        identity: tuple[str, str] = ("", ""),
        mode: str | None = None,
        duration: float | None = None,
    ) -> None:
        self.command = command
        self.image = image
        self.identity = identity
        self.mode = mode
        self.status = status
        self.duration = duration

    def line(self, account: tuple[str, int], lost: int = 0) -> bytes:
        """Return the line, without its end, in ASCII.

        ``account`` is the user's name and ID.  So many lines were ``lost`` before this one.
        """
        user, uid = account
        identity, digest = self.identity
        fields: dict[str, str | float | None] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "user": user,
            "uid": uid,
            "command": self.command,
            "image": self.image,
            "id": identity or None,
            "digest": digest or None,
            "mode": self.mode,
            "status": self.status,
            "duration": self.duration,
            "lost": lost,
        }
        members = [f'"{name}": {_json(value)}' for name, value in fields.items()]
        return f"{{{', '.join(members)}}}".encode()


def _json(value: str | float | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return encode_basestring_ascii(value[:_TEXT_LIMIT])
    return str(value) if isinstance(value, int) else f"{value:.3f}"


class Log:
    """The log at ``place``, a value of the key.

    Open it in the host's namespaces; ``write`` may follow in those of a container, of which a
    program knows nothing.  A line is lost if it would have to wait, or can't be written; the next
    one tells how many were.
    """

    __slots__ = ("_account", "_lost", "_place", "_program")

    def __init__(self, place: bytes, environment: Variables) -> None:
        self._place = place
        self._account = printable(local_user(environment)), os.geteuid()
        self._lost = LostLines(environment)
        self._program = None
        if place.startswith(PROGRAM):
            try:  # noqa: SIM105 - contextlib takes as long as the rest of a start
                self._program = LogProgram(place[len(PROGRAM) :], environment, self._lost)
            except OSError:
                pass  # its line is lost

    def write(self, entry: LogEntry) -> None:
        """Write a line, the only one."""
        lost = self._lost.take()
        try:
            line = entry.line(self._account, lost)
            if len(line) >= _LINE_LIMIT:
                raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
            self._put(line, lost)
        except OSError:
            self._lost.add(lost + 1)
        self._lost.close()

    def _put(self, line: bytes, lost: int) -> None:
        if self._place == SYSLOG:
            now = time.strftime("%b %e %H:%M:%S").encode()
            head = b"<%d>%b %b[%d]: " % (_USER_INFO, now, _TAG, os.getpid())
            _send(_SOCKETS[SYSLOG], head + line)
        elif self._place == JOURNAL:
            head = b"PRIORITY=6\nSYSLOG_IDENTIFIER=%b\nMESSAGE=" % _TAG
            _send(_SOCKETS[JOURNAL], head + line + b"\n")
        elif self._program is not None:
            self._program.send(line + b"\n", lost + 1)
        elif self._place.startswith(PROGRAM):
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        else:
            _append(self._place, line + b"\n")


def open_log(place: bytes, environment: Variables) -> Log | None:
    """Return the log at ``place``, a value of the key; None if there is to be none."""
    return None if place == NO_LOG else Log(place, environment)


def try_log(place: bytes) -> None:
    """Raise OSError if no line can be written to ``place`` in this moment."""
    if place in _SOCKETS:
        sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC)
        try:
            sender.connect(_SOCKETS[place])
        finally:
            sender.close()
    elif place.startswith(PROGRAM):
        program = place[len(PROGRAM) :].split()[0]
        is_file = os.stat(program).st_mode & S_IFMT == S_IFREG
        if not (is_file and os.access(program, os.X_OK)):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    elif place != NO_LOG:
        os.close(_opened(place))


def _send(address: bytes, data: bytes) -> None:
    """Send a datagram, unless that would wait.  Raises OSError."""
    sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC)
    try:
        sender.sendto(data, MSG_DONTWAIT | MSG_NOSIGNAL, address)
    finally:
        sender.close()


def _opened(path: bytes) -> int:
    """Return a descriptor of a regular file that is there, for appending.  Raises OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    fd = os.open(path, flags)
    if os.fstat(fd).st_mode & S_IFMT != S_IFREG:
        os.close(fd)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return fd


def _append(path: bytes, data: bytes) -> None:
    """Append to a regular file that is there.  Raises OSError, also for a part of ``data``."""
    with Closing(_opened(path)) as fd:
        before = signal(SIGXFSZ, SIG_IGN)  # RLIMIT_FSIZE would kill the start: setrlimit(2)
        try:
            if os.write(fd, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            signal(SIGXFSZ, SIG_DFL if before is None else before)
