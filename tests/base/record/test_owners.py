"""The owners manifest: round trips, determinism, sharing, speed, refusal of damage."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.base.record.owners import (
    OWNER_KINDS,
    OwnerRecord,
    OwnersManifest,
    pack_owners,
    read_owners,
    unpack_owners,
)
from sundog.errors import StoreError

_ids = st.integers(0, 2**32 - 2)
_path = st.binary(max_size=12).map(lambda data: data.replace(b"\0", b"\n"))
_name = st.binary(min_size=1, max_size=6).map(lambda data: data.replace(b"\0", b"."))
_record = st.builds(
    lambda kind, uid, gid, rdev, xattrs, opaque: OwnerRecord(
        kind,
        uid,
        gid,
        rdev=rdev if kind in "cb" else 0,
        xattrs=tuple(xattrs.items()),
        opaque=opaque,
    ),
    st.sampled_from(OWNER_KINDS),
    _ids,
    _ids,
    st.builds(os.makedev, st.integers(0, 0xFFF), st.integers(0, 0xFFFFF)),
    st.dictionaries(_name, st.binary(max_size=6), max_size=2),
    st.booleans(),
)
_manifest = st.dictionaries(_path, _record, max_size=6)


@given(_manifest)
def test_owners_round_trip(manifest: OwnersManifest) -> None:
    assert unpack_owners(pack_owners(manifest)) == manifest


@given(_manifest)
def test_equal_manifests_have_equal_bytes(manifest: OwnersManifest) -> None:
    assert pack_owners(dict(reversed(manifest.items()))) == pack_owners(manifest)


@given(_manifest, st.data())
def test_cut_manifest_is_refused_or_ends_at_a_record(
    manifest: OwnersManifest, data: st.DataObject
) -> None:
    packed = pack_owners(manifest)
    size = data.draw(st.integers(0, len(packed) - 1))
    try:
        rest = unpack_owners(packed[:size])
    except ValueError:
        return
    assert packed.startswith(pack_owners(rest))


@pytest.mark.parametrize(
    "body",
    [b"a\0f 0\0", b"a\0z 0 0\0", b"a\0f x 0\0", b"a\0f 0 0 what\0", b"a\0f 0 0 dev=1\0", b"a\0\0"],
)
def test_damaged_manifest_is_one_store_error(tmp_path: Path, body: bytes) -> None:
    file = tmp_path / "owners"
    file.write_bytes(b"sundog-owners 1\n" + body)
    with pytest.raises(StoreError, match=r"damaged layer in storage: .*/owners"):
        read_owners(os.fsencode(file))


def test_plain_records_are_those_that_the_inode_shows() -> None:
    assert OwnerRecord("f").is_plain
    assert OwnerRecord("l").is_plain
    for record in (
        OwnerRecord("f", 1),
        OwnerRecord("f", 0, 1),
        OwnerRecord("c", rdev=os.makedev(1, 3)),
        OwnerRecord("w"),
        OwnerRecord("d", opaque=True),
        OwnerRecord("f", xattrs=((b"security.selinux", b"x"),)),
    ):
        assert not record.is_plain


def test_large_manifest_loads_fast_and_shares_records(tmp_path: Path) -> None:
    groups = [OwnerRecord("f", uid, 100) for uid in range(1, 11)]
    manifest = {b"usr/lib/python3/dist-packages/%d" % i: groups[i % 10] for i in range(100_000)}
    file = tmp_path / "owners"
    file.write_bytes(pack_owners(manifest))
    started = time.process_time()
    loaded = read_owners(os.fsencode(file))
    seconds = time.process_time() - started
    assert loaded == manifest
    assert len({id(record) for record in loaded.values()}) == 10
    assert seconds < 0.5
