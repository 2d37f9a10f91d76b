"""Compress a stream on its way out: gzip, zstd, xz, bzip2 or nothing.

Equal streams give equal bytes.

gzip uses ISA-L where it is installed, else zlib at its fastest level: the last tenth of the size
would cost ten times the time.  Headers hold no name and no time.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import BinaryIO, Protocol, cast

from sundog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ZSTD_CHUNKED, ESTARGZ = "zstd:chunked", "estargz"
# Piecewise compressions, and what makes their pieces: ``piecewise`` writes them.
_PIECEWISE = {ZSTD_CHUNKED: "zstd", ESTARGZ: "gzip"}
COMPRESSIONS = ("gzip", "zstd", "none", *_PIECEWISE)

_ZLIB_LEVEL = 1
_ISAL_LEVEL = 2
_ZSTD_LEVEL = 3
# Of tables: a start waits for them, and a sixth less is worth a few per cent of it.
_TABLE_LEVEL, _TABLE_LIMIT = 16, 8 << 20
_GZIP_FORMAT = 31  # zlib.h, deflateInit2: windowBits of 15, and 16 for a gzip header


class _Compressor(Protocol):
    """The interface that the compressors of zlib, isal and zstd share."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Stored:
    """No compression, behind the same interface."""

    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def _gzip() -> tuple[_Compressor, str]:
    try:
        from isal import isal_zlib  # an optional accelerator
    except ImportError:
        return zlib.compressobj(_ZLIB_LEVEL, wbits=_GZIP_FORMAT), f"zlib {_ZLIB_LEVEL}"
    compressor = isal_zlib.compressobj(_ISAL_LEVEL, wbits=_GZIP_FORMAT)
    return cast("_Compressor", compressor), f"isal {_ISAL_LEVEL}"


def _zstd() -> tuple[_Compressor, str]:
    try:
        from compression import zstd  # Python 3.14 has it
    except ImportError:
        from backports import zstd
    compressor = zstd.ZstdCompressor(level=_ZSTD_LEVEL)
    return cast("_Compressor", compressor), f"zstd {_ZSTD_LEVEL}"


def _none() -> tuple[_Compressor, str]:
    return _Stored(), ""


def _xz() -> tuple[_Compressor, str]:
    import lzma

    return lzma.LZMACompressor(), "xz 6"


def _bzip2() -> tuple[_Compressor, str]:
    import bz2

    return bz2.BZ2Compressor(), "bzip2 9"


# Name → function that returns a compressor and its name.  Layers have no xz and no bzip2.
_COMPRESSORS: dict[str, Callable[[], tuple[_Compressor, str]]] = {
    "gzip": _gzip,
    "zstd": _zstd,
    "none": _none,
    "xz": _xz,
    "bzip2": _bzip2,
}


def compressor_name(compression: str) -> str:
    """Return the library and level that make a compression.  Equal names make equal bytes.

    Raises UsageError if ``compression`` is not in ``COMPRESSIONS``.
    """
    if compression not in COMPRESSIONS:
        raise UsageError(
            f"unknown compression: {compression}", f"one of: {', '.join(COMPRESSIONS)}"
        )
    name = _COMPRESSORS[_PIECEWISE.get(compression, compression)]()[1]
    return f"{name}, table {_TABLE_LEVEL}" if compression == ZSTD_CHUNKED else name


def table_frame(text: bytes) -> bytes:
    """Return the frame of zstd with the ``text`` of a table.  A long one is packed as all else."""
    return ZstdFrames(_TABLE_LEVEL if len(text) <= _TABLE_LIMIT else _ZSTD_LEVEL).piece(text)


class ZstdFrames:
    """Compresses pieces, each to a frame of zstd of its own.  A ``level`` is as in zstd(1)."""

    def __init__(self, level: int = _ZSTD_LEVEL) -> None:
        try:
            from compression import zstd
        except ImportError:
            from backports import zstd
        self._compressor = zstd.ZstdCompressor(level=level)
        self._frame = zstd.ZstdCompressor.FLUSH_FRAME
        self._part = zstd.ZstdCompressor.CONTINUE

    def piece(self, data: bytes | bytearray) -> bytes:
        """Return the frame that unpacks to ``data``."""
        return self._compressor.compress(data, self._frame)  # type: ignore[no-any-return]

    def part(self, data: bytes | bytearray) -> bytes:
        """Return the next bytes of a frame that grows."""
        return self._compressor.compress(data, self._part)  # type: ignore[no-any-return]

    end = piece


class GzipMembers:
    """Compresses pieces, each to a member of gzip of its own."""

    def piece(self, data: bytes | bytearray) -> bytes:
        """Return the member that unpacks to ``data``."""
        compressor, _ = _gzip()
        return compressor.compress(bytes(data)) + compressor.flush()


class CompressedWriter:
    """A file that compresses what it is given into ``out``, and hashes and counts the result.

    Call ``finish`` at the end; ``out`` stays open.  Without ``hashes`` there is no ``digest``.
    """

    def __init__(self, out: BinaryIO, compression: str, *, hashes: bool = True) -> None:
        self._out = out
        self._compressor = _COMPRESSORS[compression]()[0]
        self._hash = hashlib.sha256() if hashes else None
        self.size = 0

    @property
    def digest(self) -> str:
        """The digest of the compressed bytes so far, ``sha256:HEX``."""
        return "" if self._hash is None else "sha256:" + self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        """Take all of ``data``; return its length.  Raises OSError."""
        self._put(self._compressor.compress(data))
        return len(data)

    def finish(self) -> None:
        """Write what the compressor still holds, and the end of its format."""
        self._put(self._compressor.flush())

    def _put(self, data: bytes) -> None:
        if self._hash is not None:
            self._hash.update(data)
        self.size += len(data)
        view = memoryview(data)
        while view:
            view = view[self._out.write(view) :]  # a raw file may take less than all
