"""Blobs of zstd:chunked and eStargz that are written here: what is in them, and who reads it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.base.record.chunk_table import STARGZ_NAME, ChunkTableWriter
from sundog.image.layer.blob_check import check_blob_layer
from sundog.image.layer.blob_tables import CHUNKED_PLACE, CHUNKED_SPLIT, read_table
from sundog.image.layer.compressing import ESTARGZ, ZSTD_CHUNKED
from sundog.image.layer.compression import open_decompressed, zstd_decompressor
from sundog.image.layer.piecewise import CHUNK_SIZE, piecewise_writer
from sundog.image.layer.tar_split import crc64
from sundog.image.oci.descriptor import Descriptor
from sundog.image.oci.digest import Digest
from sundog.image.oci.media_types import OCI_LAYER
from sundog.runtime.fuse.blob import FileBlob
from sundog.runtime.fuse.blob_contents import BlobContents
from tests.image.layer.archives import Entry, archive, directory, file, hard_link, symlink

if TYPE_CHECKING:
    from pathlib import Path

NOISE = random.Random(3).randbytes(CHUNK_SIZE)
CONTENTS = {
    b"one": NOISE,
    b"two": NOISE * 2 + b"more",
    b"zeros": bytes(3 * CHUNK_SIZE),
    b"d/su": b"su",
    b"d/" + b"n" * 200: b"long",
}
TAR = archive(
    directory("./", mode=0o751),
    directory("d", mode=0o2750, uid=7, pax={"SCHILY.xattr.user.note": "x", "mtime": "5.25"}),
    *(file(name, data, mode=0o4755, uid=1 << 22) for name, data in CONTENTS.items()),
    file("empty", b"", pax={"mtime": "1600000000.75"}),
    hard_link("hard", "one"),
    symlink("link", "/" + "l" * 150),
    Entry("null", "c", device=(1, 3)),
    Entry("pipe", "p", mode=0o600),
    file("gone/.wh.x", b""),
    file("gone/.wh..wh..opq", b""),
).getvalue()
# As ``tar_writer`` ends an archive.
TAR = TAR.rstrip(b"\0") + bytes(-len(TAR.rstrip(b"\0")) % 512) + bytes(1024)


def packed(tar: bytes, compression: str, step: int = 100_000) -> tuple[Descriptor, bytes, str]:
    """Compress a tar; return its descriptor, the blob and the diff_id."""
    out = io.BytesIO()
    writer = piecewise_writer(out, compression)
    assert writer is not None
    for start in range(0, len(tar), step):
        writer.write(tar[start : start + step])
    writer.finish()
    blob = out.getvalue()
    digest = Digest.parse(writer.digest)
    assert digest == Digest.of(blob)
    assert writer.size == len(blob)
    return Descriptor(OCI_LAYER, digest, len(blob), writer.annotations), blob, writer.diff_id


@pytest.mark.parametrize("compression", [ZSTD_CHUNKED, ESTARGZ])
def test_there_and_back(compression: str, tmp_path: Path) -> None:
    layer, blob, diff_id = packed(TAR, compression)
    for step in (1000, 1 << 20):  # equal archives give equal bytes
        assert packed(TAR, compression, step)[1] == blob
    place = tmp_path / "blob"
    place.write_bytes(blob)
    check_blob_layer(bytes(place), layer, diff_id)
    unpacked = open_decompressed(io.BytesIO(blob)).read()
    assert diff_id == f"sha256:{hashlib.sha256(unpacked).hexdigest()}"
    if compression == ZSTD_CHUNKED:
        assert unpacked == TAR
    table = read_table(layer, lambda offset, size: blob[offset : offset + size])
    chunks = ChunkTableWriter(table.kind)
    places = {m.name: (chunks.add(c), m.size) for m, c in table.members() if c}
    with open(place, "rb") as opened:
        contents = BlobContents(b"".join(chunks.parts()), FileBlob(opened.fileno()))
        for name, data in CONTENTS.items():
            at, size = places[name]
            assert b"".join(contents.read(at, size, 0, size)) == data
            assert (
                b"".join(contents.read(at, size, size // 3, size // 2))
                == (data[size // 3 :][: size // 2])
            )


def test_tar_split() -> None:
    layer, blob, _ = packed(TAR, ZSTD_CHUNKED)
    place, length, size = map(int, layer.annotations[CHUNKED_SPLIT].split(":"))
    frame = blob[place : place + length]
    text = zstd_decompressor().decompress(frame, 1 << 30)
    assert len(text) == size
    whole = b""
    for position, line in enumerate(map(json.loads, text.splitlines())):
        assert line["position"] == position
        payload = base64.b64decode(line.get("payload", ""))
        if line["type"] == 2:
            whole += payload
        elif line.get("size"):
            data = CONTENTS[line["name"].encode()]
            whole += data
            if len(data) < 1000:
                assert payload == slow_crc64(data).to_bytes(8, "big")
    assert whole == TAR
    # The table names it.
    place, length = map(int, layer.annotations[CHUNKED_PLACE].split(":")[:2])
    table = json.loads(zstd_decompressor().decompress(blob[place : place + length], 1 << 30))
    assert table["tarSplitDigest"] == str(Digest.of(frame))


def slow_crc64(data: bytes) -> int:
    crc = (1 << 64) - 1
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xD800000000000000 if crc & 1 else 0)
    return crc ^ (1 << 64) - 1


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_crc64(one: bytes, two: bytes) -> None:
    assert crc64(two, crc64(one)) == slow_crc64(one + two)


@pytest.mark.parametrize("compression", [ZSTD_CHUNKED, ESTARGZ])
@pytest.mark.parametrize(
    "entry",
    [
        file(b"\xff"),
        symlink("l", b"\xff"),
        file("a", pax={"SCHILY.acl.access": "user::rw-"}),
        file("a", pax={"mtime": "999999999999"}),
    ],
    ids=range(4),
)
def test_what_no_table_can_tell(compression: str, entry: Entry) -> None:
    tar = archive(file("b", b"contents"), entry).getvalue()
    layer, blob, _ = packed(tar, compression)
    assert not layer.annotations
    assert open_decompressed(io.BytesIO(blob)).read().rstrip(b"\0") == tar.rstrip(b"\0")


@pytest.mark.parametrize("compression", [ZSTD_CHUNKED, ESTARGZ])
def test_an_archive_without_anything(compression: str) -> None:
    layer, blob, _ = packed(bytes(1024), compression)
    table = read_table(layer, lambda offset, size: blob[offset : offset + size])
    # That of eStargz is a file itself.
    assert [m.name for m, _ in table.members()] == [STARGZ_NAME] * (compression == ESTARGZ)
