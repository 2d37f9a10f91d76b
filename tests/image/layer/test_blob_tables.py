"""Tables of contents of strangers: they mean what they say, or are refused in one line."""

from __future__ import annotations

import gzip
import json
import os
import resource
import tracemalloc
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.base.record.chunk_table import (
    CHUNK_LIMIT,
    GZIP_MEMBERS,
    ZSTD_FRAMES,
    Chunk,
    ChunkTableWriter,
    note_checked,
)
from sundog.errors import ArchiveError, StoreError
from sundog.image.layer import toc
from sundog.image.layer.blob_layer import planned
from sundog.image.layer.blob_tables import CHUNKED_DIGEST, CHUNKED_PLACE, STARGZ_DIGEST, read_table
from sundog.image.layer.planned_index import PlannedIndex
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.oci.media_types import OCI_LAYER_GZIP, OCI_LAYER_ZSTD
from sundog.runtime.fuse.blob import FileBlob
from sundog.runtime.fuse.blob_contents import BlobContents

if TYPE_CHECKING:
    from pathlib import Path

try:
    from compression import zstd
except ImportError:
    from backports import zstd

DATA = b"contents"
FRAME = zstd.compress(DATA)
DIGEST = str(Digest.of(DATA))
SIZE = 1 << 20  # of blobs


def index(text: bytes, *, place: str = "", frame: bytes = b"") -> PlannedIndex:
    """Make the index of a blob of zstd:chunked with this table of contents."""
    frame = frame or zstd.compress(text)
    said = place or f"{SIZE - len(frame)}:{len(frame)}:{len(text)}:1"
    annotations = {CHUNKED_DIGEST: str(Digest.of(frame)), CHUNKED_PLACE: said}
    layer = Descriptor(OCI_LAYER_ZSTD, Digest.of(b""), SIZE, annotations)
    table = read_table(layer, lambda _offset, _size: frame)
    tree, owners = planned(table.members(), ())
    return PlannedIndex(tree, owners, table.kind)


def of_entries(*entries: object) -> bytes:
    return json.dumps({"version": 1, "entries": entries}).encode()


def reg(name: str = "f", **more: object) -> dict[str, object]:
    known = {"type": "reg", "name": name, "size": 8, "offset": 0, "endOffset": 20}
    return {**known, "digest": DIGEST, **more}


def chunk(**more: object) -> dict[str, object]:
    return {"type": "chunk", "name": "f", "offset": 30, "chunkDigest": DIGEST, **more}


