"""Records of pax extended headers: ``LENGTH KEY=VALUE LF``; LENGTH, in decimal, is of all this.

Specification: POSIX.1-2024, pax, "pax Extended Header".  Keys and values are bytes here, as names
are in Unix; Docker, GNU tar and libarchive read and write raw bytes too.  There are two forms of
extended attributes: ``SCHILY.xattr.NAME`` (star, GNU tar, Docker: a raw value) and
``LIBARCHIVE.xattr.NAME`` (bsdtar: name in URL encoding, value in base64).  ``SCHILY.acl.*`` holds
an access control list as text, which is kept as an attribute of that name.
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import quote_from_bytes, unquote_to_bytes

from sundog.errors import ArchiveError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SCHILY_XATTR = b"SCHILY.xattr."
_LIBARCHIVE_XATTR = b"LIBARCHIVE.xattr."
_SCHILY_ACL = b"SCHILY.acl."
_NANOSECONDS = 1_000_000_000


def parse_records(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the records of an extended header, in order.  Raises ArchiveError."""
    records = []
    start = 0
    while start < len(data):
        space = data.find(b" ", start, start + 20)
        length = data[start:space] if space > start else b""
        end = start + int(length) if length.isdigit() else 0
        if not start < space < end <= len(data) or data[end - 1] != 0x0A:
            raise ArchiveError("damaged pax header: a record's length is wrong")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or not key:
            raise ArchiveError("damaged pax header: a record without a key")
        records.append((key, value))
        start = end
    return records


def format_records(records: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the extended header that holds ``records``."""
    formatted = []
    for key, value in records:
        rest = b" %s=%s\n" % (key, value)
        length = len(rest) + len(str(len(rest)))
        length = len(rest) + len(str(length))  # the length counts its own digits
        formatted.append(b"%d%s" % (length, rest))
    return b"".join(formatted)


def xattrs_of(records: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the extended attributes and access control lists among ``records``."""
    xattrs = {}
    for key, value in records.items():
        if key.startswith(_SCHILY_XATTR):
            xattrs[key.removeprefix(_SCHILY_XATTR)] = value
        elif key.startswith(_LIBARCHIVE_XATTR):
            name = unquote_to_bytes(key.removeprefix(_LIBARCHIVE_XATTR))
            xattrs.setdefault(name, _from_base64(value))
        elif key.startswith(_SCHILY_ACL):
            xattrs[key] = value
    return {name: value for name, value in xattrs.items() if name and b"\0" not in name}


def xattr_record(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Return the record of one extended attribute, or of an access control list kept as one."""
    if name.startswith(_SCHILY_ACL):
        return name, value
    if b"=" in name:  # SCHILY's key ends at the first "="
        key = _LIBARCHIVE_XATTR + quote_from_bytes(name, safe="").encode()
        return key, base64.b64encode(value)
    return _SCHILY_XATTR + name, value


def parse_time(text: bytes) -> int:
    """Return the nanoseconds of a decimal number of seconds.  Raises ArchiveError."""
    sign = -1 if text.startswith(b"-") else 1
    seconds, _, fraction = text.removeprefix(b"-").partition(b".")
    if not seconds.isdigit() or len(seconds) > 20 or not (fraction + b"0").isdigit():
        raise ArchiveError("damaged pax header: a time is not a number")
    return sign * (int(seconds) * _NANOSECONDS + int(fraction[:9].ljust(9, b"0")))


def format_time(nanoseconds: int) -> bytes:
    """Return ``nanoseconds`` as the shortest decimal number of seconds."""
    seconds, fraction = divmod(abs(nanoseconds), _NANOSECONDS)
    text = b"%s%d.%09d" % (b"-" if nanoseconds < 0 else b"", seconds, fraction)
    return text.rstrip(b"0").removesuffix(b".")


def parse_number(text: bytes) -> int:
    """Return a decimal number, which may be negative.  Raises ArchiveError."""
    digits = text.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 20:
        raise ArchiveError("damaged pax header: not a number")
    return int(text)


def _from_base64(text: bytes) -> bytes:
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ArchiveError("damaged pax header: an attribute is not in base64") from error
