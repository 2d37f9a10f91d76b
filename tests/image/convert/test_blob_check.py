"""A complete blob is compared with its table of contents: no lie stays."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sundog.errors import ContentMismatch
from sundog.image.layer.blob_check import are_in_place, check_blob_layer
from sundog.image.oci.descriptor import Descriptor
from tests.image.convert.blobs import chunked, forged, table_of
from tests.image.layer.archives import Entry, archive, directory, file, hard_link, symlink

Entries = list[dict[str, Any]]
TAR = archive(
    directory("d", mode=0o755, pax={"SCHILY.xattr.user.x": "y"}),
    file("d/su", b"su" * 1000, mode=0o755, uid=5),
    file("d/two", b"another"),
    file("gone/.wh.x", b""),
    symlink("link", "d/su"),
    hard_link("hard", "d/su"),
    file("zeros", b"a" + bytes(200_000) + b"b"),
    Entry("null", "c", device=(1, 3)),
    file("empty", b"", pax={"mtime": "1600000000.5"}),
).getvalue()
DIFF_ID = "sha256:" + hashlib.sha256(TAR).hexdigest()
Made = tuple[Descriptor, Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    place = tmp_path_factory.mktemp("blob")
    (place / "tar").write_bytes(TAR)
    return chunked(place, [place / "tar"])[0]


def test_the_truth(made: Made) -> None:
    in_place = check_blob_layer(bytes(made[1]), made[0], DIFF_ID)
    assert are_in_place(table_of(*made), in_place)


def test_a_blob_that_comes(made: Made, tmp_path: Path) -> None:
    """No byte is read before it is here; from the beginning on, and few at once."""
    data, blob = made[1].read_bytes(), tmp_path / "blob"
    blob.touch()
    os.truncate(blob, len(data))
    waits = []

    def wait(start: int, end: int) -> None:
        waits.append((start, end))
        with blob.open("rb+") as file:
            file.seek(start)
            file.write(data[start:end])

    check_blob_layer(bytes(blob), made[0], DIFF_ID, wait)
    (_, *reads) = waits  # the first is the table's
    assert [start for start, _ in reads] == [0, *(min(end, len(data)) for _, end in reads[:-1])]
    assert max(end - start for start, end in reads) <= 1 << 20


def entry(entries: Entries, name: str) -> dict[str, Any]:
    return next(each for each in entries if each["name"].rstrip("/") == name)


def put(path: str, **fields: object) -> Callable[[Entries], object]:
    return lambda entries: entry(entries, path).update(fields)


def swapped(entries: Entries) -> None:
    one, two = entry(entries, "d/su"), entry(entries, "d/two")
    for field in ("offset", "endOffset", "digest", "size"):
        one[field], two[field] = two[field], one[field]


def same_length(entries: Entries) -> None:
    one, two = entry(entries, "d/su"), entry(entries, "d/two")
    one.update({"offset": two["offset"], "endOffset": two["endOffset"], "digest": two["digest"]})
    one["size"] = two["size"]


def all_zeros(entries: Entries) -> None:
    entry(entries, "d/su").update({"chunkType": "zeros"})


LIES = {
    "set-id": (put("d/su", mode=0o4755), "d/su: mode"),
    "mode of a directory": (put("d", mode=0o777), "d: mode"),
    "owner": (put("d/su", uid=0), "d/su: its owner"),
    "attribute": (put("d", xattrs={"user.x": "eA=="}), "d: attributes"),
    "capability": (put("d/two", xattrs={"trusted.x": "eA=="}), "d/two: its owner"),
    "target": (put("link", linkName="d/two"), "link: target"),
    "hard link": (put("hard", linkName="d/two"), "hard: "),
    "device": (put("null", devMinor=5), "null: its owner, device"),
    "kind": (put("null", type="block"), "null: its owner, device"),
    "time": (put("empty", modtime="2020-01-01T00:00:00Z"), "empty: its time"),
    "name": (put("d/two", name="d/three"), "d/three: it is only in the table"),
    "contents": (same_length, "d/su: size"),
    "contents, both": (swapped, "d/su: size"),
    "zeros": (all_zeros, "d/su: its contents"),
    "whiteout": (put("gone/.wh.x", name="gone/.wh.y"), "gone/x: its owner"),
    "file missing": (lambda e: e.remove(entry(e, "d/two")), "d/two: it is only in the tar"),
    "file more": (
        lambda e: e.append({"type": "reg", "name": "d/more", "mode": 0o4755}),
        "d/more: it is only in the table",
    ),
    "the last one wins": (
        lambda e: e.append({"type": "symlink", "name": "d/su", "linkName": "/x"}),
        "d/su: mode",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie(made: Made, lie: str) -> None:
    change, complaint = LIES[lie]
    layer, blob = forged(*made, change)
    with pytest.raises(ContentMismatch) as caught:
        check_blob_layer(bytes(blob), layer, DIFF_ID)
    assert complaint in caught.value.message
    assert "not true" in caught.value.message


def at_another_piece(entries: Entries) -> None:
    one, two = entry(entries, "d/su"), entry(entries, "d/two")
    one.update({field: two[field] for field in ("offset", "endOffset")})


def moved(**fields: int) -> Callable[[Entries], object]:
    def change(entries: Entries) -> None:
        for field, size in fields.items():
            entry(entries, "d/two")[field] += size

    return change


PLACES = {
    "another piece": at_another_piece,
    "cut off": moved(endOffset=-1),
    "amid a piece": moved(offset=1),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_lies(made: Made, place: str) -> None:
    """Digests tell the truth, so the tree is right; but nobody may do without them."""
    layer, blob = forged(*made, PLACES[place])
    in_place = check_blob_layer(bytes(blob), layer, DIFF_ID)
    assert in_place
    assert not are_in_place(table_of(layer, blob), in_place)


def test_another_tar(made: Made) -> None:
    with pytest.raises(ContentMismatch, match="unpacked, it has digest"):
        check_blob_layer(bytes(made[1]), made[0], "sha256:" + "0" * 64)


def test_another_blob(made: Made, tmp_path: Path) -> None:
    data = bytearray(made[1].read_bytes())
    data[-1] ^= 1  # of what no reader of the tar looks at
    (tmp_path / "blob").write_bytes(data)
    with pytest.raises(ContentMismatch, match="content has digest"):
        check_blob_layer(bytes(tmp_path / "blob"), made[0], DIFF_ID)
