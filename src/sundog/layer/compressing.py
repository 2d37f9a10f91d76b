"""Compress a stream on its way out: gzip, zstd or nothing; the same bytes whenever it is the same.

gzip goes through ISA-L where it is importable, else through zlib at its fastest level: what leaves
here travels once and is unpacked often, and the last tenth of size costs ten times as much.  No
name and no time get into a header.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from sundog.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

COMPRESSIONS = ("gzip", "zstd", "none")

_ZLIB_LEVEL = 1
_ISAL_LEVEL = 2
_ZSTD_LEVEL = 3
_GZIP_FORMAT = 31  # zlib.h, deflateInit2: windowBits of 15, and 16 for a gzip header


class _Compressor(Protocol):
    """What the compressors of zlib, isal and zstd have in common."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Stored:
    """No compression behind the same interface."""

    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def _gzip() -> tuple[_Compressor, str]:
    try:
        from isal import isal_zlib  # noqa: PLC0415 - an optional accelerator
    except ImportError:
        return zlib.compressobj(_ZLIB_LEVEL, wbits=_GZIP_FORMAT), f"zlib {_ZLIB_LEVEL}"
    compressor = isal_zlib.compressobj(_ISAL_LEVEL, wbits=_GZIP_FORMAT)
    return cast("_Compressor", compressor), f"isal {_ISAL_LEVEL}"


def _zstd() -> tuple[_Compressor, str]:
    try:
        from compression import zstd  # noqa: PLC0415 - Python 3.14 has it
    except ImportError:
        from backports import zstd  # noqa: PLC0415 - seldom needed
    compressor = zstd.ZstdCompressor(level=_ZSTD_LEVEL)
    return cast("_Compressor", compressor), f"zstd {_ZSTD_LEVEL}"


def _none() -> tuple[_Compressor, str]:
    return _Stored(), ""


# In the order of COMPRESSIONS: how to make a compressor, and what it is called.
_COMPRESSORS: dict[str, Callable[[], tuple[_Compressor, str]]] = dict(
    zip(COMPRESSIONS, (_gzip, _zstd, _none), strict=True)
)


def compressor_name(compression: str) -> str:
    """Return the library and level behind a compression: with the same one, bytes are the same.

    Raises UsageError on one that is none of ``COMPRESSIONS``.
    """
    if compression not in _COMPRESSORS:
        raise UsageError(
            f"unknown compression: {compression}", f"one of: {', '.join(COMPRESSIONS)}"
        )
    return _COMPRESSORS[compression]()[1]


class CompressedWriter:
    """Writes to ``out`` what is written to it, compressed; hashes and counts what comes out.

    ``finish`` writes the end, and leaves ``out`` open.
    """

    def __init__(self, out: BinaryIO, compression: str) -> None:
        self._out = out
        self._compressor = _COMPRESSORS[compression]()[0]
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        """The digest of what came out so far, ``sha256:HEX``."""
        return "sha256:" + self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        """Take all of ``data``; return its length.  Raises OSError."""
        self._put(self._compressor.compress(data))
        return len(data)

    def finish(self) -> None:
        """Write what the compressor still holds, and its end."""
        self._put(self._compressor.flush())

    def _put(self, data: bytes) -> None:
        self._hash.update(data)
        self.size += len(data)
        view = memoryview(data)
        while view:
            view = view[self._out.write(view) :]  # a raw file may take less than all
