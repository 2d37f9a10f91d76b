"""The number of requests that bring what programs read, and how much comes that nobody reads."""

from collections.abc import Iterable

from sundog.image.registry.read_ahead import around, with_ahead

# Blocks of a layer of 80 MB, Debian with NumPy as zstd:chunked, in the order in which programs
# read them [seen].
BLOCKS = 330
TRUE = "6 45 129-130 0 137-138 140 139"
IMPORT_NUMPY = (
    "6 26-27 129-130 36-37 0 161-163 184 153 137-138 140 139 31-33 28-29 49-50 198 34 30 35 315 "
    "112-114 105 102 107 101 109 103-104 106 74 64-66 51 62 61 185-186 177-178 180 154 179 52-53 "
    "60 54 117 55 123-124 99-100 110 78 80 79 59 85 82-83 200-201 214-215 155 158-159 56"
)


def runs(text: str) -> Iterable[range]:
    for word in text.split():
        first, _, last = word.partition("-")
        yield range(int(first), int(last or first) + 1)


def fetched(reads: Iterable[range]) -> list[range]:
    """Return the requests for what is read."""
    here: set[int] = set()
    requests = []
    for read in reads:
        missing = [block for block in read if block not in here]
        if not missing:
            continue
        wanted = range(missing[0], missing[-1] + 1)
        absent = {block for block in around(wanted) if block < BLOCKS} - here
        run = with_ahead(wanted, absent, BLOCKS)
        assert run.start <= wanted.start < wanted.stop <= run.stop <= BLOCKS
        assert here.isdisjoint({*run} - {*wanted})  # each byte once
        requests.append(run)
        here |= {*run}
    return requests


def test_programs() -> None:
    """A start of them needs five requests more: documents, a table, two small layers."""
    for text, requests, overhead in ((TRUE, 5, 2), (IMPORT_NUMPY, 35, 29)):
        read = sum(map(len, runs(text)))
        found = fetched(runs(text))
        assert len(found) <= requests
        assert sum(map(len, found)) <= read + overhead


def test_a_long_file() -> None:
    found = fetched(range(block, block + 1) for block in range(3, 323))
    assert len(found) < 18
    assert max(map(len, found)) == 33
    assert sum(map(len, found)) <= BLOCKS


def test_what_lies_apart_comes_alone() -> None:
    found = fetched(range(block, block + 1) for block in range(7, BLOCKS, 40))
    assert {len(run) for run in found} == {1}
