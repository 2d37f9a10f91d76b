"""Read a compressed stream, whatever compressed it: gzip, bzip2, xz, zstd or nothing.

The format is told by the first bytes, never by a name or a media type.  Memory is bounded, whatever
the stream unpacks to: a decompressor hands out at most ``CHUNK`` bytes at a time.  So is what it
unpacks to: ``layer.limits``.  A stream may be several members in a row (RFC 1952 §2.2, RFC 8878
§3.1), as pigz, estargz and zstd:chunked write; the time is linear however short they are.

gzip goes through ISA-L where it is importable: it costs 2.5 times less than zlib.
"""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from sundog.errors import ArchiveError
from sundog.layer.limits import Meter, current_meter

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = 1024 * 1024
_INPUT = 512 * 1024
_FIRST_INPUT = 4096  # of a member: what is left of it when the member ends is copied
_XZ_MEMORY_LIMIT = 128 * 1024 * 1024  # "xz -9" needs 65 MiB


class _Decompressor(Protocol):
    """What the decompressors of bz2, lzma, compression.zstd and isal.igzip_lib have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _ZlibDecompressor:
    """zlib's gzip decompressor behind the interface of the others."""

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
        from isal import igzip_lib  # noqa: PLC0415 - an optional accelerator
    except ImportError:
        return _ZlibDecompressor()
    return cast("_Decompressor", igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP))


def import_gzip() -> None:
    """Import now what will decompress gzip, which is what most streams are."""
    _gzip()


def _bzip2() -> _Decompressor:
    import bz2  # noqa: PLC0415 - seldom needed

    return bz2.BZ2Decompressor()


def _xz() -> _Decompressor:
    import lzma  # noqa: PLC0415 - seldom needed

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_LIMIT)


def _zstd() -> _Decompressor:
    try:
        from compression import zstd  # noqa: PLC0415 - Python 3.14 has it
    except ImportError:
        from backports import zstd  # noqa: PLC0415 - seldom needed
    return cast("_Decompressor", zstd.ZstdDecompressor())


# Format → (its first bytes, how to make a decompressor).  0x184D2A50 to 5F begin a skippable frame.
_FORMATS: dict[str, tuple[tuple[bytes, ...], Callable[[], _Decompressor]]] = {
    "gzip": ((b"\x1f\x8b",), _gzip),
    "bzip2": ((b"BZh",), _bzip2),
    "xz": ((b"\xfd7zXZ\0",), _xz),
    "zstd": (
        (b"\x28\xb5\x2f\xfd", *(bytes((i, 0x2A, 0x4D, 0x18)) for i in range(0x50, 0x60))),
        _zstd,
    ),
}
_LONGEST_MAGIC = 6


class _Ahead(io.RawIOBase):
    """Some bytes that were read ahead, then the rest of ``raw``; ``meter`` counts them all."""

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
    early, or unpacks to more than ``meter`` allows.
    """

    def __init__(
        self, raw: BinaryIO, name: str, make: Callable[[], _Decompressor], meter: Meter
    ) -> None:
        self._raw = raw
        self._name = name
        self._make = make
        self._meter = meter
        self._member = make()
        self._input = b""
        self._position = 0  # in the input: what is before it was given to the member
        self._step = _FIRST_INPUT
        self._ended = False

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
                data = self._decompress(more, limit)  # b"" too: zlib may hold output back
                if not more and not data and not self._member.eof:
                    raise ArchiveError(f"the {self._name} stream ends early")
        self._meter.unpacked(len(data))
        return data

    def _take(self) -> bytes:
        """Return the next bytes of the stream: few of a member's first, then ever more."""
        if self._position >= len(self._input):
            self._refill()
        taken = self._input[self._position : self._position + self._step]
        self._position += len(taken)
        self._step = min(2 * self._step, _INPUT)
        return taken

    def _refill(self) -> None:
        self._input = self._raw.read(_INPUT)
        self._position = 0
        if self._meter.counts_input:
            self._meter.fetched(len(self._input))

    def _next_member(self) -> None:
        """Begin the member that follows this one; zeros between them are padding."""
        # They are the end of what was taken last: before that, it wanted more.
        self._position -= len(self._member.unused_data)
        self._step = _FIRST_INPUT
        while not (rest := self._take().lstrip(b"\0")) and self._input:
            pass
        self._position -= len(rest)
        self._step = _FIRST_INPUT
        if rest:
            self._member = self._make()
        else:
            self._ended = True

    def _decompress(self, data: bytes, limit: int) -> bytes:
        try:
            return self._member.decompress(data, limit)
        except Exception as error:  # each library has a type of its own, and bz2 says OSError
            raise ArchiveError(f"the {self._name} stream is damaged: {error}") from error


def is_compressed(head: bytes) -> bool:
    """Tell whether ``head``, the first bytes of a stream, says that it is compressed."""
    return any(head.startswith(magics) for magics, _ in _FORMATS.values())


def rejoined(head: bytes, rest: BinaryIO) -> BinaryIO:
    """Return the stream of ``head``, which has been read from it already, and ``rest``."""
    return cast("BinaryIO", _Ahead(head, rest))


def open_decompressed(raw: BinaryIO, meter: Meter | None = None) -> BinaryIO:
    """Return a stream of what ``raw``, read from where it stands, unpacks to.

    ``raw`` is best unbuffered; it is neither sought nor closed.  An unknown format is taken to be
    uncompressed.  What comes out is counted by ``meter``, or else by that of the work at hand.
    """
    meter = meter or current_meter()
    ahead = b""
    while len(ahead) < _LONGEST_MAGIC and (more := raw.read(_LONGEST_MAGIC - len(ahead))):
        ahead += more
    for name, (magics, make) in _FORMATS.items():
        if ahead.startswith(magics):
            return cast("BinaryIO", _Decompressed(rejoined(ahead, raw), name, make, meter))
    return cast("BinaryIO", _Ahead(ahead, raw, meter))