HUGE = 1 << 62
REFUSED: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"x", "not JSON"),
    "a list": (b"[]", "not JSON"),
    "cut": (of_entries(reg())[:-2], "not JSON"),
    "deep": (b'{"entries":' + b"[" * 100_000, "not JSON"),
    "many digits": (b'{"entries":[{"size":' + b"9" * 10_000 + b"}]}", "not JSON"),
    "no UTF-8": (b'{"entries":[{"name":"\xff"}]}', "not UTF-8"),
    "no object": (of_entries(1), "is no object"),
    "no type": (of_entries({"name": "a"}), "unknown type"),
    "unknown type": (of_entries({"name": "a", "type": "socket"}), "unknown type"),
    "a name with ..": (of_entries({"type": "dir", "name": "a/../../b"}), '".." in it'),
    "a name with NUL": (of_entries({"type": "dir", "name": "a\0b"}), "NUL"),
    "a lost name": (of_entries({"type": "dir", "name": "a\ufffd"}), "lost a part"),
    "half a pair": (b'{"entries":[{"type":"dir","name":"\\ud800"}]}', "not UTF-8"),
    "a long name": (of_entries({"type": "dir", "name": "n" * 256}), "more than 255 bytes"),
    "a long path": (of_entries({"type": "dir", "name": "n/" * 3000}), "PATH_MAX"),
    "the root": (of_entries(reg("/")), "the root is not a directory"),
    "below a file": (of_entries(reg("f"), reg("f/g")), "f is not a directory"),
    "through a link": (
        of_entries({"type": "symlink", "name": "l", "linkName": "/"}, reg("l/g")),
        "leads through the symbolic link l",
    ),
    "no target": (of_entries({"type": "symlink", "name": "l"}), "without a proper target"),
    "a loop of hard links": (
        of_entries(
            {"type": "hardlink", "name": "a", "linkName": "b"},
            {"type": "hardlink", "name": "b", "linkName": "a"},
        ),
        "which is not in the layer",
    ),
    "a hard link to a directory": (
        of_entries(
            {"type": "dir", "name": "d"},
            {"type": "hardlink", "name": "h", "linkName": "d"},
        ),
        "a directory",
    ),
    "a negative size": (of_entries(reg(size=-1)), "size of an entry"),
    "no whole size": (of_entries(reg(size=8.0)), "size of an entry"),
    "an infinite size": (b'{"entries":[{"type":"reg","name":"f","size":1e400}]}', "out of range"),
    "a size of text": (of_entries(reg(size="8")), "size of an entry"),
    "a true size": (of_entries(reg(size=True)), "size of an entry"),
    "a size that overflows": (of_entries(reg(size=1 << 63)), "size of an entry"),
    "a large owner": (of_entries(reg(uid=1 << 32)), "uid of an entry"),
    "a large device": (
        of_entries({"type": "char", "name": "c", "devMajor": 1 << 20}),
        "devMajor of an entry",
    ),
    "a wrong time": (of_entries(reg(modtime="now")), "a time of its table"),
    "a long time": (of_entries(reg(modtime=f"2020-01-01T00:00:00.{'5' * 50}Z")), "a time of"),
    "a time without a zone": (of_entries(reg(modtime="2020-01-01T00:00:00")), "a time of"),
    "a wrong attribute": (of_entries(reg(xattrs={"user.a": "?"})), "not in base64"),
    "many attributes": (
        of_entries(reg(xattrs={f"user.{number}": "" for number in range((1 << 16) + 1)})),
        "more than 65,536 extended attributes",
    ),
    "attributes as a list": (of_entries(reg(xattrs=["user.a"])), "no object"),
    "no digest": (of_entries(reg(digest="")), "without a SHA-256 digest"),
    "a short digest": (of_entries(reg(digest="sha256:00")), "without a SHA-256 digest"),
    "another digest": (of_entries(reg(digest="md5:" + "0" * 32)), "without a SHA-256 digest"),
    "a chunk without a digest": (
        of_entries(reg(chunkSize=4), chunk(chunkOffset=4, chunkDigest="")),
        "without a SHA-256 digest",
    ),
    "a chunk first": (of_entries(chunk()), "a chunk of no file"),
    "a chunk of a directory": (
        of_entries({"type": "dir", "name": "d"}, chunk()),
        "a chunk of no file",
    ),
    "a chunk behind the end": (of_entries(reg(), chunk(chunkOffset=9)), "a chunk of"),
    "chunks that go back": (
        of_entries(reg(), chunk(chunkOffset=4), chunk(chunkOffset=2)),
        "a chunk of",
    ),
    "two chunks at one place": (of_entries(reg(), chunk(chunkOffset=0)), "a chunk of"),
    "a first chunk in the middle": (of_entries(reg(chunkOffset=1)), "does not begin at 0"),
    "a chunk that is too large": (of_entries(reg(size=CHUNK_LIMIT + 1)), "a chunk of"),
    "an endless chunk": (of_entries(reg(size=HUGE)), "a chunk of"),
    "an endless hole": (of_entries(reg(size=HUGE, chunkType="zeros")), "a chunk of"),
    "a piece behind the end": (of_entries(reg(offset=HUGE, endOffset=HUGE + 20)), "a chunk of"),
    "a piece that ends early": (of_entries(reg(offset=9, endOffset=9)), "a chunk without bytes"),
    "an inner offset": (of_entries(reg(innerOffset=HUGE)), "a chunk of"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    text, complaint = REFUSED[case]
    with pytest.raises(ArchiveError) as caught:
        index(text)
    assert complaint in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 500


PLACES = {
    "0:1:2": "wrong annotation",
    "x:1:1:1": "wrong annotation",
    "-1:1:1:1": "wrong annotation",
    "0:5:5:2": "unknown type",
    f"0:{1 << 30}:5:1": "a table of contents of",
    f"0:5:{1 << 40}:1": "a table of contents of",
    f"{SIZE}:5:5:1": "behind its end",
    f"{'9' * 30}:5:5:1": "wrong annotation",
    "0:15:14:1": "does not unpack to 14 bytes",
    "0:15:16:1": "does not unpack to 16 bytes",
}


@pytest.mark.parametrize("place", PLACES)
def test_wrong_annotations(place: str) -> None:
    with pytest.raises(ArchiveError, match=PLACES[place]):
        index(b'{"entries":[]}x', place=place)


def test_a_table_of_another_digest() -> None:
    layer = Descriptor(
        OCI_LAYER_ZSTD, Digest.of(b""), SIZE, {CHUNKED_DIGEST: DIGEST, CHUNKED_PLACE: "0:9:9:1"}
    )
    with pytest.raises(ArchiveError, match="not the one that its manifest names"):
        read_table(layer, lambda _offset, size: bytes(size))


@pytest.mark.parametrize("end", [b"", b"x" * 51, bytes(16) + b"0" * 16 + b"STARGZ" + bytes(13)])
def test_wrong_ends_of_estargz(end: bytes) -> None:
    layer = Descriptor(OCI_LAYER_ZSTD, Digest.of(b""), len(end), {STARGZ_DIGEST: DIGEST})
    with pytest.raises(ArchiveError):
        read_table(layer, lambda offset, size: end[offset : offset + size])


FOOTER = bytes.fromhex("1f8b08040000000000ff1a00") + b"SG\x16\0%016xSTARGZ" + b"\1\0\0\xff\xff"
FOOTER += bytes(8)


@settings(max_examples=200, deadline=None)
@given(
    before=st.binary(max_size=200) | st.binary(max_size=200).map(gzip.compress),
    place=st.integers(0, 300) | st.integers(0, (1 << 64) - 1),
    changes=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=3),
)
def test_random_ends_of_estargz(before: bytes, place: int, changes: list[tuple[int, int]]) -> None:
    """What the end says leads nowhere: the table has not the digest that the manifest names."""
    blob = bytearray(before + FOOTER % place)
    for at, value in changes:
        blob[-1 - at % len(blob)] = value
    layer = Descriptor(OCI_LAYER_GZIP, Digest.of(b""), len(blob), {STARGZ_DIGEST: DIGEST})
    reads = []

    def read(offset: int, size: int) -> bytes:
        assert 0 <= offset <= offset + size <= len(blob)
        reads.append(size)
        return bytes(blob[offset : offset + size])

    with pytest.raises(ArchiveError):
        read_table(layer, read)
    assert len(reads) <= 2


