"""Read one HTTP answer from a stream of bytes; everything that a server can send has a bound.

Specification: RFC 9112 (§4 status line, §5 fields, §6 and §7 length of the body and chunks) and
RFC 9110 (§15.2 interim answers).

Servers in the wild differ from the specification.  A line without a colon is passed over, and a
length that is not a number counts as none: the body then ends with the connection.  Two different
lengths are refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from sundog.errors import BadAnswer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    class Stream(Protocol):
        """What an ``io.BufferedReader`` can do, as far as it is needed."""

        def read(self, size: int, /) -> bytes:
            """Return ``size`` bytes, fewer only at the end."""

        def readline(self, size: int, /) -> bytes:
            """Return the bytes up to the next newline, at most ``size``."""


_LINE = 1 << 16
_FIELDS = 100  # also lines of trailers
_INTERIM_ANSWERS = 16
_STATUS_DIGITS = 3
_SWITCHING_PROTOCOLS = 101
_LENGTH_DIGITS = 18
_CHUNK_DIGITS = 16
_NO_BODY = frozenset((204, 304))


class Fields(Mapping[str, str]):
    """The header fields of an answer; their names are looked up in any case.

    A field that came more than once has all its values, joined by ``, ``.  Bytes that are not
    ASCII are characters of Latin-1.
    """

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def add(self, name: str, value: str) -> None:
        """Add a value to the field ``name``."""
        key = name.lower()
        before = self._values.get(key)
        self._values[key] = value if before is None else f"{before}, {value}"

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Answer:
    """The answer to a request of ``method``; reads status and fields when it is made.

    Raises BadAnswer, and what ``stream`` raises.
    """

    def __init__(self, stream: Stream, method: str) -> None:
        self._stream = stream
        version, self.status = _status(stream)
        for _ in range(_INTERIM_ANSWERS):
            if not 100 <= self.status < 200 or self.status == _SWITCHING_PROTOCOLS:
                break
            _fields(stream)
            version, self.status = _status(stream)
        else:
            raise BadAnswer("too many interim answers")
        self.fields = _fields(stream)
        self._is_chunked = False
        self._left = self._length(method)  # of the body, or of a chunk; None: to the end
        self.is_complete = self._left == 0 and not self._is_chunked
        options = [word.strip() for word in self.fields.get("Connection", "").lower().split(",")]
        # What has no length ends with the connection.
        self.keeps_connection = (
            self._left is not None
            and "close" not in options
            and (version >= "1.1" or "keep-alive" in options)
        )

    @property
    def left(self) -> int | None:
        """How many bytes of the body have not been read, None where nobody knows."""
        return None if self._is_chunked and not self.is_complete else self._left

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes of the body, b"" at its end.

        Raises BadAnswer, and what the stream raises.
        """
        if self._is_chunked and not self.is_complete and not self._left:
            self._left = _chunk_size(self._stream)
            if not self._left:
                _skip_trailers(self._stream)
                self.is_complete = True
        if self.is_complete or not size:
            return b""
        data = self._stream.read(size if self._left is None else min(size, self._left))
        if self._left is None:
            self.is_complete = not data
            return data
        self._left -= len(data)
        if not data:
            raise BadAnswer("it ended in the middle of an answer")
        if self._is_chunked and not self._left and self._stream.readline(_LINE).strip():
            raise BadAnswer("a chunk that is longer than it says")
        self.is_complete = not self._left and not self._is_chunked
        return data

    def _length(self, method: str) -> int | None:
        """Return the length of the body (RFC 9112, §6.3)."""
        if method == "HEAD" or self.status in _NO_BODY or self.status < 200:
            return 0
        if encoding := self.fields.get("Transfer-Encoding", ""):
            if encoding.rpartition(",")[2].strip().lower() != "chunked":
                return None
            self._is_chunked = True
            return 0
        lengths = {text.strip() for text in self.fields.get("Content-Length", "").split(",")}
        if len(lengths) > 1:
            raise BadAnswer("an answer of two lengths")
        return _number(lengths.pop())


def _status(stream: Stream) -> tuple[str, int]:
    """Read a status line; return the version of HTTP, ``1.x``, and the status."""
    line = stream.readline(_LINE)
    if not line:
        raise BadAnswer("closed without an answer")
    protocol, _, rest = line.partition(b" ")
    status = rest.split(maxsplit=1)[0] if rest.strip() else b""
    if not protocol.startswith(b"HTTP/1.") or len(status) != _STATUS_DIGITS:
        raise BadAnswer("what came is not HTTP")
    if not status.isdigit() or status < b"100":
        raise BadAnswer("an answer without a status")
    return protocol[len(b"HTTP/") :].decode("latin-1"), int(status)


def _fields(stream: Stream) -> Fields:
    fields = Fields()
    for name, value in _named(_lines(stream)):
        fields.add(name, value)
    return fields


def _named(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Yield names and values; a line that begins with white space continues the value before."""
    name, value = "", ""
    for line in lines:
        if line[0] in " \t":
            value = f"{value} {line.strip()}".strip()
            continue
        if name:
            yield name, value
        name, _, value = (part.strip() for part in line.partition(":"))
        if ":" not in line:
            name = ""
    if name:
        yield name, value


def _lines(stream: Stream) -> Iterator[str]:
    """Yield the lines up to an empty one, or to the end."""
    for _ in range(_FIELDS + 1):
        line = stream.readline(_LINE + 1)
        if len(line) > _LINE:
            raise BadAnswer("a header field without an end")
        text = line.decode("latin-1").rstrip("\r\n")
        if not text:
            return
        yield text
    raise BadAnswer(f"more than {_FIELDS} header fields")


def _number(text: str) -> int | None:
    """Return a length, or None for what is no length."""
    if not (text.isascii() and text.isdigit()) or len(text) > _LENGTH_DIGITS:
        return None
    return int(text)


def _chunk_size(stream: Stream) -> int:
    # int(…, 16) would read a sign as well, and a chunk of -1 bytes is all that ever comes.
    digits = stream.readline(_LINE).partition(b";")[0].strip()
    if len(digits) > _CHUNK_DIGITS or not digits.isalnum():
        raise BadAnswer("a chunk without a size")
    try:
        return int(digits, 16)
    except ValueError as error:
        raise BadAnswer("a chunk without a size") from error


def _skip_trailers(stream: Stream) -> None:
    for _ in range(_FIELDS):
        if stream.readline(_LINE) in (b"\r\n", b"\n", b""):
            return
    raise BadAnswer("trailers without an end")
