"""The log of a detached container: its lines, with their times and streams.

The format is podman's ``k8s-file``: a time of RFC 3339, ``stdout`` or ``stderr``, ``F`` for a whole
line or ``P`` for the beginning of one, and the text, with a blank between them.
"""

from __future__ import annotations

import os

from sundog.front.podman.times import SECOND, written

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STDOUT, STDERR = b"stdout", b"stderr"
_WHOLE, _PART = b"F", b"P"
_BLOCK = 1 << 16
_LINE_LIMIT = 1 << 13  # bytes of a line: of a longer one, each piece is a line of the log


class LogLine:
    """A line of a log.

    when      nanoseconds since 1970
    stream    STDOUT or STDERR
    text      its text, with the newline unless the line goes on
    """

    __slots__ = ("stream", "text", "when")

    def __init__(self, when: int, stream: bytes, text: bytes) -> None:
        self.when = when
        self.stream = stream
        self.text = text

    @property
    def is_whole(self) -> bool:
        """Tell whether the line ends here."""
        return self.text.endswith(b"\n")


class LogWriter:
    """Writes the output of one stream to a log."""

    def __init__(self, log: int, stream: bytes) -> None:
        self._log = log
        self._stream = stream
        self._rest = b""

    def write(self, data: bytes, when: int) -> None:
        """Write the lines that ``data`` completes; keep the rest for the next call."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        pieces = [(line, _WHOLE) for line in lines]
        while len(self._rest) > _LINE_LIMIT:
            pieces.append((self._rest[:_LINE_LIMIT], _PART))
            self._rest = self._rest[_LINE_LIMIT:]
        self._put(pieces, when)

    def end(self, when: int) -> None:
        """Write what is left at the end of the output."""
        if self._rest:
            self._put([(self._rest, _PART)], when)
            self._rest = b""

    def _put(self, pieces: list[tuple[bytes, bytes]], when: int) -> None:
        head = b"%b %b" % (written(when).encode(), self._stream)
        data = b"".join(b"%b %b %b\n" % (head, kind, text) for text, kind in pieces)
        while data:
            data = data[os.write(self._log, data) :]


class LogReader:
    """The lines of the log ``fd``, a descriptor, in their order; it may grow meanwhile."""

    def __init__(self, fd: int) -> None:
        self._file = open(fd, "rb", buffering=_BLOCK)  # noqa: SIM115 - until ``close``
        self._rest = b""

    def lines(self) -> Iterator[LogLine]:
        """Yield the lines that were added since the last call."""
        while data := self._file.readline():
            self._rest += data
            if self._rest.endswith(b"\n"):
                line, self._rest = _read(self._rest), b""
                if line is not None:
                    yield line

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _read(line: bytes) -> LogLine | None:
    """Return a line of the log; None for a damaged one."""
    when, _, rest = line.partition(b" ")
    stream, _, rest = rest.partition(b" ")
    kind, _, text = rest.partition(b" ")
    if stream not in (STDOUT, STDERR) or kind not in (_WHOLE, _PART):
        return None
    moment = _nanoseconds(when.decode("ascii", "replace"))
    if moment is None:
        return None
    return LogLine(moment, stream, text if kind == _WHOLE else text[:-1])


def _nanoseconds(text: str) -> int | None:
    """Return the time that ``times.written`` wrote, without the cost of a general reader."""
    try:
        month, day = int(text[5:7]), int(text[8:10])
        hours, minutes, seconds = map(int, text[11:19].split(":"))
        if not (0 < month <= 12 and 0 < day <= 31):
            return None
        days = _days(int(text[:4]), month, day)
        return (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * SECOND + int(text[20:29])
    except ValueError:
        return None


def _days(year: int, month: int, day: int) -> int:
    """Return the days from 1970 to a date of the Gregorian calendar."""
    year -= month <= 2
    month = (month + 9) % 12
    return (
        365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 719469
    )


def selected(
    lines: Iterator[LogLine], *, tail: int | None, since: int | None, until: int | None
) -> Iterable[LogLine]:
    """Return the lines between two times, and of them the last ``tail``; None for no bound."""
    found = (
        line
        for line in lines
        if (since is None or line.when >= since) and (until is None or line.when <= until)
    )
    if tail is None:
        return found
    from collections import deque  # ``LogWriter`` needs none

    return deque(found, tail)
