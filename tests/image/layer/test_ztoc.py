"""zTOCs of SOCI: an index of a gzip that somebody else has made."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tarfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.base.record.span_table import SpanTable
from sundog.errors import ArchiveError, ContentMismatch, StoreError
from sundog.image.layer.blob_check import check_gzip_layer
from sundog.image.layer.gzip_index import read_gzip_index
from sundog.image.layer.toc import ENTRIES_LIMIT
from sundog.image.layer.ztoc import index_of_ztoc
from sundog.image.oci.digest import Digest
from sundog.runtime.fuse.span_contents import SpanContents
from tests.image.layer.archives import archive, directory, file, hard_link, symlink
from tests.image.layer.test_blob_tables import Pieces
from tests.image.layer.test_gzip_index import CONTENTS, described, indexed
from tests.image.layer.ztocs import Number, Table, flat, ztoc

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = {name.decode(): data for name, data in CONTENTS.items() if name.isascii()}
TAR = archive(
    directory("d", mode=0o2755, uid=5, gid=7),
    *(file(name, data) for name, data in NAMES.items()),
    symlink("d/link", "../text"),
    hard_link("hard", "text"),
    file("noted", pax={"SCHILY.xattr.user.note": "x"}),
).getvalue()
BLOB = gzip.compress(TAR, 6, mtime=0)
DIFF_ID = str(Digest.of(TAR))
OWN = b"".join(indexed(BLOB, DIFF_ID))
ZTOC = ztoc(TAR, BLOB, OWN)
BYTES = flat(ZTOC)
_MEMBERS, _COMPRESSION = 4, 5


def check(index: bytes, blob: bytes, contents: dict[str, bytes]) -> None:
    """Check that each file can be read by the index, from any place on."""
    table = read_gzip_index(index, len(blob))
    found = {member.name.decode("latin-1"): chunks for member, chunks in table.members()}
    spans = SpanContents(index, Pieces(blob), len(blob), Pieces(index))
    for name, data in contents.items():
        (chunk,) = found[name]
        for start, size in ((0, len(data)), (len(data) // 3, 5000), (len(data) - 1, 7)):
            read = spans.read(chunk.blob_offset, len(data), start, size)
            assert b"".join(read) == data[start : start + size]


def test_any_part(tmp_path: Path) -> None:
    index = b"".join(index_of_ztoc(BYTES, len(BLOB)))
    assert SpanTable(index, len(BLOB)).count > 3
    check(index, BLOB, NAMES)
    (tmp_path / "blob").write_bytes(BLOB)
    check_gzip_layer(bytes(tmp_path / "blob"), described(BLOB), DIFF_ID, index)


# A blob of LOWER and two more files, and its zTOC as Debian's golang library 0.4.1 makes it, with
# spans of 32 KiB.
SOCI = Path(__file__).parent / "soci"


def test_what_soci_makes() -> None:
    blob = (SOCI / "blob").read_bytes()
    tar = gzip.decompress(blob)
    with gzip.open(SOCI / "ztoc.gz") as packed:
        index = b"".join(index_of_ztoc(packed.read(), len(blob)))
    assert SpanTable(index, len(blob)).count > 2
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        contents = {
            member.name: file.read()
            for member in opened
            if member.isreg() and member.size and (file := opened.extractfile(member))
        }
    contents = {
        name: data for name, data in contents.items() if name.isascii() and "\n" not in name
    }
    assert len(contents["text"]) > 100_000
    check(index, blob, contents)
    # It says what the tar says, odd names included.
    check_gzip_layer(bytes(SOCI / "blob"), described(blob), str(Digest.of(tar)), index)


def test_wrong_bytes() -> None:
    """A span whose bytes, or whose window, are wrong is asked for again, and then an error."""
    head, windows = index_of_ztoc(BYTES, len(BLOB))
    index = head + windows
    other = bytes((windows[-1] ^ 1,))
    last = SpanTable(index, len(BLOB)).span(SpanTable(index, len(BLOB)).count - 1).offset
    for blob, kept in (
        *((bytes(len(BLOB)), index), (b"", index), (BLOB, head)),
        (BLOB, index[:-1] + other),
    ):
        spans = SpanContents(index, Pieces(blob), len(BLOB), Pieces(kept))
        with pytest.raises(StoreError, match="another digest"):
            spans.read(last, len(TAR) - last, 0, 1)


def changed(field: int, change: Callable[[Table], Table]) -> bytes:
    """Return the zTOC with another table in a field."""
    fields = list(ZTOC.fields)
    inner = fields[field]
    assert isinstance(inner, Table)
    fields[field] = change(inner)
    return flat(Table(tuple(fields)))


def with_field(number: int, value: object) -> Callable[[Table], Table]:
    def change(table: Table) -> Table:
        fields = list(table.fields)
        fields[number] = value
        return replace(table, fields=tuple(fields))

    return change


def with_members(change: Callable[[Table], Table]) -> bytes:
    def all_members(table: Table) -> Table:
        (members,) = table.fields
        assert isinstance(members, list)
        return Table(([change(each) for each in members],))

    return changed(_MEMBERS, all_members)


def points() -> bytes:
    compression = ZTOC.fields[_COMPRESSION]
    assert isinstance(compression, Table)
    found = compression.fields[3]
    assert isinstance(found, bytes)
    return found


REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "damaged"),
    "cut": (BYTES[:100], "damaged"),
    "another version": (flat(Table((b"2", *ZTOC.fields[1:]))), "unknown version"),
    "another blob": (
        flat(Table((*ZTOC.fields[:2], Number("<q", 5), *ZTOC.fields[3:]))),
        "of 5 bytes",
    ),
    "no compression": (flat(Table(ZTOC.fields[:5])), "damaged"),
    "zstd": (changed(_COMPRESSION, with_field(0, Number("<b", 2))), "another compression"),
    "no checkpoints": (changed(_COMPRESSION, with_field(3, b"")), "damaged"),
    "a part of one": (changed(_COMPRESSION, with_field(3, points()[:-1])), "damaged"),
    "one too few": (changed(_COMPRESSION, with_field(3, points()[:-32785])), "wrong number"),
    "no digests": (changed(_COMPRESSION, with_field(2, [])), "another number of digests"),
    "wrong digests": (
        changed(_COMPRESSION, with_field(2, [b"md5:12"] * SpanTable(OWN, len(BLOB)).count)),
        "without a SHA-256",
    ),
    "a checkpoint nowhere": (
        changed(_COMPRESSION, with_field(3, points()[:12] + struct.pack("<q", -1) + points()[20:])),
        "nowhere",
    ),
    "sparse": (
        with_members(with_field(13, [Table((b"GNU.sparse.major", b"1"))])),
        "sparse",
    ),
    "overlapping": (with_members(with_field(3, Number("<q", 1 << 22))), "overlap"),
    "negative": (with_members(with_field(2, Number("<q", -5))), "overlap"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    data, complaint = REFUSED[case]
    with pytest.raises(ArchiveError, match=complaint):
        index_of_ztoc(data, len(BLOB))


@pytest.mark.parametrize(
    ("member", "complaint"),
    [
        (with_field(1, b"door"), "unknown type"),
        (with_field(10, b"yesterday"), "time"),
    ],
)
def test_members_that_mean_nothing(member: Callable[[Table], Table], complaint: str) -> None:
    head, _ = index_of_ztoc(with_members(member), len(BLOB))
    with pytest.raises(ArchiveError, match=complaint):
        read_gzip_index(head, len(BLOB))


def test_many_members_that_are_one() -> None:
    """What a small file says over and over again has a bound."""
    one = flat(Table((bytes(1 << 20), b"dir")))
    (place,) = struct.unpack_from("<I", one)
    count = ENTRIES_LIMIT + 1
    data = bytearray(BYTES)
    vector, behind = len(data), len(data) + 4 + 4 * count
    offsets = [behind + place - (vector + 4 + 4 * number) for number in range(count)]
    data += struct.pack(f"<{count + 1}I", count, *offsets) + one
    (root,) = struct.unpack_from("<I", data)
    place = field(data, field(data, root, _MEMBERS), 0, refers=False)
    struct.pack_into("<I", data, place, vector - place)
    with pytest.raises(ArchiveError, match="more than"):
        index_of_ztoc(bytes(data), len(BLOB))
    struct.pack_into("<I", data, vector, 1000)
    with pytest.raises(ArchiveError, match="too large"):
        index_of_ztoc(bytes(data), len(BLOB))


def test_members_that_say_nothing_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member of members is looked at each time: a file of 8 MB may have 10^12 of them."""
    monkeypatch.setattr("sundog.image.layer.ztoc.TOC_LIMIT", 1 << 20)
    silent = Table((*[None] * 13, [Table(())] * 300))
    data = changed(_MEMBERS, lambda _: Table(([silent] * 300,)))
    with pytest.raises(ArchiveError, match="too large"):
        index_of_ztoc(data, len(BLOB))


