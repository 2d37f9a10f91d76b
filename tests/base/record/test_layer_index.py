"""The index of a layer: what is written is read, and nothing leads a reader out of the file."""

import resource
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.base.kernel.modes import S_IFDIR, S_IFLNK, S_IFREG
from sundog.base.record.layer_index import IndexEntry, IndexWriter, LayerIndex
from sundog.errors import StoreError


def written(directories: int, files: int) -> bytes:
    """Return an index of so many directories in the root, with so many files each."""
    index = IndexWriter()
    index.add(IndexEntry(b"", S_IFDIR | 0o755))
    for number in range(directories):
        index.add(IndexEntry(b"directory-%05d" % number, S_IFDIR | 0o755))
    index.set_entries(0, 1)
    for number in range(directories):
        first = index.count
        for name in range(files):
            index.add(IndexEntry(b"%05d-%05d.so" % (number, name), S_IFREG | 0o644, size=name))
        index.set_entries(1 + number, first)
    return b"".join(index.parts())


SMALL = written(3, 4)


def test_entries_are_found_by_path() -> None:
    index = LayerIndex(SMALL)
    found = index.find(b"directory-00001/00001-00003.so")
    assert found is not None
    assert (found.mode, found.size) == (S_IFREG | 0o644, 3)
    assert index.find(b"directory-00001/00002-00003.so") is None
    assert index.find(b"directory-00001/00001-00003.so/x") is None
    root = index.find(b"")
    assert root is not None
    assert [entry.name for entry in index.entries(root, 1)] == [
        b"directory-00001",
        b"directory-00002",
    ]


def test_links_and_attributes() -> None:
    writer = IndexWriter()
    writer.add(IndexEntry(b"", S_IFDIR | 0o755))
    at = writer.add(IndexEntry(b"a", S_IFREG, mtime=-5, nanoseconds=7), ((b"user.x", b"\0"),))
    writer.add(IndexEntry(b"b", S_IFREG, number=at), is_first=False)
    writer.add(IndexEntry(b"c", S_IFLNK | 0o777), target=b"a")
    writer.set_entries(0, 1)
    index = LayerIndex(b"".join(writer.parts()))
    one, other, link = index.entries(index.entry(0))
    assert one.number == other.number == at
    assert (one.mtime, one.nanoseconds, index.xattrs(one)) == (-5, 7, {b"user.x": b"\0"})
    assert index.target(link) == b"a"


def everything(index: LayerIndex) -> Iterator[object]:
    """Yield all that a server may ever look at."""
    ahead = [index.entry(0)]
    while ahead:
        entry = ahead.pop()
        yield index.xattrs(entry)
        if entry.mode & 0o170000 == S_IFLNK:
            yield index.target(entry)
        if entry.is_directory:
            for child in index.entries(entry):
                yield index.lookup(entry, child.name)
                ahead.append(child)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), max_size=8))
def test_a_damaged_index_ends(changes: list[tuple[int, int]]) -> None:
    data = bytearray(SMALL)
    for at, value in changes:
        data[at] = value
    # A directory's entries follow it, so there is no cycle.
    with suppress(StoreError):
        for count, _ in enumerate(everything(LayerIndex(bytes(data)))):
            assert count < 10_000


@pytest.mark.parametrize("size", [0, 31, 79, len(SMALL) - 1])
def test_a_cut_index_is_an_error(size: int) -> None:
    with pytest.raises(StoreError, match="damaged index"):
        LayerIndex(SMALL[:size])


def test_opening_costs_the_same_for_many_entries() -> None:
    data = written(200, 200)
    before = resource.getrusage(resource.RUSAGE_SELF)
    index = LayerIndex(data)
    assert index.count == 40_201
    for number in range(100):
        assert index.find(b"directory-%05d/%05d-00007.so" % (number, number))
    after = resource.getrusage(resource.RUSAGE_SELF)
    cost = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert cost < 0.03


def test_a_million_entries_take_less_than_64_mib() -> None:
    assert len(written(100, 100)) / 10_101 * 1_000_000 < 64 << 20
