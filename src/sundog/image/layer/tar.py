"""Read a tar archive, member by member.

Formats: old V7, POSIX ustar and pax with global headers (POSIX.1-2024, pax), GNU with long names,
star's prefix, and the sparse files of GNU tar.

The reader trusts nothing.  Whatever the bytes are, it raises only ArchiveError, and holds in memory
no more than a few chunks of the stream, 1 MiB of headers in front of a member, and 64 KiB of global
headers.  It does not judge names; ``layer.unpack`` does.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from sundog.errors import ArchiveError, EndsEarly
from sundog.image.layer.chunks import Chunks
from sundog.image.layer.header import BLOCK, NANOSECONDS, WITHOUT_DATA, Member, parse_header
from sundog.image.layer.names import display
from sundog.image.layer.pax import parse_number, parse_records, parse_time, xattrs_of
from sundog.image.layer.source import Source
from sundog.image.layer.sparse import Map, check_map, data_map, old_map, pax_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ZEROS = bytes(BLOCK)
_PRECEDING_LIMIT = 1 << 20  # bytes; Go's archive/tar takes as much of each kind
# Limits for global headers.  They hold for all later members; real ones have a comment or a time.
_GLOBALS_LIMIT = 64 << 10  # bytes
_GLOBALS_COUNT = 100
_SIZE_LIMIT = 1 << 63
_ID_LIMIT = 1 << 32
_TIME_LIMIT = (1 << 62) * NANOSECONDS
_DEVICE_LIMIT = 1 << 20  # of a minor number; a major one has 12 bits in the kernel

# Headers that precede a member and describe it.
_EXTENDED = frozenset((b"x", b"X"))  # pax; "X" is Solaris's name for it
_GLOBAL = b"g"
_LONG_NAMES = {b"L": b"path", b"K": b"linkpath"}  # GNU → the pax key that says the same
_IGNORED = frozenset((b"V", b"A"))  # GNU: the volume's label; Solaris: a list of access control
_PRECEDING = _EXTENDED | {_GLOBAL} | _LONG_NAMES.keys() | _IGNORED

_SPARSE_PAIRS = frozenset((b"GNU.sparse.offset", b"GNU.sparse.numbytes"))
_SPARSE_MAP = b"GNU.sparse.map"


class TarReader:
    """The members of the archive in ``stream``, or in its chunks, in order.

    Iterate over it once.  During an iteration, ``copy_data`` writes the data of that member.  After
    the last one, the stream has been read to its end: ``digest`` and ``size`` are final.  Raises
    ArchiveError; ``place`` then says where, in words that begin a message.
    """

    def __init__(self, stream: BinaryIO | Chunks) -> None:
        self._source = Source(stream if isinstance(stream, Chunks) else Chunks(stream))
        self._data = 0  # bytes of the member's data that are still in the stream
        self._padding = 0  # bytes between them and the next header
        self._sparse: Map | None = None
        self._size = 0  # of the member's file, holes included
        self._globals: dict[bytes, bytes] = {}
        self._preceding: dict[bytes, bytes] = {}
        self._preceding_size = 0  # of all headers since the last member, with their data
        self._name: bytes | None = None
        self._in_member = False

    @property
    def digest(self) -> str:
        """The digest of the stream, ``sha256:HEX``."""
        return self._source.digest

    @property
    def size(self) -> int:
        """The length of the stream in bytes."""
        return self._source.size

    @property
    def position(self) -> int:
        """The bytes of the stream in front of what comes next: of the member's data, say."""
        return self._source.position

    @property
    def place(self) -> str:
        """The position of the reader, in words: in a member, after one, or at the beginning."""
        if self._name is None:
            return "at the beginning"
        return f"{'' if self._in_member else 'after '}{display(self._name)}"

    @property
    def holes(self) -> int:
        """The bytes in the holes of the member's file, which the archive does not hold."""
        if self._sparse is None:
            return 0
        return self._size - sum(length for _, length in self._sparse)

    def __iter__(self) -> Iterator[Member]:
        if self._source.at_end():
            raise ArchiveError("the archive is empty")
        zero_blocks = 0
        # Two blocks of zeros end an archive; some programs leave them out.
        while zero_blocks < 2 and not self._source.at_end():
            block = self._block()
            if block == _ZEROS:
                zero_blocks += 1
                continue
            zero_blocks = 0
            member = self._parse(block)
            if member.typeflag in _PRECEDING:
                self._take_preceding(member)
                continue
            self._begin(member, block)
            yield member
            self._in_member = False
            self._source.skip(self._data + self._padding)
        if self._preceding:
            raise ArchiveError("the archive ends early")
        self._source.drain()

    def copy_data(self, fd: int) -> None:
        """Write the data of the current member to ``fd``, an empty file; holes stay holes."""
        if self._sparse is None:
            self._source.copy(fd, self._data)
        else:
            os.ftruncate(fd, self._size)
            for offset, length in self._sparse:
                os.lseek(fd, offset, os.SEEK_SET)
                self._source.copy(fd, length)
        self._data = 0

    def read_data(self, size: int) -> Iterator[bytes]:
        """Yield the data of the current member, which is not sparse, ``size`` bytes at a time."""
        while self._data:
            taken = min(size, self._data)
            yield self._source.take(taken)
            self._data -= taken

    def _block(self) -> bytes:
        try:
            return self._source.take(BLOCK)
        except EndsEarly as error:
            if self._source.size < BLOCK:
                raise ArchiveError("this is not a tar archive: too short for one") from error
            raise

    def _parse(self, block: bytes) -> Member:
        try:
            return parse_header(block)
        except ArchiveError as error:
            if self._name is None and not self._preceding:
                raise ArchiveError("this is not a tar archive") from error
            raise

    def _take_preceding(self, header: Member) -> None:
        """Take a header that describes the member after it."""
        self._preceding_size += BLOCK + header.size
        if header.size < 0 or self._preceding_size > _PRECEDING_LIMIT + BLOCK:
            raise ArchiveError("an extended header is too long")
        data = self._source.take(header.size)
        self._source.skip(-header.size % BLOCK)
        if header.typeflag in _LONG_NAMES:
            self._preceding[_LONG_NAMES[header.typeflag]] = data.partition(b"\0")[0]
        elif header.typeflag == _GLOBAL:
            self._globals.update(parse_records(data))
            size = sum(len(key) + len(value) for key, value in self._globals.items())
            if size > _GLOBALS_LIMIT or len(self._globals) > _GLOBALS_COUNT:
                raise ArchiveError("its global headers hold too much")
        elif header.typeflag in _EXTENDED:
            pairs = []
            for key, value in parse_records(data):
                if key in _SPARSE_PAIRS:  # pax 0.0 repeats two keys; 0.1 has one list instead
                    pairs.append(value)
                else:
                    self._preceding[key] = value
            if pairs:
                self._preceding[_SPARSE_MAP] = b",".join(pairs)

    def _begin(self, member: Member, block: bytes) -> None:
        """Apply the headers in front of ``member`` to it, and find out where its data are."""
        records = self._preceding
        if records or self._globals:
            records = {**self._globals, **records}
            self._preceding = {}
            apply_records(records, member)
        self._preceding_size = 0
        self._name = member.name
        self._in_member = True
        if not member.kind:
            flag = member.typeflag.decode("latin-1")
            raise ArchiveError(f"members of type {flag!r} are not supported")
        if not (0 <= member.uid < _ID_LIMIT and 0 <= member.gid < _ID_LIMIT):
            raise ArchiveError("its owner is out of range")
        if not (0 <= member.major < _DEVICE_LIMIT and 0 <= member.minor < _DEVICE_LIMIT):
            raise ArchiveError("its device number is out of range")
        if not -_TIME_LIMIT < member.mtime_ns < _TIME_LIMIT:
            raise ArchiveError("its time is out of range")
        if not 0 <= member.size < _SIZE_LIMIT:
            raise ArchiveError("its size is out of range")
        self._data = 0 if member.typeflag in WITHOUT_DATA else member.size
        self._padding = -self._data % BLOCK
        self._sparse = self._take_sparse(member, block, records)
        self._size = member.size
        if member.kind == "f" and not member.size and member.name.endswith(b"/"):
            member.kind = "d"  # V7 has no type for directories

    def _take_sparse(self, member: Member, block: bytes, records: dict[bytes, bytes]) -> Map | None:
        """Return the map of ``member`` if it is sparse; then set its size to that of the file."""
        if member.typeflag == b"S":
            entries, member.size = old_map(block, self._source)
        elif (major := records.get(b"GNU.sparse.major", b"0")) != b"0":
            if major != b"1":
                raise ArchiveError("sparse files of this version are not supported")
            entries, taken = data_map(self._source)
            self._data -= taken
        elif _SPARSE_MAP in records:
            entries = pax_map(records[_SPARSE_MAP])
        else:
            return None
        if size := records.get(b"GNU.sparse.realsize") or records.get(b"GNU.sparse.size"):
            member.size = parse_number(size)
        if not 0 <= member.size < _SIZE_LIMIT:
            raise ArchiveError("its size is out of range")
        check_map(entries, member.size, self._data)
        return entries


def apply_records(records: Mapping[bytes, bytes], member: Member) -> None:
    """Let ``records`` overrule the header of ``member``; an empty value overrules nothing."""
    member.name = records.get(b"GNU.sparse.name") or records.get(b"path") or member.name
    member.link = records.get(b"linkpath") or member.link
    if number := records.get(b"size"):
        member.size = parse_number(number)
    if number := records.get(b"uid"):
        member.uid = parse_number(number)
    if number := records.get(b"gid"):
        member.gid = parse_number(number)
    if time := records.get(b"mtime"):
        member.mtime_ns = parse_time(time)
    member.xattrs = xattrs_of(records)
