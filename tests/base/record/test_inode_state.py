"""The state file of fakeroot: each value survives, and no file makes the reader fail otherwise."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.base.record.inode_state import (
    FILE_TYPES,
    InodeEntry,
    pack_inode_state,
    unpack_inode_state,
)

WORDS = st.integers(0, 2**32 - 1)
LONG = st.integers(0, 2**64 - 1)
XATTRS = st.dictionaries(
    st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name),
    st.binary(max_size=20),
    min_size=1,
    max_size=3,
)
ENTRIES = st.builds(
    lambda kind, bits, uid, gid, rdev, birth, permissions, xattrs: InodeEntry(
        kind | bits, uid, gid, rdev, birth=birth, permissions=permissions, xattrs=xattrs
    ),
    st.sampled_from(FILE_TYPES),
    st.integers(0, 0o7777),
    WORDS,
    WORDS,
    LONG,
    st.integers(-1, 2**63 - 1),
    st.integers(-1, 0o7777),
    st.none() | XATTRS,
)


@given(st.dictionaries(st.tuples(LONG, LONG), ENTRIES, max_size=5))
def test_what_is_packed_is_unpacked(entries: dict[tuple[int, int], InodeEntry]) -> None:
    assert unpack_inode_state(pack_inode_state(entries.items())) == entries


@given(st.binary() | st.text("devinomgul=,0178af\nsxtr:").map(str.encode))
def test_any_content_is_read_or_refused(data: bytes) -> None:
    try:
        unpack_inode_state(data)
    except ValueError as error:
        fault = str(error)
    else:
        fault = "line "
    assert fault.startswith("line ")


def test_fakeroots_own_lines_come_first() -> None:
    entries = {
        (1, 2): InodeEntry(0o100644, 1, 2, birth=7),
        (1, 3): InodeEntry(0o20600, 0, 0, 259, birth=8, xattrs={b"trusted.a": b"\0,"}),
    }
    assert pack_inode_state(entries.items()).decode().split("\n") == [
        "dev=1,ino=2,mode=100644,uid=1,gid=2,nlink=1,rdev=0",
        "dev=1,ino=3,mode=20600,uid=0,gid=0,nlink=1,rdev=259",
        "sundog,dev=1,ino=2,birth=7",
        "sundog,dev=1,ino=3,birth=8,xattr=747275737465642e61:002c",
        "",
    ]


@pytest.mark.parametrize(
    "more",
    [
        b",xattr=:00",
        b",xattr=00:00",
        b",xattr=6:00",
        b",xattr=" + b"61" * 256 + b":",
        b",xattr=61:" + b"00" * (1 << 16),
        b"".join(b",xattr=%04x01:" % (number + 0x101) for number in range(30_000)),
        b",permissions=8",
        b",birth=-1",
        b",colour=1",
    ],
)
def test_an_impossible_line_is_refused_at_once(more: bytes) -> None:
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"^line 2: "):
        unpack_inode_state(
            b"dev=1,ino=2,mode=100644,uid=1,gid=2,nlink=1,rdev=0\nsundog,dev=1,ino=2" + more
        )
    assert time.monotonic() - started < 5
