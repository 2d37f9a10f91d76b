"""The table of contents of a blob: what its files are, and where their contents begin.

eStargz and zstd:chunked have nearly the same table, in JSON: ``entries`` is a list of objects, in
the order of the archive.  Other members of the object mean nothing here.

Specification: stargz-snapshotter, "eStargz", "TOC"; containers/storage, pkg/chunked.
"""

from __future__ import annotations

import base64
import binascii
import json
from codecs import utf_8_decode
from datetime import UTC, datetime
from functools import lru_cache

from sundog.base.record.chunk_table import CHUNK_LIMIT, HOLE_LIMIT, Chunk
from sundog.errors import ArchiveError
from sundog.image.layer.header import NANOSECONDS, Member
from sundog.image.layer.names import display

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOC_LIMIT = 128 << 20  # bytes of the text
# Bytes of an entry, or of another value.  Up to twice that is parsed at once, and `[],` takes 27
# times its size.
_VALUE_LIMIT = 1 << 20
_TOGETHER = 1 << 16  # characters of values that are parsed together
ENTRIES_LIMIT = 1_000_000  # chunks and extended attributes count, too
_ZEROS = "zeros"
_CHUNK_TYPE = "chunk"
_KINDS = {
    "reg": "f", "dir": "d", "symlink": "l", "hardlink": "h", "char": "c", "block": "b", "fifo": "p",
}  # fmt: skip
_NUMBER_LIMIT = 1 << 63
_ID_LIMIT = 1 << 32
_DEVICE_LIMIT = 1 << 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHA256 = "sha256:"
_TIMES, _TIME_LIMIT = 1 << 10, 64  # texts that are remembered, and their length
_LOST = "\ufffd"  # Go's JSON writes it for each byte that is not UTF-8

Entry = dict[str, object]


class TocFile:
    """A member, and its ``pieces``, in order.

    A piece is where it begins in the blob, or -1 for zeros; where it begins in the file; the bytes
    to skip of what it unpacks to; and the digest.  ``end`` is where the last one ends in the blob,
    if the table says that, else -1.
    """

    __slots__ = ("end", "member", "pieces")

    def __init__(self, member: Member) -> None:
        self.member = member
        self.pieces: list[tuple[int, int, int, bytes]] = []
        self.end = -1


def parse_toc(text: bytes, *, escapes: bool = False) -> list[TocFile]:
    """Return the members of a table of contents, in order.  Raises ArchiveError.

    With ``escapes``, it is one of an index of Sundog: names may be any bytes, and a file is one
    piece without a digest.
    """
    found: list[TocFile] = []
    count = 0
    for entry in _entries(text):
        count += 1
        if count > ENTRIES_LIMIT:
            raise ArchiveError(f"a table of contents of more than {ENTRIES_LIMIT:,} entries")
        if type(entry) is not dict:
            raise ArchiveError("an entry of its table of contents is no object")
        if entry.get("type") == _CHUNK_TYPE:
            if not found or found[-1].member.kind != "f":
                raise ArchiveError("its table of contents has a chunk of no file")
            _add_chunk(found[-1], entry)
            continue
        file = TocFile(_member(entry, escapes=escapes))
        found.append(file)
        count += len(file.member.xattrs)
        if escapes and file.member.size:
            file.pieces.append((_number(entry, "offset"), 0, 0, b""))
        elif file.member.kind == "f" and file.member.size:
            _add_chunk(file, entry)
    return found


def chunks_of(file: TocFile, ends: Sequence[int]) -> list[Chunk]:
    """Return the chunks of ``file``; ``ends`` are where its pieces end.  Raises ArchiveError.

    They cover the file.  Pieces may overlap: each chunk has a digest.
    """
    chunks: list[Chunk] = []
    stop = file.member.size
    backwards = zip(reversed(file.pieces), reversed(ends), strict=True)
    for (piece, start, skipped, digest), end in backwards:
        length, packed = stop - start, end - piece if piece >= 0 else 0
        limit = CHUNK_LIMIT if piece >= 0 else HOLE_LIMIT
        if not 0 < length <= limit or not 0 <= packed <= CHUNK_LIMIT or skipped > CHUNK_LIMIT:
            raise _wrong(file, f"a chunk of {length} bytes in {packed}")
        if piece >= 0 and not packed:
            raise _wrong(file, "a chunk without bytes")
        chunks.append(Chunk(max(piece, 0), packed, start, length, digest=digest, skipped=skipped))
        stop = start
    if stop:
        raise _wrong(file, "its first chunk does not begin at 0")
    return chunks[::-1]