def test_many_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toc, "ENTRIES_LIMIT", 100)
    index(of_entries(*[reg()] * 100))
    with pytest.raises(ArchiveError, match="more than 100 entries"):
        index(of_entries(*[reg()] * 101))
    with pytest.raises(ArchiveError, match="more than 100 entries"):
        index(of_entries(reg(), *[chunk()] * 100))


def test_extended_attributes_count_as_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toc, "ENTRIES_LIMIT", 100)
    attributes = {f"user.{number}": "" for number in range(60)}
    index(of_entries(reg(xattrs=attributes)))
    with pytest.raises(ArchiveError, match="more than 100 entries"):
        index(of_entries(reg(xattrs=attributes), reg("g", xattrs=attributes), reg("h")))


LARGE = b"[]," * (3 << 20)
VALUES_THAT_ARE_LARGE = {
    "another member": b'{"x":[' + LARGE + b'0],"entries":[]}',
    "an entry": b'{"entries":[{"x":[' + LARGE + b"0]}]}",
    "not ended": b'{"entries":[[' + LARGE,
    "a key": b'{"' + LARGE + b'":0}',
}


@pytest.mark.parametrize("which", VALUES_THAT_ARE_LARGE)
def test_a_large_value_takes_little_memory(which: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError, match="a value of more than 1,048,576 bytes"):
            toc.parse_toc(VALUES_THAT_ARE_LARGE[which])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 64 << 20


