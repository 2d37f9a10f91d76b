"""``starts/NAME``: which parts of layer files a start read, so that they come first the next time.

The name stands for an image and a command.  After the first line, each line has the ID of a layer,
and the blocks of its file (of LAZY_BLOCK bytes) in the order in which they were read first, as in
``17 20-24 3``.

A record is a hint: if it is old, damaged or a stranger's, other bytes come first, each is checked
as always, and nothing else happens.
"""

from __future__ import annotations

import os
from binascii import crc32

from sundog.base.kernel.files import Closing, open_regular
from sundog.base.kernel.mounts import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    # An open directory, the name of the record in it, and whether it is ``starts``.
    StartRecord = tuple[int, bytes, bool]

STARTS = b"starts"
STARTS_LIMIT = 256  # records in ``starts``; the oldest ones go
_START_LIMIT = 1 << 19  # bytes of a record: blocks that are apart have numbers of their own
RECORDED_BLOCKS = 1 << 15  # in a record: what a start reads after 512 MiB comes as all the rest
_HEAD = b"sundog start 1"
_DIGITS = 10  # of a number of a block


def start_name(layers: Sequence[bytes], command: Sequence[bytes]) -> bytes:
    """Return the name of the record of ``command`` in the image that has ``layers``."""
    key = b"\0".join([*layers, b"", *command])
    return b"%08x%08x" % (crc32(key), crc32(key[::-1]))


def pack_start(read: Mapping[bytes, Iterable[int]]) -> bytes:
    """Return the record of a start; ``read`` has the blocks by layer, in order."""
    lines = [_HEAD]
    for layer, blocks in read.items():
        runs: list[list[int]] = []
        for block in blocks:
            if runs and block == runs[-1][1] + 1:
                runs[-1][1] = block
            else:
                runs.append([block, block])
        words = [b"%d" % one if one == end else b"%d-%d" % (one, end) for one, end in runs]
        lines.append(b" ".join([layer, *words]))
    return b"\n".join([*lines, b""])


def is_start(data: bytes) -> bool:
    """Tell whether ``data`` begins as a record of any version."""
    return data.startswith(_HEAD[:-1])


def read_start(directory: int, name: bytes) -> dict[bytes, list[int]]:
    """Return the blocks by layer of a record in an open directory; none if they can't be known."""
    try:
        fd = open_regular(directory, name, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
        if fd < 0:
            return {}
        with Closing(fd):
            data = os.pread(fd, _START_LIMIT + 1, 0)
    except OSError:
        return {}
    return unpack_start(data) if len(data) <= _START_LIMIT else {}


def unpack_start(data: bytes) -> dict[bytes, list[int]]:
    """Return the blocks by layer; none if ``data`` is no record."""
    head, *lines = data.split(b"\n")
    found: dict[bytes, list[int]] = {}
    left = RECORDED_BLOCKS
    for line in lines[:-1] if head == _HEAD else ():
        layer, *words = line.split(b" ")
        blocks = found.setdefault(layer, [])
        for word in words:
            first, _, last = word.partition(b"-")
            last = last or first
            if not (first.isdigit() and last.isdigit() and len(first + last) <= 2 * _DIGITS):
                return {}
            run = range(int(first), int(last) + 1)
            left -= len(run)
            if left < 0:
                return {}
            blocks += run
    return found