def _add_chunk(file: TocFile, entry: Entry) -> None:
    digest = entry.get("chunkDigest") or ("" if file.pieces else entry.get("digest"))
    offset = _number(entry, "offset")
    if entry.get("chunkType") == _ZEROS:
        offset = -1
    start = _number(entry, "chunkOffset") if "chunkOffset" in entry else 0
    skipped = _number(entry, "innerOffset") if "innerOffset" in entry else 0
    if end := _number(entry, "endOffset"):
        file.end = end
    try:
        if type(digest) is not str or not digest.startswith(_SHA256):
            raise ValueError
        found = bytes.fromhex(digest.removeprefix(_SHA256))
        if len(found) != 32:
            raise ValueError
    except ValueError:
        raise _wrong(file, "a chunk without a SHA-256 digest") from None
    file.pieces.append((offset, start, skipped, found))


def _member(entry: Entry, *, escapes: bool) -> Member:
    member = Member()
    kind = _KINDS.get(_text(entry, "type"), "")
    name, link = _text(entry, "name"), _text(entry, "linkName")
    if not escapes and _LOST in name + link:
        raise ArchiveError(f"{display(name.encode())}: its table has lost a part of the name")
    errors = "surrogateescape" if escapes else "strict"
    member.name, member.link = _encoded(name, errors), _encoded(link, errors)
    if not kind:
        raise ArchiveError(f"{display(member.name)}: an entry of an unknown type")
    member.kind = kind
    member.mode = _number(entry, "mode") & 0o7777
    member.uid = _number(entry, "uid", _ID_LIMIT) if "uid" in entry else 0
    member.gid = _number(entry, "gid", _ID_LIMIT) if "gid" in entry else 0
    member.size = _number(entry, "size") if kind == "f" else 0
    member.major = _number(entry, "devMajor", _DEVICE_LIMIT) if "devMajor" in entry else 0
    member.minor = _number(entry, "devMinor", _DEVICE_LIMIT) if "devMinor" in entry else 0
    member.mtime_ns = _time(_text(entry, "modtime"))
    member.xattrs = _xattrs(entry["xattrs"], errors) if "xattrs" in entry else {}
    return member


def _xattrs(value: object, errors: str) -> dict[bytes, bytes]:
    if not value:
        return {}
    if type(value) is not dict:
        raise ArchiveError("extended attributes of its table are no object")
    try:
        return {
            _encoded(k, errors): base64.b64decode(v or "", validate=True) for k, v in value.items()
        }
    except (binascii.Error, TypeError, ValueError):
        raise ArchiveError("an extended attribute of its table is not in base64") from None


@lru_cache(_TIMES)  # files of a package have the same
def _time(text: str) -> int:
    """Return the nanoseconds of a time as in RFC 3339; no text is 0."""
    if not text:
        return 0
    if len(text) > _TIME_LIMIT:
        raise ArchiveError(f"a time of its table of contents is wrong: {text[:40]}")
    head, dot, rest = text.partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    fraction = rest[:digits] if dot else ""
    try:
        seconds = datetime.fromisoformat(head + rest[digits:])
        if seconds.tzinfo is None:
            raise ValueError
        whole = seconds - _EPOCH
    except (ValueError, OverflowError):
        raise ArchiveError(f"a time of its table of contents is wrong: {text[:40]}") from None
    count = whole.days * 86400 + whole.seconds
    return count * NANOSECONDS + int(fraction[:9].ljust(9, "0"))


def _number(entry: Entry, key: str, limit: int = _NUMBER_LIMIT) -> int:
    value = entry.get(key, 0)
    if type(value) is not int or not 0 <= value < limit:
        raise ArchiveError(f"{key} of an entry of its table of contents is out of range")
    return value