@pytest.mark.parametrize("at", range(8))
def test_a_text_is_decoded_in_parts(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    monkeypatch.setattr(toc, "_VALUE_LIMIT", 100)
    names = [f"{'x' * at}\U0001f600{number}é" for number in range(50)]
    text = json.dumps(
        {"a": 1, "entries": [{"type": "dir", "name": name} for name in names], "b": []},
        ensure_ascii=False,
        indent=at,
    ).encode()
    assert [file.member.name.decode() for file in toc.parse_toc(text)] == names
    with pytest.raises(ArchiveError, match="not UTF-8"):
        toc.parse_toc(text[:-4] + b"\xf0\x9f" + text[-4:])


@pytest.mark.parametrize("between", [",", " ,", ", ", "\n,\n"])
@pytest.mark.parametrize("name", ["f", "},", "},{", "]},"])
def test_entries_however_they_are_parted(between: str, name: str) -> None:
    """Several are parsed at once, where it is clear how many."""
    names = [f"{name}{number}" for number in range(4000)]
    entries = between.join(json.dumps({"type": "reg", "name": each}) for each in names)
    files = toc.parse_toc(f'{{"version": 1, "entries": [{entries}], "more": [1, 2]}}'.encode())
    assert [file.member.name.decode() for file in files] == names


def test_other_members_of_the_object() -> None:
    text = b'{"a":[{"entries":1}],"entries":[{"type":"dir","name":"d","new":[]}],"b":null}'
    assert index(text).index.count == 2
    assert index(b"{}").index.count == index(b'{"entries":[]}').index.count == 1


class Pieces:
    """A blob that consists of these bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.discarded = 0

    def read(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size]

    def lacks(self, _offset: int, _size: int) -> bool:
        return True

    def has_some(self, _offset: int, _size: int) -> bool:
        return True

    def expect(self, _offset: int, _size: int) -> None: ...

    def discard(self, _offset: int, _wrong: bytes) -> bool:
        self.discarded += 1
        return self.discarded < 2


BOMB = zstd.compress(bytes(1 << 28))
WINDOW = bytes.fromhex("28b52ffd00a8") + b"\1\0\0"  # 2 GiB


MEMBER = gzip.compress(DATA)
GZIP_BOMB = gzip.compress(bytes(1 << 28), 1)
WRONG = {
    ZSTD_FRAMES: [b"", b"x", FRAME[:-3], BOMB, WINDOW, zstd.compress(b"c0ntents")],
    GZIP_MEMBERS: [b"", b"x", MEMBER[:10], GZIP_BOMB, gzip.compress(b"c0ntents")],
}


@pytest.mark.parametrize(
    ("kind", "piece"),
    [(kind, piece) for kind, pieces in WRONG.items() for piece in pieces],
    ids=count(),
)
def test_wrong_pieces(kind: int, piece: bytes) -> None:
    table = ChunkTableWriter(kind)
    digest = bytes.fromhex(DIGEST[7:])
    table.add([Chunk(0, max(len(piece), 1), 0, len(DATA), digest=digest)])
    blob = Pieces(piece)
    contents = BlobContents(b"".join(table.parts()), blob)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StoreError, match="another digest"):
        contents.read(0, len(DATA), 0, len(DATA))
    assert blob.discarded == 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_a_piece_that_comes_right_the_second_time() -> None:
    table = ChunkTableWriter(ZSTD_FRAMES)
    table.add([Chunk(0, len(FRAME), 0, len(DATA), digest=bytes.fromhex(DIGEST[7:]))])

    class Mended(Pieces):
        def discard(self, offset: int, wrong: bytes) -> bool:
            self.data = FRAME
            return super().discard(offset, wrong)

    blob = Mended(b"x")
    contents = BlobContents(b"".join(table.parts()), blob)
    assert b"".join(contents.read(0, len(DATA), 1, 3)) == DATA[1:4]
    assert blob.discarded == 1
    with pytest.raises(StoreError):
        contents.read(1, len(DATA), 0, 1)
    with pytest.raises(StoreError):  # a file that the index says to be longer
        contents.read(0, len(DATA) + 1, 0, len(DATA) + 1)


def table_of(*chunks: Chunk) -> bytes:
    writer = ChunkTableWriter(ZSTD_FRAMES)
    writer.add(chunks)
    return b"".join(writer.parts())


def in_file(data: bytes) -> int:
    """Return a file with this data, open."""
    fd = os.memfd_create("blob")
    os.write(fd, data)
    return fd


RIGHT: Any = {"digest": bytes.fromhex(DIGEST[7:])}


def test_only_a_complete_blob_is_believed(tmp_path: Path) -> None:
    other = zstd.compress(b"c0ntents")
    blob = in_file(other)
    file = tmp_path / "chunks"
    file.write_bytes(table_of(Chunk(0, len(other), 0, len(DATA), **RIGHT)))
    with pytest.raises(StoreError, match="another digest"):
        BlobContents(file.read_bytes(), FileBlob(blob)).read(0, len(DATA), 0, len(DATA))
    with file.open("rb+") as table:
        note_checked(table.fileno(), ZSTD_FRAMES)
    checked = BlobContents(file.read_bytes(), FileBlob(blob))
    assert b"".join(checked.read(0, len(DATA), 0, len(DATA))) == b"c0ntents"
    with pytest.raises(StoreError, match="another digest"):
        BlobContents(file.read_bytes(), Pieces(other)).read(0, len(DATA), 0, len(DATA))
    short = BlobContents(file.read_bytes(), FileBlob(in_file(zstd.compress(b"c"))))
    with pytest.raises(StoreError, match="another digest"):
        short.read(0, len(DATA), 0, len(DATA))


VALID: list[dict[str, Any]] = [
    {"type": "dir", "name": "d/", "mode": 0o755, "uid": 1, "modtime": "2020-01-01T00:00:00.5Z"},
    reg("d/f", chunkSize=4, chunkDigest=DIGEST),
    chunk(name="d/f", chunkOffset=4),
    {"type": "hardlink", "name": "h", "linkName": "d/f"},
    {"type": "symlink", "name": "l", "linkName": "h"},
    {"type": "char", "name": "c", "devMajor": 1, "xattrs": {"user.a": "eA=="}},
    {"type": "reg", "name": "d/.wh.x"},
]
VALUES = st.one_of(
    st.integers(-2, 2), st.integers(), st.text(max_size=5), st.none(), st.booleans(), st.floats(),
    st.sampled_from(["reg", "chunk", "dir", "hardlink", "d/f", "..", "d", "zeros", DIGEST]),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.text(max_size=3)),
)  # fmt: skip
KEYS = st.sampled_from(sorted({key for each in VALID for key in each} | {"chunkType"}))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(VALID) - 1), KEYS, VALUES), max_size=3))
def test_random_changes(changes: list[tuple[int, str, object]]) -> None:
    entries = [dict(each) for each in VALID]
    for at, key, value in changes:
        entries[at][key] = value
    with suppress(ArchiveError):
        index(of_entries(*entries))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 900), st.binary(max_size=2)), min_size=1, max_size=4))
def test_random_bytes(changes: list[tuple[int, bytes]]) -> None:
    text = of_entries(*VALID)
    for at, new in changes:
        text = text[:at] + new + text[at + 1 :]
    with suppress(ArchiveError):
        index(text)
