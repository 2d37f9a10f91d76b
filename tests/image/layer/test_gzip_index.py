"""The index of an ordinary gzip: any part of it can be read, and wrong parts are not."""

from __future__ import annotations

import gzip
import io
import os
import random
import zlib
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.base.record.span_table import SPAN, SPAN_LIMIT, SPANS_HEAD, SPANS_MAGIC, SpanTable
from sundog.errors import ArchiveError, ContentMismatch, StoreError
from sundog.image.layer.blob_check import check_gzip_layer
from sundog.image.layer.compressing import ZstdFrames
from sundog.image.layer.compression import zstd_decompressor
from sundog.image.layer.gzip_index import SPAN_SIZE, index_gzip, read_gzip_index
from sundog.image.layer.limits import Meter
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.oci.media_types import OCI_LAYER_GZIP
from sundog.runtime.fuse.blob import FileBlob
from sundog.runtime.fuse.span_contents import SpanContents
from tests.image.layer.archives import archive, file, hard_link, symlink
from tests.image.layer.test_blob_tables import Pieces

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WORDS = [b"%x" % number * 3 for number in random.Random(1).sample(range(1 << 30), 500)]
CONTENTS = {
    b"small": b"x",
    b"text": b" ".join(random.Random(2).choices(WORDS, k=150_000)),
    b"noise": random.Random(3).randbytes(SPAN_SIZE + 12345),
    b"zeros": bytes(3 * SPAN_SIZE),
    b"odd\xff": b"odd",
}
TAR = archive(
    *(file(name, data) for name, data in CONTENTS.items()),
    symlink("link", b"\xff"),
    hard_link("hard", "text"),
    file("a", b"", pax={"mtime": "5.25", "SCHILY.acl.access": "u::r"}),
).getvalue()
DIFF_ID = str(Digest.of(TAR))


def members(data: bytes, step: int, between: bytes = b"") -> bytes:
    parts = [data[at : at + step] for at in range(0, len(data), step)]
    return between.join(map(gzip.compress, parts))


def stored(data: bytes) -> bytes:
    compressor = zlib.compressobj(0, wbits=31)
    return compressor.compress(data) + compressor.flush()


def fixed() -> bytes:
    compressor = zlib.compressobj(6, wbits=31, strategy=zlib.Z_FIXED)
    return compressor.compress(TAR) + compressor.flush()


MAKERS: dict[str, Callable[[], bytes]] = {
    "best": lambda: gzip.compress(TAR, 9),
    "fastest": lambda: gzip.compress(TAR, 1),
    "stored": lambda: stored(TAR),
    "members": lambda: members(TAR, 100_000),
    "one large member": lambda: members(TAR, SPAN_SIZE * 3 + 7),
    "padded members": lambda: members(TAR, 100_000, bytes(7)),
    "padded": lambda: gzip.compress(TAR) + bytes(5000),
    "fixed": fixed,
}


def described(blob: bytes) -> Descriptor:
    return Descriptor(OCI_LAYER_GZIP, Digest.of(blob), len(blob))


def indexed(blob: bytes, diff_id: str = DIFF_ID) -> list[bytes]:
    return index_gzip(io.BytesIO(blob), described(blob), diff_id, Meter())


