"""The formats, in one member and in several; damage; memory independent of the output."""

import bz2
import gzip
import io
import lzma
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.errors import ArchiveError
from sundog.image.layer import compression
from sundog.image.layer.compression import CHUNK, open_decompressed

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = b"".join(b"line %d of a text that repeats itself\n" % i for i in range(40_000))
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd.compress,
    "none": bytes,
}


class Trickle(io.RawIOBase):
    """A stream that gives at most ``step`` bytes at a time, as a pipe may."""

    def __init__(self, data: bytes, step: int) -> None:
        self.data = io.BytesIO(data)
        self.step = step

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        return self.data.read(min(size, self.step) if size >= 0 else self.step)


def unpacked(data: bytes, step: int = 1 << 20) -> bytes:
    stream: BinaryIO = open_decompressed(Trickle(data, step))  # type: ignore[arg-type]
    return b"".join(iter(lambda: stream.read(CHUNK), b""))


@pytest.fixture(params=["isal", "zlib"])
def gzip_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)
    return str(request.param)


@pytest.mark.parametrize("name", COMPRESS)
def test_each_format_is_told_by_its_first_bytes(name: str) -> None:
    assert unpacked(COMPRESS[name](TEXT)) == TEXT


@pytest.mark.parametrize("name", COMPRESS)
def test_a_stream_that_trickles(name: str) -> None:
    assert unpacked(COMPRESS[name](TEXT), step=77) == TEXT


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd"])
def test_members_in_a_row(name: str) -> None:
    members = [TEXT[:7000], b"", TEXT[7000:]]
    assert unpacked(b"".join(map(COMPRESS[name], members))) == TEXT


@pytest.mark.usefixtures("gzip_library")
def test_gzip_members_with_padding() -> None:
    data = gzip.compress(TEXT) + bytes(512) + gzip.compress(b"more") + bytes(100_000)
    assert unpacked(data) == TEXT + b"more"
    assert unpacked(data, step=1000) == TEXT + b"more"


@pytest.mark.usefixtures("gzip_library")
@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=3000), st.integers(1, 40), st.integers(1, 300))
def test_gzip_gives_back_what_went_in(data: bytes, times: int, step: int) -> None:
    assert unpacked(gzip.compress(data * times), step) == data * times


def test_zstd_skippable_frames_first_and_last() -> None:
    skippable = b"\x5a\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"toc"
    assert unpacked(skippable + zstd.compress(TEXT) + skippable) == TEXT


@pytest.mark.usefixtures("gzip_library")
@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd"])
def test_a_cut_stream_is_an_error(name: str) -> None:
    data = COMPRESS[name](TEXT)
    for length in (12, len(data) // 2, len(data) - 1):
        with pytest.raises(ArchiveError, match=f"the {name} stream ends early"):
            unpacked(data[:length])


@pytest.mark.usefixtures("gzip_library")
@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd"])
def test_a_damaged_stream_is_an_error(name: str) -> None:
    data = bytearray(
        COMPRESS[name](TEXT)
        if name != "zstd"
        else zstd.compress(TEXT, options={zstd.CompressionParameter.checksum_flag: 1})
    )
    data[len(data) * 2 // 3] ^= 0xFF
    with pytest.raises(ArchiveError, match=f"the {name} stream (is damaged|ends early)"):
        unpacked(bytes(data))


def test_rubbish_after_the_stream_is_an_error() -> None:
    with pytest.raises(ArchiveError, match="the gzip stream"):
        unpacked(gzip.compress(TEXT) + b"rubbish in abundance")


@pytest.mark.usefixtures("gzip_library")
@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd"])
def test_a_bomb_needs_little_memory(name: str) -> None:
    data = COMPRESS[name](bytes(64 << 20))
    stream = open_decompressed(io.BytesIO(data))
    tracemalloc.start()
    total = 0
    while chunk := stream.read(CHUNK):
        assert len(chunk) <= CHUNK
        total += len(chunk)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 64 << 20
    assert peak < 16 << 20


def test_nothing_and_less_than_a_magic() -> None:
    assert unpacked(b"") == b""
    assert unpacked(b"\x1f") == b"\x1f"


def test_isal_is_used_where_it_is_importable() -> None:
    expected = "_ZlibDecompressor" if find_spec("isal") is None else "IgzipDecompressor"
    assert type(compression._gzip()).__name__ == expected


def test_output_of_the_gzip_program() -> None:
    packed = subprocess.run(["gzip", "-c"], input=TEXT, stdout=subprocess.PIPE, check=True).stdout
    assert unpacked(packed) == TEXT == zlib.decompress(packed, wbits=31)
