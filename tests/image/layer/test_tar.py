"""The reader of tars: every format, and every false statement."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import tarfile
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sundog.errors import ArchiveError
from sundog.image.layer.pax import format_records, format_time, parse_records, parse_time
from sundog.image.layer.tar import TarReader
from tests.image.layer.archives import (
    MTIME,
    Entry,
    archive,
    directory,
    file,
    hard_link,
    pax_header,
    raw_archive,
    raw_header,
    symlink,
)

if TYPE_CHECKING:
    from pathlib import Path

    from sundog.image.layer.header import Member


def members(stream: io.BytesIO) -> list[Member]:
    return list(TarReader(stream))


def contents(stream: io.BytesIO) -> dict[bytes, bytes]:
    """Return the data of all files, holes as zeros."""
    found = {}
    reader = TarReader(stream)
    for member in reader:
        if member.kind == "f":
            with tempfile.TemporaryFile() as out:
                reader.copy_data(out.fileno())
                out.seek(0)
                found[member.name] = out.read()
    return found


ENTRIES = (
    directory("d", mode=0o2755, uid=1, gid=2),
    file("d/f", b"data" * 1000, mode=0o4711, uid=123456, gid=7654321),
    file("d/" + "n" * 150, b"long"),
    file("/".join(["p" * 60] * 8), b"longer"),
    file("d/umlaut-\xfc", b"\xfc"),
    symlink("d/l", "t" * 130),
    hard_link("d/h", "d/f"),
    Entry("d/null", "c", device=(1, 3), mode=0o666),
    Entry("d/sda", "b", device=(8, 17), mode=0o660, gid=6),
    Entry("d/fifo", "p", mode=0o600),
    file("d/empty", b""),
    file("d/big", b"0123456789abcdef" * 50_000),
)


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_reads_what_python_writes(format: int) -> None:  # noqa: A002
    read = members(archive(*ENTRIES, format=format))
    assert len(read) == len(ENTRIES)
    for member, entry in zip(read, ENTRIES, strict=True):
        assert isinstance(entry.name, str)
        assert isinstance(entry.link, str)
        assert member.kind == entry.kind
        assert member.name.rstrip(b"/") == entry.name.encode("latin-1")
        assert member.link == entry.link.encode("latin-1")
        assert (member.uid, member.gid) == (entry.uid, entry.gid)
        assert (member.major, member.minor) == entry.device
        assert member.mtime_ns == MTIME * 10**9
        if entry.mode is not None:
            assert member.mode == entry.mode
    data = contents(archive(*ENTRIES, format=format))
    assert data[b"d/big"] == b"0123456789abcdef" * 50_000
    assert data[b"d/f"] == b"data" * 1000


def test_digest_and_size_are_those_of_the_whole_stream() -> None:
    stream = archive(file("a"))
    stream.seek(0, io.SEEK_END)
    stream.write(b"rubbish after the end")
    stream.seek(0)
    reader = TarReader(stream)
    assert [member.name for member in reader] == [b"a"]
    assert reader.size == len(stream.getvalue())
    import hashlib

    assert reader.digest == "sha256:" + hashlib.sha256(stream.getvalue()).hexdigest()


@pytest.mark.parametrize("form", ["v7", "ustar", "gnu", "oldgnu", "posix"])
def test_reads_what_gnu_tar_writes(form: str, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/file").write_bytes(b"data\n")
    (tmp_path / "d/link").symlink_to("file")
    os.link(tmp_path / "d/file", tmp_path / "d/hard")
    if form not in ("v7", "ustar"):
        (tmp_path / ("d/" + "l" * 200)).write_bytes(b"long\n")
    command = ["tar", f"--format={form}", "--sort=name", "-C", str(tmp_path), "-cf", "-", "d"]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(out)) as reference:
        expected = [(info.name.encode(), info.mode, info.linkname) for info in reference]
    read = members(io.BytesIO(out))
    assert [(m.name.rstrip(b"/"), m.mode, m.link.decode()) for m in read] == expected
    assert read[0].kind == "d"


@pytest.mark.parametrize("form", ["ustar", "pax", "gnutar", "v7"])
def test_reads_what_bsdtar_writes(form: str, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/file").write_bytes(b"data\n")
    os.setxattr(tmp_path / "d/file", "user.note", b"\x00\xffhello")
    os.utime(tmp_path / "d/file", ns=(1, 1_234_567_890_123_456_789))
    command = ["bsdtar", f"--format={form}", "-C", str(tmp_path), "-cf", "-", "d"]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    last = members(io.BytesIO(out))[-1]
    assert last.name == b"d/file"
    if form == "pax":
        assert last.mtime_ns == 1_234_567_890_123_456_789
        assert last.xattrs[b"user.note"] == b"\x00\xffhello"


SPARSE = {
    "old GNU": ["--format=gnu"],
    "pax 0.0": ["--format=pax", "--sparse-version=0.0"],
    "pax 0.1": ["--format=pax", "--sparse-version=0.1"],
    "pax 1.0": ["--format=pax", "--sparse-version=1.0"],
}


@pytest.mark.parametrize("form", SPARSE)
@pytest.mark.parametrize("pieces", [1, 3, 60])
def test_sparse_files(form: str, pieces: int, tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as out:
        for piece in range(pieces):
            out.seek(piece * 65536)
            out.write(b"piece %d" % piece)
        out.truncate(pieces * 65536 + 12345)
    (tmp_path / "sparse2").write_bytes(b"after")
    command = ["tar", "--sparse", *SPARSE[form], "-C", str(tmp_path), "-cf", "-"]
    out_bytes = subprocess.run(
        [*command, "sparse", "sparse2"], check=True, stdout=subprocess.PIPE
    ).stdout
    read = members(io.BytesIO(out_bytes))
    assert [member.name for member in read] == [b"sparse", b"sparse2"]
    assert read[0].size == path.stat().st_size
    data = contents(io.BytesIO(out_bytes))
    assert data == {b"sparse": path.read_bytes(), b"sparse2": b"after"}


def test_holes_stay_holes(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as out:
        out.seek(64 << 20)
        out.write(b"end")
    command = ["tar", "--sparse", "-C", str(tmp_path), "-cf", "-", "sparse"]
    stream = io.BytesIO(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    reader = TarReader(stream)
    with (tmp_path / "copy").open("wb") as copy:
        for _ in reader:
            reader.copy_data(copy.fileno())
        status = os.fstat(copy.fileno())
    assert status.st_size == (64 << 20) + 3
    assert status.st_blocks * 512 < 1 << 20


def test_global_pax_headers_hold_until_overruled() -> None:
    stream = raw_archive(
        pax_header((b"uid", b"77"), (b"comment", b"from git"), typeflag=b"g"),
        raw_header(b"one"),
        pax_header((b"uid", b"5"), (b"path", b"two")),
        raw_header(b"x"),
        raw_header(b"three"),
    )
    assert [(m.name, m.uid) for m in members(stream)] == [(b"one", 77), (b"two", 5), (b"three", 77)]


def test_a_global_header_alone_is_an_archive() -> None:
    assert members(raw_archive(pax_header((b"comment", b"x"), typeflag=b"g"))) == []


def test_an_empty_pax_value_lets_the_header_rule() -> None:
    stream = raw_archive(pax_header((b"path", b""), (b"uid", b"")), raw_header(b"name"))
    assert [(m.name, m.uid) for m in members(stream)] == [(b"name", 0)]


def test_prefixes() -> None:
    star = bytearray(raw_header(b"n", prefix=b"p"))
    star[476:488] = b"00000000017 "  # star keeps its atime in ustar's prefix
    star[508:512] = b"tar\0"
    star[148:156] = b" " * 8
    star[148:156] = b"%06o\0 " % sum(star)
    gnu = raw_header(b"n", prefix=b"0000017", magic=b"ustar  \0")
    read = members(raw_archive(raw_header(b"n", prefix=b"p" * 155), bytes(star), gnu))
    assert [m.name for m in read] == [b"p" * 155 + b"/n", b"p/n", b"n"]


def test_numbers_in_base_256() -> None:
    stream = raw_archive(
        raw_header(
            b"n",
            uid=b"\x80\0\0\0\x80\0\0\x05",
            mtime=b"\xff" * 12,
            size=b"\x80" + bytes(11),
        )
    )
    (member,) = members(stream)
    assert (member.uid, member.mtime_ns, member.size) == (2**31 + 5, -(10**9), 0)


def test_signed_checksum() -> None:
    block = bytearray(raw_header(b"\xfc\xfd"))
    block[148:156] = b" " * 8
    signed = sum(byte - 256 if byte > 127 else byte for byte in block)
    read = members(raw_archive(raw_header(b"\xfc\xfd", checksum=b"%06o\0 " % signed)))
    assert read[0].name == b"\xfc\xfd"


def test_old_directories_and_ignored_headers() -> None:
    stream = raw_archive(
        raw_header(b"the label", typeflag=b"V"),
        raw_header(b"old/", typeflag=b"\0"),
        raw_header(b"gnu/", typeflag=b"D", size=b"00000000003\0") + b"Yab",
        raw_header(b"last", typeflag=b"7", size=b"00000000003\0") + b"abc",
    )
    assert [(m.name, m.kind) for m in members(stream)] == [
        (b"old/", "d"),
        (b"gnu/", "d"),
        (b"last", "f"),
    ]
    stream.seek(0)
    assert contents(stream) == {b"last": b"abc"}


def test_links_and_devices_carry_no_data_whatever_their_size() -> None:
    sizes = {"size": b"00000001000\0"}
    stream = raw_archive(
        *(raw_header(b"n" + flag, typeflag=flag, **sizes) for flag in (b"1", b"2", b"3", b"5")),
        raw_header(b"end"),
    )
    assert [m.name for m in members(stream)][-1] == b"end"


def test_the_end_may_lack_its_zeros_but_a_lone_block_of_zeros_is_none() -> None:
    assert [m.name for m in members(io.BytesIO(raw_header(b"a")))] == [b"a"]
    stream = io.BytesIO(raw_header(b"a") + bytes(512) + raw_header(b"b") + bytes(1024))
    assert [m.name for m in members(stream)] == [b"a", b"b"]


BIG = b"\x80" + (1 << 70).to_bytes(11, "big")
NEGATIVE = b"\xff" * 12


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (io.BytesIO(), "empty"),
        (io.BytesIO(b"no archive at all " * 100), "not a tar archive"),
        (io.BytesIO(raw_header(b"n")[:300]), "not a tar archive: too short"),
        (raw_archive(raw_header(b"a"), raw_header(b"n", checksum=b"0000000\0")), "checksum"),
        (raw_archive(raw_header(b"a"), raw_header(b"n", mode=b"0000899\0")), "not octal"),
        (raw_archive(raw_header(b"a"), raw_header(b"n", mode=b"00_0644\0")), "not octal"),
        (raw_archive(raw_header(b"a"), raw_header(b"n", mode=b"-000644\0")), "not octal"),
        (raw_archive(raw_header(b"n", size=NEGATIVE)), "size is out of range"),
        (raw_archive(raw_header(b"n", size=BIG)), "size is out of range"),
        (raw_archive(raw_header(b"n", mtime=b"\x80" + b"\x3f" * 11)), "time is out of range"),
        (raw_archive(raw_header(b"n", uid=b"\xff" * 8)), "owner is out of range"),
        (raw_archive(raw_header(b"n", typeflag=b"3", major=b"\x81" + b"\0" * 7)), "device number"),
        (raw_archive(raw_header(b"n", typeflag=b"M")), "not supported"),
        (raw_archive(raw_header(b"n", typeflag=b"\xff")), "not supported"),
        (io.BytesIO(raw_header(b"n", size=b"00000777777\0") + b"short"), "ends early"),
        (raw_archive(raw_header(b"n", typeflag=b"L", size=b"00010000000\0")), "too long"),
        (raw_archive(raw_header(b"n", typeflag=b"x", size=NEGATIVE)), "too long"),
        (io.BytesIO(pax_header((b"path", b"n"))), "ends early"),
        (raw_archive(pax_header((b"size", b"abc")), raw_header(b"n")), "not a number"),
        (raw_archive(pax_header((b"size", b"9" * 5000)), raw_header(b"n")), "not a number"),
        (raw_archive(pax_header((b"mtime", b"1e9")), raw_header(b"n")), "time is not a number"),
        (raw_archive(pax_header((b"mtime", b"9" * 5000)), raw_header(b"n")), "not a number"),
        (raw_archive(pax_header((b"LIBARCHIVE.xattr.user.x", b"%%")), raw_header(b"n")), "base64"),
        (raw_archive(pax_header((b"GNU.sparse.map", b"0,1,2")), raw_header(b"n")), "map of holes"),
        (raw_archive(pax_header((b"GNU.sparse.map", b"0,9")), raw_header(b"n")), "map of holes"),
        (
            raw_archive(
                pax_header((b"GNU.sparse.map", b""), (b"GNU.sparse.size", b"-5")), raw_header(b"n")
            ),
            "size is out of range",
        ),
        (
            raw_archive(
                pax_header((b"GNU.sparse.major", b"1"), (b"GNU.sparse.realsize", b"9")),
                raw_header(b"n", size=b"00000001000\0") + b"99999999999\n" + bytes(600),
            ),
            "ends early",
        ),
    ],
)
def test_lies_are_errors(stream: io.BytesIO, message: str) -> None:
    stream.seek(0)
    with pytest.raises(ArchiveError, match=message):
        contents(stream)


@pytest.mark.parametrize(
    "data", [b"5", b"x y=z\n", b"9 a=b\n", b"6 a=b\nrest", b"5 ab\n", b"5 =b\n", b"-6 a=b\n"]
)
def test_damaged_pax_records(data: bytes) -> None:
    with pytest.raises(ArchiveError, match="damaged pax header"):
        parse_records(data)


def test_the_place_of_an_error() -> None:
    reader = TarReader(archive(file("a"), file("b")))
    assert reader.place == "at the beginning"
    places = [reader.place for _ in reader]
    assert places == ["a", "b"]
    assert reader.place == "after b"


@given(st.lists(st.tuples(st.binary(min_size=1).filter(lambda k: b"=" not in k), st.binary())))
@example([(b"k" * 94, b"")])
@example([(b"k", b"v" * 993)])
def test_pax_records_come_back(records: list[tuple[bytes, bytes]]) -> None:
    assert parse_records(format_records(records)) == records


@given(st.integers(-(10**25), 10**25))
def test_times_come_back(nanoseconds: int) -> None:
    assert parse_time(format_time(nanoseconds)) == nanoseconds


HEADERS = st.builds(
    raw_header,
    st.binary(max_size=100),
    typeflag=st.sampled_from([bytes([b]) for b in b"\x000123456789DgKLMNSVXxA"]),
    size=st.one_of(st.integers(0, 3000).map(lambda n: b"%011o\0" % n), st.binary(max_size=12)),
    mode=st.binary(max_size=8),
    uid=st.binary(max_size=8),
    mtime=st.binary(max_size=12),
    link=st.binary(max_size=100),
    magic=st.sampled_from([b"ustar\x0000", b"ustar  \0", b""]),
    prefix=st.binary(max_size=155),
)
KEYS = st.sampled_from(
    b"path size uid mtime linkpath SCHILY.xattr.user.x GNU.sparse.map GNU.sparse.major "
    b"GNU.sparse.realsize GNU.sparse.offset GNU.sparse.numbytes".split()
)
RECORDS = st.lists(st.tuples(KEYS, st.one_of(st.binary(max_size=20), st.just(b"1,2,3,4"))))
PARTS = st.one_of(HEADERS, st.binary(max_size=1100), RECORDS.map(lambda r: pax_header(*r)))


@settings(max_examples=400, deadline=None)
@given(st.lists(PARTS, max_size=6))
def test_rubbish_raises_nothing_but_archive_errors(parts: list[bytes]) -> None:
    try:
        contents(raw_archive(*parts))
    except ArchiveError:
        pass
    except OSError as error:
        if error.errno not in (errno.EFBIG, errno.EINVAL):  # no file system can hold the file
            raise
