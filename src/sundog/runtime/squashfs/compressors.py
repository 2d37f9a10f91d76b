"""The six compressors of SquashFS.

Each function takes a block and a limit, and returns at most so many bytes or raises an exception:
each library has its own type.  A library is loaded only if a file needs it.

The decompressor of zstd and the fast one of gzip are extension modules of packages that take 6 ms
to import, and ``ch-run`` starts without the directory where packages are.  So this module loads the
extension modules from there itself.  lz4 and lzo come from the machine's C libraries, as far as it
has them.
"""

from __future__ import annotations

import os
import sys

from sundog.base.cpython import (
    FUNCFLAG_CDECL,
    CFuncPtr,
    ModuleSpec,
    _SimpleCData,
    byref,
    create_dynamic,
    dlopen,
    dlsym,
    exec_dynamic,
    extension_suffixes,
)
from sundog.base.kernel.libc import Int, Long
from sundog.errors import SquashfsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sundog.runtime.squashfs.source import SquashfsSource

    Decompress = Callable[[bytes, int], bytes]

# A block of a hostile file may ask for a larger window than any block needs.
_ZSTD_WINDOW_LOG_MAX = 100, 23  # the parameter ZSTD_d_windowLogMax, 8 MiB
_GZIP_FORMAT = 31  # zlib.h, inflateInit2: windowBits of 15, and 16 for a gzip header
_LZMA_MEMORY_LIMIT = 64 << 20
_FORMAT_XZ, FORMAT_ALONE = 1, 2
_WORK_MEMORY = None  # lzo needs none to decompress


def decompressor_for(compression: int, source: SquashfsSource) -> Decompress:
    """Return the function that decompresses blocks of ``source``.

    Raises SquashfsError if the number is unknown, or if its library is not on this machine.
    """
    known = _COMPRESSORS.get(compression)
    if known is None:
        raise source.damaged(f"unknown compressor {compression}", 20)
    name, load = known
    try:
        return load()
    except (ImportError, OSError) as error:
        raise SquashfsError(
            f"can't read {source.name()}: it is compressed by {name}: {error}",
            "install that library, or make the file again elsewhere with mksquashfs -comp zstd",
        ) from None


def _load_gzip() -> Decompress:
    """Load zlib, or ISA-L, which is faster."""
    igzip = _packaged_extension("isal.igzip_lib")
    if igzip is not None:
        make, flag = igzip.IgzipDecompressor, igzip.DECOMP_ZLIB

        def decompress_by_isal(data: bytes, limit: int) -> bytes:
            return _complete(make(flag=flag), data, limit)

        return decompress_by_isal
    from zlib import decompressobj  # noqa: PLC0415

    def decompress_by_zlib(data: bytes, limit: int) -> bytes:
        return _complete(decompressobj(), data, limit)

    return decompress_by_zlib


def gzip_unpacker() -> Decompress:
    """Return the function that unpacks the beginning of a member of gzip, up to the limit."""
    igzip = _packaged_extension("isal.igzip_lib")
    if igzip is not None:
        make, flag = igzip.IgzipDecompressor, igzip.DECOMP_GZIP

        def unpack_by_isal(data: bytes, limit: int) -> bytes:
            found: bytes = make(flag=flag).decompress(data, limit)
            return found

        return unpack_by_isal
    from zlib import decompressobj  # noqa: PLC0415

    def unpack_by_zlib(data: bytes, limit: int) -> bytes:
        return decompressobj(wbits=_GZIP_FORMAT).decompress(data, limit)

    return unpack_by_zlib


def _load_xz() -> Decompress:
    """Load liblzma for xz."""
    return _liblzma(_FORMAT_XZ)


def _load_lzma() -> Decompress:
    """Load liblzma for the format of lzma before xz."""
    return _liblzma(FORMAT_ALONE)


def _liblzma(form: int) -> Decompress:
    """Load liblzma for streams of ``form``."""
    from sundog.base.cpython import LZMADecompressor  # noqa: PLC0415

    def decompress_by_lzma(data: bytes, limit: int) -> bytes:
        return _complete(LZMADecompressor(form, _LZMA_MEMORY_LIMIT), data, limit)

    return decompress_by_lzma


