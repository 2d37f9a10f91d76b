"""The 512 bytes in front of each member of a tar archive.

Specification: POSIX.1-2024, pax, "ustar Interchange Format"; GNU tar's manual, "Basic Tar Format",
for numbers in base 256 and star's prefix.  Which types carry data follows Go's archive/tar, with
which Docker reads layers.
"""

from __future__ import annotations

import functools
import struct

from sundog.errors import ArchiveError

BLOCK = 512
NANOSECONDS = 1_000_000_000
_OCTAL = b"01234567"

# name mode uid gid size mtime checksum typeflag link magic uname gname devmajor devminor prefix
_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s8s64x8s8s155s12x")
_CHECKSUM = slice(148, 156)
_STAR_PREFIX = slice(345, 476)  # star keeps times where ustar's prefix ends
_STAR_MAGIC = slice(508, 512)

# Type flag → kind of member: as in record.owners, and "h", a hard link.
_KINDS = {
    b"0": "f",
    b"\0": "f",  # V7
    b"7": "f",  # "contiguous"
    b"S": "f",  # GNU: sparse
    b"1": "h",
    b"2": "l",
    b"3": "c",
    b"4": "b",
    b"5": "d",
    b"D": "d",  # GNU: a directory in an incremental archive; the data are its listing
    b"6": "p",
}
WITHOUT_DATA = frozenset((b"1", b"2", b"3", b"4", b"5", b"6"))
_NO_XATTRS: dict[bytes, bytes] = {}


class Member:
    """One header; once the reader has applied the extended headers before it, one member.

    kind      ``f d l c b p`` as in ``record.owners``, ``h`` for a hard link, "" if neither
    name      as in the archive: not checked, not normalised
    link      the target of a symbolic or hard link
    size      bytes of data that follow the header
    mtime_ns  nanoseconds since 1970
    xattrs    extended attributes, name → value; shared, not to be changed
    """

    __slots__ = (
        "gid",
        "kind",
        "link",
        "major",
        "minor",
        "mode",
        "mtime_ns",
        "name",
        "size",
        "typeflag",
        "uid",
        "xattrs",
    )

    gid: int
    kind: str
    link: bytes
    major: int
    minor: int
    mode: int
    mtime_ns: int
    name: bytes
    size: int
    typeflag: bytes
    uid: int
    xattrs: dict[bytes, bytes]


def parse_header(block: bytes) -> Member:
    """Parse the header ``block`` of 512 bytes.  Raises ArchiveError."""
    (
        name, mode, uid, gid, size, mtime, checksum, typeflag, link, magic, major, minor, prefix
    ) = _FIELDS.unpack(block)  # fmt: skip
    if not _is_sum(parse_field(checksum), block):
        raise ArchiveError("the checksum of a header is wrong")
    member = Member()
    member.name = name.partition(b"\0")[0]
    if magic[:6] == b"ustar\0" and prefix[0]:
        if block[_STAR_MAGIC] == b"tar\0":
            prefix = block[_STAR_PREFIX]
        member.name = b"%s/%s" % (prefix.partition(b"\0")[0], member.name)
    member.mode = parse_field(mode) & 0o7777
    member.uid = parse_field(uid)
    member.gid = parse_field(gid)
    member.size = parse_field(size)
    member.mtime_ns = parse_field(mtime) * NANOSECONDS
    member.typeflag = typeflag
    member.kind = _KINDS.get(typeflag, "")
    member.link = link.partition(b"\0")[0]
    member.major = parse_field(major)
    member.minor = parse_field(minor)
    member.xattrs = _NO_XATTRS
    return member


def format_header(
    name: bytes,
    *,
    typeflag: bytes,
    mode: int = 0,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 0,
    link: bytes = b"",
    major: int = 0,
    minor: int = 0,
    prefix: bytes = b"",
) -> bytes:
    """Return a ustar header.  Each value must fit its field."""
    block = bytearray(
        _FIELDS.pack(
            name,
            b"%07o\0" % mode,
            b"%07o\0" % uid,
            b"%07o\0" % gid,
            b"%011o\0" % size,
            b"%011o\0" % mtime,
            b" " * 8,
            typeflag,
            link,
            b"ustar\x0000",
            b"%07o\0" % major,
            b"%07o\0" % minor,
            prefix,
        )
    )
    block[_CHECKSUM] = b"%06o\0 " % sum(block)
    return bytes(block)


@functools.lru_cache(maxsize=4096)  # modes, owners and times repeat themselves
def parse_field(field: bytes) -> int:
    """Return the number in a field: octal digits, or two's complement if the first bit is set.

    Raises ArchiveError.
    """
    if field[0] & 0x80:
        width = len(field) * 8 - 1
        value = int.from_bytes(field, "big") & ((1 << width) - 1)
        return value - (1 << width) if value >> (width - 1) else value
    digits = field.strip(b" \0").partition(b"\0")[0].rstrip(b" ")
    if not digits:
        return 0
    if digits.translate(None, _OCTAL):
        raise ArchiveError("a number in a header is not octal")
    return int(digits, 8)


def _is_sum(number: int, block: bytes) -> bool:
    """Tell whether ``number`` is the sum of the bytes of ``block``, its checksum field blank.

    Some old programs summed signed bytes.
    """
    blank = block[: _CHECKSUM.start] + b" " * 8 + block[_CHECKSUM.stop :]
    total = sum(blank)
    return number == total or number == total - 256 * sum(byte > 127 for byte in blank)
