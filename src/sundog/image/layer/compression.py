"""Read a compressed stream: gzip, bzip2, xz, zstd or nothing.

The first bytes tell the format; names and media types do not count.  Memory is bounded: a
decompressor returns at most ``CHUNK`` bytes at a time.  ``layer.limits`` bounds the total.  A
stream may consist of several members in a row (RFC 1952 §2.2, RFC 8878 §3.1), as pigz, estargz and
zstd:chunked write them; the time is linear, however short the members are.

gzip uses ISA-L where it is installed, which takes 2.5 times less time than zlib.
"""

from __future__ import annotations

import io
import zlib
from functools import cache
from typing import BinaryIO, Protocol, cast

from sundog.errors import ArchiveError
from sundog.image.layer.limits import Meter, current_meter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    # Takes where a member begins in the stream, and where in what the stream unpacks to.
    Began = Callable[[int, int], None]

CHUNK = 1024 * 1024
_INPUT = 512 * 1024
_FIRST_INPUT = 4096  # of a member; few, since the rest is copied when the member ends
_XZ_MEMORY_LIMIT = 128 * 1024 * 1024  # "xz -9" needs 65 MiB


class _Decompressor(Protocol):
    """The interface that the decompressors of bz2, lzma, zstd and isal.igzip_lib share."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _ZlibDecompressor:
    """zlib's gzip decompressor, behind the same interface."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, max_length)


def _gzip() -> _Decompressor:
    try:
        from isal import igzip_lib  # an optional accelerator
    except ImportError:
        return _ZlibDecompressor()
    return cast("_Decompressor", igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP))


def import_gzip() -> None:
    """Import the decompressor of gzip, the format of most streams, ahead of its use."""
    _gzip()


def _bzip2() -> _Decompressor:
    import bz2

    return bz2.BZ2Decompressor()


def _xz() -> _Decompressor:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_LIMIT)


def zstd_decompressor() -> _Decompressor:
    """Return a decompressor of one frame of zstd."""
    return _zstd()()


@cache  # a module that is missing is looked for each time; a blob may have a frame for each file
def _zstd() -> Callable[[], _Decompressor]:
    try:
        from compression import zstd  # Python 3.14 has it
    except ImportError:
        from backports import zstd
    return cast("Callable[[], _Decompressor]", zstd.ZstdDecompressor)


GZIP_MAGIC, ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# Format → (possible first bytes, decompressor).  0x184D2A50 to 5F begin a skippable frame of zstd.
_FORMATS: dict[str, tuple[tuple[bytes, ...], Callable[[], _Decompressor]]] = {
    "gzip": ((GZIP_MAGIC,), _gzip),
    "bzip2": ((b"BZh",), _bzip2),
    "xz": ((b"\xfd7zXZ\0",), _xz),
    "zstd": (
        (ZSTD_MAGIC, *(bytes((i, 0x2A, 0x4D, 0x18)) for i in range(0x50, 0x60))),
        zstd_decompressor,
    ),
}
_LONGEST_MAGIC = 6


class _Ahead(io.RawIOBase):
    """A stream of bytes that were read ahead and of the rest of ``raw``; ``meter`` counts all."""

    def __init__(self, ahead: bytes, raw: BinaryIO, meter: Meter | None = None) -> None:
        self._ahead = ahead
        self._raw = raw
        self._meter = meter

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return self.readall()
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
        else:
            data = self._raw.read(size)
        if self._meter is not None:
            if self._meter.counts_input:
                self._meter.fetched(len(data))
            self._meter.unpacked(len(data))
        return data


class _Decompressed(io.RawIOBase):
    """The uncompressed bytes of a compressed stream.

    One read returns at most ``CHUNK`` bytes.  Raises ArchiveError when the stream is damaged, ends
    early, or unpacks to more than ``meter`` allows.  ``began`` hears of each member.
    """

    def __init__(
        self,
        raw: BinaryIO,
        name: str,
        make: Callable[[], _Decompressor],
        meter: Meter,
        *,
        began: Began | None = None,
    ) -> None:
        self._raw = raw
        self._name = name
        self._make = make
        self._meter = meter
        self._member = make()
        self._before = 0  # bytes of the stream in front of the input
        self._input = b""
        self._position = 0  # in the input; the bytes before it went to the member
        self._step = _FIRST_INPUT
        self._given = 0  # bytes that came out
        self._ended = False
        self._began = began
        if began is not None:
            began(0, 0)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return self.readall()
        limit = min(size, CHUNK)
        data = b""
        while not data and not self._ended and limit:
            if self._member.eof:
                self._next_member()
            elif not self._member.needs_input:
                data = self._decompress(b"", limit)
            else:
                more = self._take()
                data = self._decompress(more, limit)  # also b"": zlib may hold output back
                if not more and not data and not self._member.eof:
                    raise ArchiveError(f"the {self._name} stream ends early")
        self._given += len(data)
        self._meter.unpacked(len(data))
        return data

    def _take(self) -> bytes:
        """Return the next bytes of the stream: a few at the start of a member, then ever more."""
        if self._position >= len(self._input):
            self._refill()
        taken = self._input[self._position : self._position + self._step]
        self._position += len(taken)
        self._step = min(2 * self._step, _INPUT)
        return taken

    def _refill(self) -> None:
        self._before += len(self._input)
        self._input = self._raw.read(_INPUT)
        self._position = 0
        if self._meter.counts_input:
            self._meter.fetched(len(self._input))

    def _next_member(self) -> None:
        """Begin the member that follows this one.  Zeros between members are padding."""
        # The unused bytes are the end of what ``_take`` returned last.
        self._position -= len(self._member.unused_data)
        self._step = _FIRST_INPUT
        while not (rest := self._take().lstrip(b"\0")) and self._input:
            pass
        self._position -= len(rest)
        self._step = _FIRST_INPUT
        if rest:
            self._member = self._make()
            if self._began is not None:
                self._began(self._before + self._position, self._given)
        else:
            self._ended = True

    def _decompress(self, data: bytes, limit: int) -> bytes:
        try:
            return self._member.decompress(data, limit)
        except Exception as error:  # each library has its own type, and bz2 raises OSError
            raise ArchiveError(f"the {self._name} stream is damaged: {error}") from error


def is_compressed(head: bytes) -> bool:
    """Tell whether ``head``, the first bytes of a stream, is that of a compressed one."""
    return any(head.startswith(magics) for magics, _ in _FORMATS.values())


def rejoined(head: bytes, rest: BinaryIO) -> BinaryIO:
    """Return a stream of ``head``, which the caller has read already, followed by ``rest``."""
    return cast("BinaryIO", _Ahead(head, rest))


def open_decompressed(
    raw: BinaryIO, meter: Meter | None = None, began: Began | None = None
) -> BinaryIO:
    """Return a stream of the uncompressed contents of ``raw``, from its current position on.

    ``raw`` is best unbuffered; this neither seeks in it nor closes it.  An unknown format counts as
    uncompressed.  ``meter`` counts what comes out; None means ``current_meter``.  ``began`` hears
    of each member of a compressed stream.
    """
    meter = meter or current_meter()
    ahead = b""
    while len(ahead) < _LONGEST_MAGIC and (more := raw.read(_LONGEST_MAGIC - len(ahead))):
        ahead += more
    for name, (magics, make) in _FORMATS.items():
        if ahead.startswith(magics):
            stream = _Decompressed(rejoined(ahead, raw), name, make, meter, began=began)
            return cast("BinaryIO", stream)
    return cast("BinaryIO", _Ahead(ahead, raw, meter))
