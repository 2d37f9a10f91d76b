"""The compiled record of the files of a level, which a start reads in their place.

It is a small file of fields, each ended by NUL: a mark, the files with their stamps, the keys with
their sources and values, and a sum of all that.  The site's is in /etc/sundog, by root, and the
user's in ``~/.cache/sundog``.  It is never in the storage directory, whose place is itself a key.

A stamp is an inode's number, its size and times.  A record with another stamp than a file has now
does not count, nor does one that others may have written, that is damaged, or that has keys of
another version: then the files are read.  Binds do not show the directory of the user's record.
The compiled start reads the same records: native/settings.c.
"""

from __future__ import annotations

import os

from sundog.base.configuration.keys import KNOWN
from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import decode_text, encode_text
from sundog.base.kernel.modes import S_IFMT, S_IFREG
from sundog.base.kernel.stub import read_all

RECORD_MARK = b"sundog settings 1"
RECORD_LIMIT = 1 << 16  # bytes
OTHERS_WRITE_RECORD = 0o022
RECORD_PRIME = 4294967291  # the sum is the remainder of the bytes as one number
_END = b"\0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.configuration.level import Level, Said, Stamps


def read_record(level: Level, stamps: Stamps) -> Said | None:
    """Return what the record of a level says; None if it does not count.

    ``stamps`` are those that the level's files have now, but for parts.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        with Closing(os.open(level.record, flags)) as fd:
            status = os.fstat(fd)
            is_ours = status.st_uid == level.writer and not status.st_mode & OTHERS_WRITE_RECORD
            if status.st_mode & S_IFMT != S_IFREG or not is_ours or status.st_size > RECORD_LIMIT:
                return None
            data = read_all(fd)
        return _said(data, level, stamps)
    except (OSError, ValueError, StopIteration):
        return None


def _said(data: bytes, level: Level, stamps: Stamps) -> Said | None:
    """Return what a record says; None if it is stale.  Raises ValueError and StopIteration."""
    body, _, summed = data.rpartition(_END)[0].rpartition(_END)
    fields = iter(body.split(_END))
    if next(fields) != RECORD_MARK or int(summed) != _sum(body):
        return None
    for number in range(int(next(fields))):
        path, stamp = next(fields), next(fields)
        now = stamps[number] if number < len(stamps) else (path, level.stamp(path))
        if (path, stamp) != now:
            return None
    said: Said = {}
    for _ in range(int(next(fields))):
        key = decode_text(next(fields))
        source = decode_text(next(fields))
        if key not in KNOWN or key in said:
            return None
        # No generator: it would make a RuntimeError of the end of the fields.
        said[key] = tuple([next(fields) for _ in range(int(next(fields)))]), source
    return said if next(fields, None) is None else None


def pack_record(stamps: Stamps, said: Said) -> bytes:
    """Return the record of files with these stamps that say this."""
    fields = [RECORD_MARK, b"%d" % len(stamps)]
    for path, stamp in stamps:
        fields += [path, stamp]
    fields.append(b"%d" % len(said))
    for name, (values, source) in said.items():
        fields += [encode_text(name), encode_text(source), b"%d" % len(values), *values]
    body = _END.join(fields)
    return b"%b%b%d%b" % (body, _END, _sum(body), _END)


def _sum(body: bytes) -> int:
    return int.from_bytes(body, "big") % RECORD_PRIME