@pytest.mark.parametrize("form", MAKERS)
def test_any_part(form: str, tmp_path: Path) -> None:
    blob = MAKERS[form]()
    head, windows = indexed(blob)
    assert [head, windows] == indexed(blob)
    table = read_gzip_index(head, len(blob))
    found = {member.name: (member, chunks) for member, chunks in table.members()}
    assert found[b"link"][0].link == b"\xff"
    assert found[b"a"][0].mtime_ns == 5_250_000_000
    assert found[b"a"][0].xattrs == {b"SCHILY.acl.access": b"u::r"}
    (tmp_path / "blob").write_bytes(blob)
    (tmp_path / "spans").write_bytes(head + windows)
    with open(tmp_path / "blob", "rb") as one, open(tmp_path / "spans", "rb") as other:
        pieces, spans = FileBlob(one.fileno()), FileBlob(other.fileno())
        contents = SpanContents(head, pieces, len(blob), spans)
        for name, data in CONTENTS.items():
            member, (chunk,) = found[name]
            assert member.size == len(data)
            for start, size in ((0, len(data)), (len(data) // 3, 5000), (len(data) - 1, 7)):
                read = contents.read(chunk.blob_offset, len(data), start, size)
                assert b"".join(read) == data[start : start + size]


def test_spans_are_of_their_size() -> None:
    blob = MAKERS["best"]()
    table = SpanTable(indexed(blob)[0], len(blob))
    sizes = [span.end - span.offset for span in map(table.span, range(table.count))]
    assert sum(sizes) == len(TAR)
    assert min(sizes[:-1]) >= SPAN_SIZE


REFUSED: dict[str, tuple[bytes, str, str]] = {
    "no gzip": (b"x" * 100, DIFF_ID, "damaged"),
    "nothing": (b"", DIFF_ID, "ends early"),
    "cut": (gzip.compress(TAR)[:-9], DIFF_ID, "ends early"),
    "damaged": (gzip.compress(TAR)[:5000] + b"\xff" * 5000, DIFF_ID, "damaged|ends early"),
    "rubbish behind": (gzip.compress(TAR) + b"rubbish", DIFF_ID, "damaged|ends early"),
    "much padding": (gzip.compress(TAR) + bytes(SPAN_LIMIT), DIFF_ID, "too long"),
    "another tar": (gzip.compress(TAR), str(Digest.of(b"")), "unpacked, it has digest"),
    "no tar": (gzip.compress(b"x" * 1000), str(Digest.of(b"x" * 1000)), "not a tar"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_index(case: str) -> None:
    blob, diff_id, complaint = REFUSED[case]
    with pytest.raises((ArchiveError, ContentMismatch), match=complaint):
        indexed(blob, diff_id)


def test_another_blob() -> None:
    blob = gzip.compress(TAR)
    with pytest.raises(ContentMismatch, match="the manifest says"):
        index_gzip(io.BytesIO(blob), described(blob + b"\0"), DIFF_ID, Meter())


def test_wrong_bytes() -> None:
    """A span whose bytes, or whose window, are wrong is asked for again, and then an error."""
    blob = MAKERS["best"]()
    head, windows = indexed(blob)
    table = read_gzip_index(head, len(blob))
    place = next(chunks[0].blob_offset for m, chunks in table.members() if m.name == b"noise")
    size = len(CONTENTS[b"noise"])
    for pieces, spans in (
        (Pieces(bytes(len(blob))), Pieces(head + windows)),
        (Pieces(b""), Pieces(head + windows)),
        (Pieces(blob), Pieces(bytes(len(head + windows)))),
    ):
        contents = SpanContents(head, pieces, len(blob), spans)
        with pytest.raises(StoreError, match="another digest"):
            contents.read(place, size, size - 10, 10)
        assert pieces.discarded


@cache
def fastest() -> tuple[bytes, bytes, bytes]:
    """Return a blob, and the two parts of its index."""
    blob = MAKERS["fastest"]()
    head, windows = indexed(blob)
    return blob, head, windows


@settings(max_examples=100, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, SPANS_HEAD.size + SPAN.size * 8), st.integers(0, 255)),
        min_size=1,
        max_size=4,
    ),
    at=st.integers(0, len(TAR) - 1),
)
def test_damaged_indexes(changes: list[tuple[int, int]], at: int) -> None:
    blob, head, windows = fastest()
    damaged = bytearray(head)
    for place, value in changes:
        damaged[place % len(head)] = value
    with suppress(StoreError):
        contents = SpanContents(bytes(damaged), Pieces(blob), len(blob), Pieces(head + windows))
        assert TAR[at:].startswith(b"".join(contents.read(at, len(TAR), 0, 1000)))
    with suppress(ArchiveError, StoreError):
        list(read_gzip_index(bytes(damaged), len(blob)).members())


def test_spans_are_bounded() -> None:
    blob = gzip.compress(TAR)
    head = bytearray(indexed(blob)[0])
    head[24:32] = (len(TAR) + SPAN_LIMIT + 1).to_bytes(8, "little")  # the size of the tar
    table = SpanTable(bytes(head), len(blob))
    with pytest.raises(StoreError, match="is wrong"):
        table.span(table.count - 1)


def with_other_bytes(head: bytes) -> bytes:
    """Change the digest of a span."""
    at = SPANS_HEAD.size + SPAN.size - 1
    return head[:at] + bytes((head[at] ^ 1,)) + head[at + 1 :]


def with_set_id(head: bytes) -> bytes:
    """Let the table of contents say that a file is set-id."""
    start = SPANS_HEAD.size + SPAN.size * SpanTable(head, 1 << 20).count
    size = int.from_bytes(head[start : start + 8], "little")
    text = zstd_decompressor().decompress(head[start + 8 :], size)
    changed = text.replace(b'"mode":420', b'"mode":2541', 1)
    packed = len(changed).to_bytes(8, "little") + ZstdFrames().piece(changed)
    _, count, tar, _ = SPANS_HEAD.unpack_from(head)
    begin = SPANS_HEAD.pack(SPANS_MAGIC, count, tar, len(packed))
    return begin + head[SPANS_HEAD.size : start] + packed


def test_a_blob_that_comes(tmp_path: Path) -> None:
    """A check reads no byte before it is here, and each once."""
    blob, place = MAKERS["best"](), tmp_path / "blob"
    place.touch()
    os.truncate(place, len(blob))
    reads = [(0, 0)]

    def wait(start: int, end: int) -> None:
        assert start == min(reads[-1][1], len(blob))
        assert end - start <= 1 << 20
        reads.append((start, end))
        with place.open("rb+") as file:
            file.seek(start)
            file.write(blob[start:end])

    check_gzip_layer(bytes(place), described(blob), DIFF_ID, b"".join(indexed(blob)), wait)
    assert reads[-1][1] >= len(blob)


@pytest.mark.parametrize(
    ("change", "complaint"), [(with_other_bytes, "span 0 differs"), (with_set_id, "small: mode")]
)
def test_an_index_that_lies(
    change: Callable[[bytes], bytes], complaint: str, tmp_path: Path
) -> None:
    blob = MAKERS["best"]()
    (tmp_path / "blob").write_bytes(blob)
    head, windows = indexed(blob)
    check_gzip_layer(bytes(tmp_path / "blob"), described(blob), DIFF_ID, head + windows)
    for wrong in (change(head) + windows, head, head[:-1]):
        with pytest.raises(
            (ContentMismatch, ArchiveError), match=f"{complaint}|span 1 differs|was cut"
        ):
            check_gzip_layer(bytes(tmp_path / "blob"), described(blob), DIFF_ID, wrong)
