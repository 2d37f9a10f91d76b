"""The records that a step knows: as a manifest answers, in less memory."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from sundog.base.record.owners import OwnerRecord
from sundog.image.layer.known_records import KnownRecords

RECORDS = [
    OwnerRecord("f"),
    OwnerRecord("f", 5, 5),
    OwnerRecord("d", xattrs=((b"user.x", b"\0"),)),
    OwnerRecord("c", rdev=0x103),
    OwnerRecord("f", guessed=True),
]


def test_it_answers_as_a_manifest() -> None:
    chance = random.Random(1)
    names = [b"a", b"b\n", b"\xff", b"ab"]
    paths = {b"/".join(chance.choices(names, k=chance.randrange(1, 6))) for _ in range(500)} | {b""}
    manifest = {}
    known = KnownRecords()
    for path in sorted(paths) + chance.sample(sorted(paths), 50):
        manifest[path] = chance.choice(RECORDS)
        known.add(path, manifest[path])
        assert known.get(path) == manifest[path]
    again = KnownRecords.unpack(known.pack())
    for one in (known, again, KnownRecords.of(manifest)):
        assert {path: one.get(path) for path in sorted(paths)} == manifest
        assert one.get(b"a/none") is one.get(b"none/a") is one.get(b"a/a/a/a/a/a/a") is None
    again.add(b"a", RECORDS[1])
    assert again.get(b"a") == RECORDS[1]


def test_it_takes_little_memory() -> None:
    tracemalloc.start()
    try:
        known = KnownRecords()
        for directory in range(100):
            for name in range(1000):
                known.add(b"files/%d/%d" % (directory, name), OwnerRecord("f"))
        for directory in range(100):
            for name in range(1000):
                assert known.get(b"files/%d/%d" % (directory, name)) is not None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 15 * 100_000


@pytest.mark.parametrize("packed", [None, (), ((b"f 0 0",), []), ((b"x 0 0",), {}), (b"", {})])
def test_damaged(packed: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        KnownRecords.unpack(packed)
