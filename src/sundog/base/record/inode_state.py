"""The state file of fakeroot(1): what a run of a mock root remembers about files, by inode.

Format: a line for each file, with hexadecimal, decimal and octal numbers as here:

    dev=fe00,ino=4711,mode=104755,uid=1,gid=2,nlink=1,rdev=0

fakeroot stops reading at the first line of another form.  So behind these lines may follow lines
that only Sundog reads, with what the format has no room for:

    sundog,dev=fe00,ino=4711,birth=1764196800000000000,permissions=4755,xattr=NAME:VALUE

``birth`` is the mark that tells the file from later ones with its number.  ``permissions`` are
there if the inode does not have them.  Names and values of attributes are hexadecimal.

A state file is as trustworthy as any file of a user: each number has a bound, and each line too.
"""

from __future__ import annotations

from sundog.base.kernel.modes import (
    MODE_MASK,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    S_IFSOCK,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_STATE_FIELDS = (
    ("dev", 16, 64),
    ("ino", 10, 64),
    ("mode", 8, 16),
    ("uid", 10, 32),
    ("gid", 10, 32),
    ("nlink", 10, 32),
    ("rdev", 10, 64),
)
FILE_TYPES = (S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK)
_OWN_WORD = b"sundog"
_DIGITS = b"0123456789abcdef"
_NUMBER_LIMIT = 22  # 64 bits in octal digits
_LINE_LIMIT = 1 << 18  # all attributes of a file in hexadecimal digits, and more
_NAME_LENGTH_LIMIT, _XATTRS_LIMIT = 255, 1 << 16  # bytes: of a name, of all attributes of a file

# Device number of the file system, and inode number.
InodeKey = tuple[int, int]


class InodeEntry:
    """The record of one inode in a state file.

    mode, uid, gid, rdev    as stat(2) shows them
    birth                   the mark of the inode's birth; -1: unknown
    permissions             the twelve mode bits if the inode does not have them, else -1
    xattrs                  attributes that the inode does not have
    """

    __slots__ = ("birth", "gid", "mode", "permissions", "rdev", "uid", "xattrs")

    def __init__(
        self,
        mode: int,
        uid: int,
        gid: int,
        rdev: int = 0,
        *,
        birth: int = -1,
        permissions: int = -1,
        xattrs: dict[bytes, bytes] | None = None,
    ) -> None:
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.rdev = rdev
        self.birth = birth
        self.permissions = permissions
        self.xattrs = xattrs

    def values(self) -> tuple[object, ...]:
        """Return the values of all fields; equal entries have equal values."""
        return tuple([getattr(self, field) for field in self.__slots__])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InodeEntry) and self.values() == other.values()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"InodeEntry{self.values()!r}"


def pack_inode_state(entries: Iterable[tuple[InodeKey, InodeEntry]]) -> bytes:
    """Return the content of the state file that has ``entries``."""
    plain, own = [], []
    for (device, inode), entry in entries:
        place = b"dev=%x,ino=%d" % (device, inode)
        links = 2 if entry.mode & S_IFMT == S_IFDIR else 1
        plain.append(
            b"%s,mode=%o,uid=%d,gid=%d,nlink=%d,rdev=%d\n"
            % (place, entry.mode, entry.uid, entry.gid, links, entry.rdev)
        )
        words = [_OWN_WORD, place]
        if entry.birth >= 0:
            words.append(b"birth=%d" % entry.birth)
        if entry.permissions >= 0:
            words.append(b"permissions=%o" % entry.permissions)
        for name, value in (entry.xattrs or {}).items():
            words.append(b"xattr=%s:%s" % (name.hex().encode(), value.hex().encode()))
        if len(words) > 2:
            own.append(b",".join(words) + b"\n")
    return b"".join(plain + own)


def unpack_inode_state(data: bytes) -> dict[InodeKey, InodeEntry]:
    """Return the entries of the state file with the content ``data``.

    The last line about an inode counts.  Raises ValueError, which names the line, if a line has
    another form or an impossible value.
    """
    entries: dict[InodeKey, InodeEntry] = {}
    for number, line in enumerate(_lines_of(data), 1):
        try:
            if line.startswith(_OWN_WORD + b","):
                _add_own_line(entries, line[len(_OWN_WORD) + 1 :])
            elif line:
                key, entry = _plain_line(line)
                entries[key] = entry
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return entries


def _lines_of(data: bytes) -> Iterator[bytes]:
    """Yield the lines of ``data``, without a copy of the whole."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        yield data[start : min(end, start + _LINE_LIMIT)]
        start = end + 1


def _plain_line(line: bytes) -> tuple[InodeKey, InodeEntry]:
    """Return what a line of fakeroot's format says.  Raises ValueError."""
    words = line.split(b",")
    if len(words) != len(_STATE_FIELDS):
        raise ValueError("not a line of fakeroot's format")
    device, inode, mode, uid, gid, _, rdev = [
        _field_number(word, *field) for word, field in zip(words, _STATE_FIELDS, strict=True)
    ]
    if mode & S_IFMT not in FILE_TYPES:
        raise ValueError(f"mode {mode:o} has no type of file")
    return (device, inode), InodeEntry(mode, uid, gid, rdev)


def _add_own_line(entries: dict[InodeKey, InodeEntry], line: bytes) -> None:
    """Add what a line of Sundog says to the entry that it is about.  Raises ValueError."""
    words = line.split(b",")
    if len(words) < 2:
        raise ValueError("it names no inode")
    key = _field_number(words[0], *_STATE_FIELDS[0]), _field_number(words[1], *_STATE_FIELDS[1])
    entry = entries.get(key)
    if entry is None:
        raise ValueError("no line before it is about the same inode")
    xattrs: dict[bytes, bytes] = {}
    for word in words[2:]:
        if word.startswith(b"birth="):
            entry.birth = _field_number(word, "birth", 10, 63)
        elif word.startswith(b"permissions="):
            entry.permissions = _field_number(word, "permissions", 8, 16) & MODE_MASK
        elif word.startswith(b"xattr="):
            name, _, value = word[len(b"xattr=") :].partition(b":")
            xattrs[_from_hex(name)] = _from_hex(value)
        else:
            raise ValueError("it has an unknown word")
    entry.xattrs = _checked_xattrs(xattrs) or None


def _checked_xattrs(xattrs: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Return ``xattrs``.  Raises ValueError if the supervisor would not keep them."""
    if any(not 0 < len(name) <= _NAME_LENGTH_LIMIT or b"\0" in name for name in xattrs):
        raise ValueError("the name of an attribute is empty, too long, or has a NUL")
    if sum(len(name) + len(value) for name, value in xattrs.items()) > _XATTRS_LIMIT:
        raise ValueError("the attributes of a file are too large")
    return xattrs


def _field_number(word: bytes, name: str, base: int, bits: int) -> int:
    """Return the number in the word ``NAME=NUMBER``.  Raises ValueError."""
    found, equals, digits = word.partition(b"=")
    if found != name.encode() or not equals:
        raise ValueError(f"{name}= is missing")
    if not 0 < len(digits) <= _NUMBER_LIMIT or digits.strip(_DIGITS[:base]):
        raise ValueError(f"{name} is no number of base {base}")
    value = int(digits, base)
    if value >> bits:
        raise ValueError(f"{name} is too large")
    return value


def _from_hex(digits: bytes) -> bytes:
    """Return the bytes that hexadecimal ``digits`` mean.  Raises ValueError."""
    return bytes.fromhex(digits.decode("ascii"))