def _text(entry: Entry, key: str) -> str:
    value = entry.get(key, "")
    if type(value) is not str:
        raise ArchiveError(f"{key} of an entry of its table of contents is no text")
    return value


def _encoded(text: str, errors: str) -> bytes:
    try:
        return text.encode("utf-8", errors)
    except UnicodeEncodeError:  # half of a surrogate pair
        raise ArchiveError("a name in its table of contents is not UTF-8") from None


def _wrong(file: TocFile, why: str) -> ArchiveError:
    return ArchiveError(f"{display(file.member.name)}: {why}, says its table of contents")


def _entries(text: bytes) -> Iterator[object]:
    """Yield the elements of ``entries`` one by one, so that the objects of all never exist."""
    scan = _Scanner(text)
    for key in scan:
        if key == "entries":
            yield from scan.elements()
        else:
            scan.value()


class _Scanner:
    """Reads one object of JSON, whose values may be taken in parts.

    Only a part of the text is decoded at a time: so no value can be larger than that part.
    """

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._begin = 0  # of the part, in characters from the beginning on
        self._part = ""
        self._at = 0  # in the part
        self._alone = 0  # up to there, values are not parsed together
        self._decode = json.JSONDecoder().raw_decode

    def __iter__(self) -> Iterator[str]:
        """Yield the keys of the object; the caller takes the value of each before the next."""
        self._take("{")
        if self._next() == "}":
            return
        separator = ","
        while separator == ",":
            key = self.value()
            if type(key) is not str:
                raise self._wrong()
            self._take(":")
            yield key
            separator = self._take(",}")

    def elements(self) -> Iterator[object]:
        """Yield the elements of the list that comes next."""
        self._take("[")
        if self._next() == "]":
            self._take("]")
            return
        separator = ","
        while separator == ",":
            self._next()
            self._fill()
            values = self._several()
            yield from values or (self.value(),)
            separator = self._take(",]")

    def _several(self) -> list[object]:
        """Return the values that come next, if it is clear where one of them ends, or none."""
        if self._begin + self._at < self._alone:
            return []
        end = self._part.rfind("},", self._at, self._at + _TOGETHER) + 1
        self._alone = self._begin + (end or self._at + _TOGETHER)
        try:
            found: list[object] = json.loads(f"[{self._part[self._at : end]}]") if end else []
        except (ValueError, RecursionError):  # it ends in a text, say: its values come alone
            return []
        self._at = max(self._at, end)
        return found

    def value(self) -> object:
        """Return the value that comes next."""
        self._next()
        self._fill()
        try:
            value, self._at = self._decode(self._part, self._at)
        except (ValueError, RecursionError):
            raise self._wrong() from None
        found: object = value
        return found

    def _fill(self) -> None:
        """Decode more, if less than a value may have is left, and there is more."""
        if len(self._part) - self._at >= _VALUE_LIMIT or not self._data:
            return
        piece = self._data[:_VALUE_LIMIT]
        try:
            text, used = utf_8_decode(piece, "strict", len(piece) == len(self._data))
        except UnicodeDecodeError:
            raise ArchiveError("its table of contents is not UTF-8") from None
        self._begin += self._at
        self._part, self._at = self._part[self._at :] + text, 0
        self._data = self._data[used:]

    def _next(self) -> str:
        """Return the next character that is no space, "" at the end; it stays the next one."""
        while True:
            part, at = self._part, self._at
            while at < len(part) and part[at] in " \t\r\n":
                at += 1
            self._at = at
            if at < len(part) or not self._data:
                return part[at : at + 1]
            self._fill()

    def _take(self, characters: str) -> str:
        """Take one of ``characters``, which must come next."""
        found = self._next()
        if not found or found not in characters:
            raise self._wrong()
        self._at += 1
        return found

    def _wrong(self) -> ArchiveError:
        more = f", or has a value of more than {_VALUE_LIMIT:,} bytes" if self._data else ""
        at = self._begin + self._at
        return ArchiveError(f"its table of contents is not JSON{more}, at character {at}")
