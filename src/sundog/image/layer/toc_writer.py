"""Write the table of contents of a blob, for zstd:chunked and eStargz: see ``toc``."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

from sundog.image.layer.header import NANOSECONDS
from sundog.image.layer.names import is_utf8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.image.layer.header import Member

_TYPES = {
    "f": "reg", "d": "dir", "l": "symlink", "h": "hardlink", "c": "char", "b": "block", "p": "fifo",
}  # fmt: skip
_OTHERS = (b"LIBARCHIVE.xattr.", b"SCHILY.acl.", b"GNU.sparse.")
_FIRST, _LAST = -62135596800, 253402300799  # the years 1 to 9999, which RFC 3339 can tell

TocEntry = dict[str, object]


class TocWriter:
    """The entries of a table.  ``is_true`` says that it has all that the tar has.

    It can't hold names that are not UTF-8, times before year 1 and sparse files, say.  With
    ``fraction``, times have their nanoseconds.  With ``escapes``, names may be any bytes, which
    Sundog alone reads.
    """

    def __init__(self, *, fraction: bool, escapes: bool = False) -> None:
        self.is_true = True
        self._escapes = escapes
        self._fraction = fraction
        self._entries: list[TocEntry] = []

    def add(self, member: Member, records: Mapping[bytes, bytes]) -> TocEntry:
        """Add a member, and return its entry, to which the caller adds where its data are."""
        texts = [member.name, member.link, *member.xattrs]
        is_odd = not all(map(is_utf8, texts)) and not self._escapes
        if is_odd or any(key.startswith(_OTHERS) for key in records):
            self.is_true = False
        numbers = {
            "mode": member.mode,
            "size": member.size if member.kind == "f" else 0,
            "uid": member.uid,
            "gid": member.gid,
            "devMajor": member.major if member.kind in "cb" else 0,
            "devMinor": member.minor if member.kind in "cb" else 0,
        }
        entry: TocEntry = {"type": _TYPES[member.kind], "name": self._text(member.name)}
        if member.link and member.kind in "lh":
            entry["linkName"] = self._text(member.link)
        entry |= {key: number for key, number in numbers.items() if number}
        entry["modtime"] = self._time(member.mtime_ns)
        if member.xattrs:
            entry["xattrs"] = {
                self._text(name): base64.b64encode(value).decode()
                for name, value in sorted(member.xattrs.items())
            }
        self._entries.append(entry)
        return entry

    def add_chunk(self, entry: TocEntry) -> None:
        """Add a chunk of the last file."""
        self._entries.append(entry)

    def text(self, **more: object) -> bytes:
        """Return the table, with ``more`` members."""
        value = {"version": 1, "entries": self._entries, **more}
        return json.dumps(value, separators=(",", ":"), ensure_ascii=self._escapes).encode()

    def _time(self, nanoseconds: int) -> str:
        seconds, rest = divmod(nanoseconds, NANOSECONDS)
        if not _FIRST <= seconds <= _LAST:
            self.is_true = False
            seconds = rest = 0
        if not self._fraction:  # stargz rounds
            seconds, rest = seconds + (rest >= NANOSECONDS // 2), 0
        text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
        return text + f".{rest:09}".rstrip("0").rstrip(".") + "Z"

    def _text(self, name: bytes) -> str:
        return name.decode("utf-8", "surrogateescape" if self._escapes else "replace")