def field(data: bytes | bytearray, table: int, number: int, *, refers: bool = True) -> int:
    """Return where a field of a table is, or where it leads to."""
    (back,) = struct.unpack_from("<i", data, table)
    (offset,) = struct.unpack_from("<H", data, table - back + 4 + 2 * number)
    place = table + int(offset)
    return place + int(struct.unpack_from("<I", data, place)[0]) if refers else place


def test_damage() -> None:
    chosen = random.Random(7)
    places = [at for at in range(len(BYTES)) if at < 3000 or at > len(BYTES) - 3000]
    for _ in range(300):
        damaged = bytearray(BYTES)
        for _ in range(3):
            damaged[chosen.choice(places)] = chosen.randrange(256)
        with suppress(ArchiveError, StoreError):
            index = b"".join(index_of_ztoc(bytes(damaged), len(BLOB)))
            read_gzip_index(index, len(BLOB))
            spans = SpanContents(index, Pieces(BLOB), len(BLOB), Pieces(index))
            spans.read(0, 1 << 40, chosen.randrange(len(TAR)), 1000)


def test_a_window_that_lies(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(BLOB)
    lies = bytearray(points())
    for at in range(12 + 32785, len(lies), 32785):
        lies[at + 17 : at + 32785] = bytes(32768)
    data = changed(_COMPRESSION, with_field(3, bytes(lies)))
    index = b"".join(index_of_ztoc(data, len(BLOB)))
    with pytest.raises(ContentMismatch, match=r"span \d differs"):
        check_gzip_layer(bytes(tmp_path / "blob"), described(BLOB), DIFF_ID, index)


def test_members_that_lie(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(BLOB)
    data = with_members(with_field(5, Number("<q", 0o777)))
    index = b"".join(index_of_ztoc(data, len(BLOB)))
    with pytest.raises(ContentMismatch, match="mode"):
        check_gzip_layer(bytes(tmp_path / "blob"), described(BLOB), DIFF_ID, index)
