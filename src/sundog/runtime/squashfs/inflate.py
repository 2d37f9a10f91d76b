"""Inflate from the middle of a stream: zlib's calls that Python's ``zlib`` lacks.

A deflate block may begin at any bit, and refers to the 32 KiB of output in front of it.  With these
and the place of the block, a reader can begin there.

Specification: zlib.h, inflate with Z_BLOCK, inflatePrime, inflateSetDictionary,
inflateGetDictionary; RFC 1951 and 1952.
"""

from __future__ import annotations

from sundog.base.cpython import (
    FUNCFLAG_CDECL,
    CFuncPtr,
    Struct,
    _SimpleCData,
    addressof,
    byref,
    dlopen,
    dlsym,
    sizeof,
)
from sundog.base.kernel.libc import Int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WINDOW_LIMIT = 32768
_RAW, GZIP = -15, 31  # windowBits of inflateInit2
_Z_NO_FLUSH, _Z_BLOCK = 0, 5
_Z_OK, _Z_STREAM_END, _Z_BUF_ERROR = 0, 1, -5
_END_OF_BLOCK, _LAST_BLOCK, _BITS = 128, 64, 7  # in data_type
_TRAILER = 8  # bytes of a gzip member behind its data
_PART = 64 << 10  # bytes of output: each part is cleared first, and there may be many small members
# next_in avail_in total_in next_out avail_out total_out msg state zalloc zfree opaque data_type
# adler reserved
_Z_STREAM = Struct("@PILPILPPPPPiLL")
_NEXT_IN, _AVAIL_IN, _NEXT_OUT, _AVAIL_OUT, _DATA_TYPE = 0, 1, 3, 4, 11


class _Octet(_SimpleCData):  # type: ignore[type-arg]
    """C's ``unsigned char``."""

    _type_ = "B"


class _Unsigned(_SimpleCData):  # type: ignore[type-arg]
    """C's ``unsigned int``."""

    _type_ = "I"


class _Function(CFuncPtr):
    """A function of zlib.  The interpreter lock is released."""

    _flags_ = FUNCFLAG_CDECL
    _restype_ = Int


class _Zlib:
    """The functions of the machine's libz."""

    __slots__ = ("end", "get_window", "inflate", "init", "prime", "reset", "set_window", "version")

    def __init__(self) -> None:
        """Load it.  Raises OSError."""
        library = dlopen("libz.so.1", 0)
        self.init = _Function(dlsym(library, "inflateInit2_"))
        self.inflate = _Function(dlsym(library, "inflate"))
        self.prime = _Function(dlsym(library, "inflatePrime"))
        self.reset = _Function(dlsym(library, "inflateReset2"))
        self.set_window = _Function(dlsym(library, "inflateSetDictionary"))
        self.get_window = _Function(dlsym(library, "inflateGetDictionary"))
        self.end = _Function(dlsym(library, "inflateEnd"))
        self.version = b"1.2.11"  # the interface: zlib compares the first digit


_zlib: _Zlib | None = None


def _library() -> _Zlib:
    global _zlib  # noqa: PLW0603 - loaded once, when a layer needs it
    if _zlib is None:
        _zlib = _Zlib()
    return _zlib


