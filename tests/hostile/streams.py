"""Hostile compressed streams."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zlib
from typing import TYPE_CHECKING

from tests.hostile.cases import (
    BASE_LAYER,
    BOMB,
    HARMLESS,
    Case,
)
from tests.image.layer.archives import (
    archive,
    file,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable


def zeros() -> bytes:
    return archive(*HARMLESS, file("zeros", bytes(4 << 20))).getvalue()


def pressed(press: Callable[[bytes], bytes], data: Callable[[], bytes]) -> Callable[[], bytes]:
    return lambda: press(data())


def cut(press: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    return lambda: press(BASE_LAYER)[:-6]


def flipped(press: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    def make() -> bytes:
        data = bytearray(press(BASE_LAYER))
        data[len(data) // 2] ^= 0xFF
        return bytes(data)

    return make


def xz_of_a_large_window() -> bytes:
    """Return a stream that needs 4 GiB: the block's header has the size of the dictionary."""
    data = bytearray(lzma.compress(BASE_LAYER))
    size = (data[12] + 1) * 4
    header = data[12 : 12 + size - 4]
    at = header.index(b"\x21\x01") + 2
    header[at] = 40
    data[12 : 12 + size] = header + zlib.crc32(header).to_bytes(4, "little")
    return bytes(data)


def zstd_of_a_large_window() -> bytes:
    """Return a frame whose window is 2 GiB (RFC 8878, section 3.1.1.1.2)."""
    return b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([21 << 3]) + b"\x01\x00\x00"


def with_comment() -> bytes:
    """Return gzip with a file name of a megabyte in its header (RFC 1952, section 2.3)."""
    plain = gzip.compress(BASE_LAYER)
    return plain[:3] + b"\x08" + plain[4:10] + b"n" * (1 << 20) + b"\0" + plain[10:]


STREAMS = [
    *(
        Case(
            f"{name} cut",
            cut(press),
            "the archive ends early" if not name else f"the {name} stream ends early",
        )
        for name, press in (
            ("gzip", gzip.compress),
            ("bzip2", bz2.compress),
            ("xz", lzma.compress),
            ("zstd", zstd.compress),
        )
    ),
    Case("gzip flipped", flipped(gzip.compress), "the gzip stream is damaged"),
    Case("bzip2 flipped", flipped(bz2.compress), "the bzip2 stream is damaged"),
    Case("xz flipped", flipped(lzma.compress), "the xz stream is damaged"),
    *(
        Case(
            f"a bomb of {name}", pressed(press, zeros), "it unpacks to over 100 times", limits=BOMB
        )
        for name, press in (
            ("gzip", gzip.compress),
            ("bzip2", bz2.compress),
            ("xz", lzma.compress),
            ("zstd", zstd.compress),
        )
    ),
    Case(
        "xz that wants 4 GiB", xz_of_a_large_window, "the xz stream is damaged: Memory usage limit"
    ),
    Case("zstd that wants 2 GiB", zstd_of_a_large_window, "the zstd stream is damaged"),
    Case(
        "gzip with a wrong sum",
        lambda: gzip.compress(BASE_LAYER)[:-8] + bytes(8),
        "the gzip stream is damaged",
    ),
    Case(
        "gzip with rubbish behind it",
        lambda: gzip.compress(BASE_LAYER) + b"rubbish" * 9,
        "the gzip stream",
    ),
    Case(
        "gzip, then bzip2",
        lambda: gzip.compress(BASE_LAYER) + bz2.compress(b"x"),
        "the gzip stream is damaged",
    ),
    Case(
        "gzip with zeros behind it",
        lambda: gzip.compress(BASE_LAYER) + bytes(9000),
        holds={"etc/motd": b"hello\n"},
    ),
    Case("gzip of a long name", with_comment, holds={"etc/motd": b"hello\n"}),
    Case(
        "gzip in pieces of nothing",
        lambda: gzip.compress(b"") * 5000 + gzip.compress(BASE_LAYER),
        holds={"etc/motd": b"hello\n"},
    ),
    Case("gzip of nothing", lambda: gzip.compress(b""), "the archive is empty"),
    Case(
        "gzip of gzip",
        lambda: gzip.compress(gzip.compress(BASE_LAYER)),
        "this is not a tar archive",
    ),
    Case("gzip's magic alone", lambda: b"\x1f\x8b", "the gzip stream ends early"),
    Case(
        "gzip of an unknown method",
        lambda: b"\x1f\x8b\x09" + bytes(100),
        "the gzip stream is damaged",
    ),
    Case(
        "a frame of zstd to be skipped",
        lambda: b"\x50\x2a\x4d\x18" + (1 << 31).to_bytes(4, "little"),
        "ends early",
    ),
    Case(
        "lzma of old",
        lambda: lzma.compress(BASE_LAYER, lzma.FORMAT_ALONE),
        "this is not a tar archive",
    ),
]
