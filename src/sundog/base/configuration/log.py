"""The log of a site: a line of JSON for each start, and for each command that changes images.

A line goes to the machine's syslog, to the journal, or to a file.  Writing it never waits, and what
hinders it is no error: the line is lost then.

Specification: RFC 3164 (syslog, without the name of the host, as syslog(3) writes it); "Native
Journal Protocol" of systemd.
"""

from __future__ import annotations

import os
import time

from sundog.base.configuration.keys import JOURNAL, NO_LOG, SYSLOG
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

_SYSLOG_SOCKET = b"/dev/log"
_JOURNAL_SOCKET = b"/run/systemd/journal/socket"
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

    def line(self, environment: Variables) -> bytes:
        """Return the line, without its end, in ASCII."""
        identity, digest = self.identity
        fields: dict[str, str | float | None] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "user": printable(local_user(environment)),
            "uid": os.geteuid(),
            "command": self.command,
            "image": self.image,
            "id": identity or None,
            "digest": digest or None,
            "mode": self.mode,
            "status": self.status,
            "duration": self.duration,
        }
        members = [f'"{name}": {_json(value)}' for name, value in fields.items()]
        return f"{{{', '.join(members)}}}".encode()


def _json(value: str | float | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return encode_basestring_ascii(value[:_TEXT_LIMIT])
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def write_log(place: bytes, entry: LogEntry, environment: Variables) -> None:
    """Write a line to ``place``, a value of the key; it is lost if that would wait or fails."""
    if place == NO_LOG:
        return
    line = entry.line(environment)
    if len(line) >= _LINE_LIMIT:
        return
    try:
        if place == SYSLOG:
            now = time.strftime("%b %e %H:%M:%S").encode()
            head = b"<%d>%b %b[%d]: " % (_USER_INFO, now, _TAG, os.getpid())
            _send(_SYSLOG_SOCKET, head + line)
        elif place == JOURNAL:
            head = b"PRIORITY=6\nSYSLOG_IDENTIFIER=%b\nMESSAGE=" % _TAG
            _send(_JOURNAL_SOCKET, head + line + b"\n")
        else:
            _append(place, line + b"\n")
    except OSError:
        pass


def _send(address: bytes, data: bytes) -> None:
    """Send a datagram, unless that would wait.  Raises OSError."""
    sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC)
    try:
        sender.sendto(data, MSG_DONTWAIT | MSG_NOSIGNAL, address)
    finally:
        sender.close()


def _append(path: bytes, data: bytes) -> None:
    """Append to a regular file that is there.  Raises OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with Closing(os.open(path, flags)) as fd:
        if os.fstat(fd).st_mode & S_IFMT != S_IFREG:
            return
        before = signal(SIGXFSZ, SIG_IGN)  # RLIMIT_FSIZE would kill the start: setrlimit(2)
        try:
            os.write(fd, data)
        finally:
            signal(SIGXFSZ, SIG_DFL if before is None else before)