class Inflating:
    """A stream on its way.  Close it; one thread uses it at a time.

    ``at_block`` says that the output so far ends where a block does, which is not the last; its
    successor begins ``bits`` bits in front of the input that comes next.  ``ended`` says that a
    stream has ended.
    """

    __slots__ = ("_in", "_left", "_stream", "_zlib", "at_block", "bits", "ended")

    def __init__(self, form: int) -> None:
        """Begin a stream of this form: _RAW or GZIP.  Raises OSError, and ValueError."""
        self._zlib = _library()
        self._stream = (_Octet * _Z_STREAM.size)()
        self._in: Any = None  # what zlib reads from
        self._left = 0
        self.at_block = self.ended = False
        self.bits = 0
        if self._zlib.init(byref(self._stream), form, self._zlib.version, sizeof(self._stream)):
            raise ValueError("zlib can't begin")

    def close(self) -> None:
        """Free zlib's memory."""
        self._zlib.end(byref(self._stream))

    def begin_at(self, bits: int, first: int, window: bytes) -> None:
        """Begin a _RAW stream at a block: ``bits`` of the byte ``first`` belong to it."""
        if bits and self._zlib.prime(byref(self._stream), bits, first >> (8 - bits)):
            raise ValueError("zlib takes no bits")
        if window and self._zlib.set_window(byref(self._stream), window, len(window)):
            raise ValueError("zlib takes no window")

    def begin_member(self) -> None:
        """Begin the next member of gzip, behind one that has ended; the input stays."""
        if self._zlib.reset(byref(self._stream), GZIP):
            raise ValueError("zlib can't begin again")
        self.ended = False

    @property
    def left(self) -> int:
        """The bytes of input that are left."""
        return self._left

    def feed(self, data: bytes) -> None:
        """Give input; all before must have been taken."""
        self._in = (_Octet * len(data)).from_buffer_copy(data)
        self._left = len(data)

    def skip(self, size: int) -> int:
        """Skip bytes of input; return how many were there."""
        size = min(size, self._left)
        self._left -= size
        return size

    def skip_zeros(self) -> None:
        """Skip zeros of the input."""
        if not self._left or self._in[len(self._in) - self._left]:
            return  # there are many members
        rest = bytes(memoryview(self._in)[len(self._in) - self._left :])
        self._left = len(rest.lstrip(b"\0"))

    def inflate(self, size: int, *, stops: bool = False) -> bytes:
        """Return up to ``size`` bytes of output; with ``stops``, none beyond the end of a block.

        It may be b"": more input is needed, a block or a stream has ended.  Raises ValueError.
        """
        out = (_Octet * size)()
        fields = list(_Z_STREAM.unpack(self._stream))
        start = len(self._in) - self._left
        fields[_NEXT_IN], fields[_AVAIL_IN] = addressof(self._in) + start, self._left
        fields[_NEXT_OUT], fields[_AVAIL_OUT] = addressof(out), size
        _Z_STREAM.pack_into(self._stream, 0, *fields)
        flush = _Z_BLOCK if stops else _Z_NO_FLUSH
        status = self._zlib.inflate(byref(self._stream), flush)
        fields = list(_Z_STREAM.unpack(self._stream))
        if status not in (_Z_OK, _Z_STREAM_END, _Z_BUF_ERROR):
            raise ValueError("damaged data")
        self._left = fields[_AVAIL_IN]
        self.ended = status == _Z_STREAM_END
        kind = fields[_DATA_TYPE]
        self.at_block = bool(kind & _END_OF_BLOCK) and not kind & _LAST_BLOCK
        self.bits = kind & _BITS
        return bytes(memoryview(out)[: size - fields[_AVAIL_OUT]])

    def window(self) -> bytes:
        """Return the output that the next block may refer to."""
        window, length = (_Octet * _WINDOW_LIMIT)(), _Unsigned(_WINDOW_LIMIT)
        if self._zlib.get_window(byref(self._stream), window, byref(length)):
            raise ValueError("zlib gives no window")
        return bytes(memoryview(window)[: length.value])


def unpacked_window(packed: bytes, length: int) -> bytes:
    """Return the window that zlib has packed into ``length`` bytes.  Raises ValueError."""
    from zlib import decompressobj, error  # noqa: PLC0415 - only a server of such a layer needs it

    if not length:
        return b""
    stream = decompressobj()
    try:
        found = stream.decompress(packed, _WINDOW_LIMIT + 1)
    except error:
        raise ValueError("a damaged window") from None
    if len(packed) != length or not stream.eof or len(found) > _WINDOW_LIMIT:
        raise ValueError("a damaged window")
    return found


def inflate_span(data: bytes, bits: int, window: bytes, size: int) -> bytes:
    """Return ``size`` bytes of output from a block on.

    ``data`` begins with the byte of which the last ``bits`` belong to the block, or, if there are
    none, with the block; members of gzip may follow the one that it is in.  Raises ValueError.
    """
    stream = Inflating(_RAW)
    try:
        stream.feed(data)
        if bits:
            stream.begin_at(bits, data[0] if data else 0, window)
            stream.skip(1)
        else:
            stream.begin_at(0, 0, window)
        parts: list[bytes] = []
        is_raw = True
        while size:
            part = stream.inflate(min(size, _PART))
            parts.append(part)
            size -= len(part)
            if stream.ended and size:
                if is_raw:  # zlib reads the trailer of a stream that it knows to be gzip
                    stream.skip(_TRAILER)
                    is_raw = False
                stream.skip_zeros()
                stream.begin_member()
            elif not part and size:
                raise ValueError("it ends early")
        return b"".join(parts)
    finally:
        stream.close()