def _load_zstd() -> Decompress:
    """Load zstd."""
    make, options = _zstd_decompressor(), dict([_ZSTD_WINDOW_LOG_MAX])

    def decompress_by_zstd(data: bytes, limit: int) -> bytes:
        return _complete(make(None, options), data, limit)

    return decompress_by_zstd


def zstd_unpacker() -> Decompress:
    """Return the function that unpacks the beginning of a frame of zstd, up to the limit.

    Raises ImportError.
    """
    make = _zstd_decompressor()

    def unpack_by_zstd(data: bytes, limit: int) -> bytes:
        found: bytes = make().decompress(data, limit)
        return found

    return unpack_by_zstd


def _zstd_decompressor() -> Any:
    """Load zstd: Python has it from 3.14 on, and before there is ``backports.zstd``."""
    if sys.version_info >= (3, 14):
        from sundog.base.cpython import ZstdDecompressor  # noqa: PLC0415

        return ZstdDecompressor
    found = _packaged_extension("backports.zstd._zstd")
    if found is None:
        raise ImportError("the Python package backports.zstd is not there")
    return found.ZstdDecompressor


def _complete(decompressor: Any, data: bytes, limit: int) -> bytes:
    """Return what the one stream in ``data`` unpacks to; raise ValueError if that is too much."""
    # With one byte more, the decompressor reads the end of a stream of exactly ``limit`` bytes.
    unpacked: bytes = decompressor.decompress(data, limit + 1)
    if len(unpacked) > limit:
        raise ValueError(f"it unpacks to more than {limit:,} bytes")
    if not decompressor.eof:
        raise ValueError("it ends early")
    return unpacked


class _Octet(_SimpleCData):  # type: ignore[type-arg]
    """C's ``unsigned char``."""

    _type_ = "B"


class _SimpleFunction(CFuncPtr):
    """A function of a C library that returns an int.  The interpreter lock is released."""

    _flags_ = FUNCFLAG_CDECL
    _restype_ = Int


def _load_lz4() -> Decompress:
    """Load liblz4, whose function returns the number of bytes or a negative one."""
    function = _SimpleFunction(dlsym(dlopen("liblz4.so.1", 0), "LZ4_decompress_safe"))

    def decompress_by_lz4(data: bytes, limit: int) -> bytes:
        out = (_Octet * limit)()
        size = function(data, out, len(data), limit)
        if not 0 <= size <= limit:
            raise ValueError("corrupt data")
        return bytes(memoryview(out)[:size])

    return decompress_by_lz4


def _load_lzo() -> Decompress:
    """Load liblzo2, whose function returns an error, and the number of bytes elsewhere."""
    function = _SimpleFunction(dlsym(dlopen("liblzo2.so.2", 0), "lzo1x_decompress_safe"))

    def decompress_by_lzo(data: bytes, limit: int) -> bytes:
        out, size = (_Octet * limit)(), Long(limit)
        failure = function(data, Long(len(data)), out, byref(size), _WORK_MEMORY)
        if failure or not 0 <= size.value <= limit:
            raise ValueError(f"error {failure}")
        return bytes(memoryview(out)[: size.value])

    return decompress_by_lzo


def _packaged_extension(name: str) -> Any:
    """Return the extension module ``name`` without the package around it; None if it is not there.

    Looks beside the package ``sundog``, then in sys.path.
    """
    if name in sys.modules:
        return sys.modules[name]
    beside, _, _ = sys._getframe().f_code.co_filename.rpartition("/sundog/")
    for directory in (beside, *sys.path):
        for suffix in extension_suffixes():
            path = f"{directory}/{name.replace('.', '/')}{suffix}"
            try:
                os.stat(path)
            except OSError:
                continue
            module = create_dynamic(ModuleSpec(name, None, origin=path))
            exec_dynamic(module)
            return module
    return None


# The number in the superblock → the name, and what loads it.
_COMPRESSORS: dict[int, tuple[str, Callable[[], Decompress]]] = {
    1: ("gzip", _load_gzip),
    2: ("lzma", _load_lzma),
    3: ("lzo", _load_lzo),
    4: ("xz", _load_xz),
    5: ("lz4", _load_lz4),
    6: ("zstd", _load_zstd),
}
