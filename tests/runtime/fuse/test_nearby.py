"""What comes with a piece of a blob that a reader wants, and how many requests programs need."""

import string
from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from sundog.base.record.lazy_layer import LAZY_BLOCK
from sundog.errors import StoreError
from sundog.runtime.fuse.nearby import with_nearby

KIB, MIB = 1 << 10, 1 << 20
HEADER = 97  # bytes of the blob in front of a file, about

Extents = Sequence[tuple[int, int]]


class Arriving:
    """A blob of which those blocks are here that were asked for, by ``requests``."""

    def __init__(self, size: int, here: Iterable[int] = ()) -> None:
        self.size = size
        self.here = {*here}
        self.requests: list[range] = []

    def read(self, _offset: int, size: int) -> bytes:
        return bytes(size)

    def blocks(self, offset: int, size: int) -> range:
        start, stop = max(offset, 0), min(offset + size, self.size)
        return range(start // LAZY_BLOCK, -(-max(stop, start) // LAZY_BLOCK))

    def lacks(self, offset: int, size: int) -> bool:
        return not self.here.issuperset(self.blocks(offset, size))

    def has_some(self, offset: int, size: int) -> bool:
        return not self.here.isdisjoint(self.blocks(offset, size))

    def expect(self, offset: int, size: int) -> None:
        """Let runs of blocks come, each by a request, as a fetcher does."""
        for block in self.blocks(offset, size):
            if block in self.here:
                continue
            self.here.add(block)
            if self.requests and self.requests[-1].stop == block:
                self.requests[-1] = range(self.requests[-1].start, block + 1)
            else:
                self.requests.append(range(block, block + 1))

    def discard(self, _offset: int, _wrong: bytes) -> bool:
        return False


def laid(sizes: Iterable[int], gap: int = HEADER, at: int = 10 * MIB) -> list[tuple[int, int]]:
    """Return where pieces of these sizes begin and end, with a ``gap`` between two."""
    found = []
    for size in sizes:
        found.append((at, at + size))
        at += size + gap
    return found


def brought(
    pieces: Extents, wanted: int, file: range | None = None, here: Iterable[int] = ()
) -> tuple[int, int]:
    """Return where the bytes begin and end that come with a piece; ``here`` are bytes near."""
    blob = Arriving(1 << 40, (byte // LAZY_BLOCK for byte in here))
    wanted_range = range(wanted, wanted + 1)
    return with_nearby(pieces.__getitem__, len(pieces), wanted_range, file or wanted_range, blob)


def count(pieces: Extents, edges: tuple[int, int]) -> int:
    """Return how many whole pieces are between the edges, which are those of pieces."""
    start, stop = edges
    assert start in {begin for begin, _ in pieces}
    assert stop in {end for _, end in pieces}
    return sum(start <= begin and end <= stop for begin, end in pieces)


def test_a_file_comes_whole() -> None:
    pieces = laid([MIB] * 4, gap=0)
    for wanted in range(3):
        assert brought(pieces, wanted, range(3)) == (pieces[0][0], pieces[2][1])
    for wanted in range(4):
        assert brought(pieces, wanted, range(4)) == pieces[wanted]


def test_nothing_comes_with_a_file_that_is_not_small() -> None:
    pieces = laid([KIB, 96 * KIB + 1, KIB])
    assert brought(pieces, 1) == pieces[1]


def test_a_large_file_comes_ahead_as_it_was_read() -> None:
    """Each request brings what is wanted, and as much more as is here in front: 8 MiB at most."""
    pieces = laid([MIB // 2] * 80, gap=0)
    blob = Arriving(1 << 40)
    found, number = [], 0
    while number < 80:
        start, stop = with_nearby(
            pieces.__getitem__, 80, range(number, number + 1), range(80), blob
        )
        assert start == pieces[number][0]
        blob.expect(start, stop - start)
        found.append((stop - start) * 2 // MIB)
        number += found[-1]
    assert found == [1, 2, 4, 8, 16, 17, 17, 15]
    # What is apart comes alone; what is here ends the row in front, and what comes.
    blob = Arriving(1 << 40)
    for at in (20, 21, 22, 26):
        blob.expect(pieces[at][0], MIB // 2)
    assert with_nearby(pieces.__getitem__, 80, range(50, 51), range(80), blob) == pieces[50]
    edges = with_nearby(pieces.__getitem__, 80, range(23, 24), range(80), blob)
    assert edges == (pieces[23][0], pieces[25][1])
    # What is in front of the file is of another one.
    assert with_nearby(pieces.__getitem__, 80, range(23, 24), range(23, 80), blob) == pieces[23]


def test_small_files_come_with_their_neighbours() -> None:
    pieces = laid([4 * KIB] * 2000)
    start, stop = brought(pieces, 1000)
    assert 43 * KIB < stop - start - 4 * KIB <= 48 * KIB
    assert count(pieces, (start, stop)) == 12
    assert abs((pieces[1000][0] - start) - (stop - pieces[1000][1])) < 5 * KIB
    # At the end of the table, all the room is on one side.
    assert count(pieces, brought(pieces, 0)) == count(pieces, brought(pieces, 1999)) == 12


def test_more_come_where_something_is_near() -> None:
    pieces = laid([4 * KIB] * 2000)
    at, end = pieces[1000]
    for near in (at - 3 * MIB, end + 3 * MIB - 1):
        start, stop = brought(pieces, 1000, here=[near])
        assert 5 * MIB // 2 - 5 * KIB < stop - start - 4 * KIB <= 5 * MIB // 2
    for far in (at - 3 * MIB - LAZY_BLOCK, end + 3 * MIB + LAZY_BLOCK):
        assert count(pieces, brought(pieces, 1000, here=[far])) == 12


def test_what_ends_neighbours() -> None:
    small, large = [KIB] * 3, [96 * KIB + 1]
    pieces = laid([*small, *large, *small, *large, *small])
    assert brought(pieces, 5) == (pieces[4][0], pieces[6][1])
    for gap, found in ((8 * KIB, 5), (8 * KIB + 1, 1)):
        pieces = laid([KIB] * 5, gap)
        assert count(pieces, brought(pieces, 2)) == found
    # What is here need not come.  It is near, so there is room for more.
    pieces = laid([16 * KIB] * 400, gap=0)
    here = [pieces[190][0], pieces[210][0]]
    assert brought(pieces, 200, here=here) == (pieces[191][0], pieces[209][1])


def test_strange_places() -> None:
    """Pieces in another order, or across each other, are no neighbours."""
    small = laid([KIB] * 5)
    middle = (small[2][0], small[2][1])
    for strange in (
        (small[1][0] - 5 * MIB, small[1][0]),
        (middle[0] - 2, middle[1] + KIB),
        (middle[0] + 5, middle[1] + KIB),
        (middle[1] - 2, middle[1] + KIB),
        (middle[1] + KIB, middle[1]),
        (1 << 63, (1 << 63) + KIB),
    ):
        pieces = [small[0], small[1], middle, strange, small[3], small[4]]
        assert brought(pieces, 2) == (small[0][0], middle[1])
    assert brought(small[::-1], 2) == middle


def test_pieces_without_bytes() -> None:
    """They are zeros, anywhere in a file, and their place means nothing."""
    first, middle, last = laid([KIB, KIB, MIB], gap=0)
    pieces = [(0, 0), first, (0, 0), (1 << 63, 1 << 63), middle, last, (5, 5)]
    for wanted in (1, 4, 5):
        assert brought(pieces, wanted, range(7)) == (first[0], last[1])
    assert brought(pieces, 4) == (first[0], middle[1])


def test_pieces_that_share_bytes() -> None:
    # Spans of a gzip: one ends within the byte that the next one begins with.
    spans = [(start - 1, end) for start, end in laid([KIB] * 9, gap=0)]
    assert brought(spans, 4) == (spans[0][0], spans[8][1])
    # Small files of one piece.
    pieces = [piece for piece in laid([KIB] * 9) for _ in range(20)]
    assert brought(pieces, 90) == (pieces[0][0], pieces[-1][1])
    # A piece in another one.
    outer = laid([9 * KIB] * 3)
    inner = (outer[1][0] + 1, outer[1][1] - 1)
    assert brought([outer[0], inner, outer[1], inner, outer[2]], 2) == (outer[0][0], outer[2][1])


def test_a_damaged_neighbour() -> None:
    pieces = laid([KIB] * 9)

    def extent(number: int) -> tuple[int, int]:
        if number in (2, 6):
            raise StoreError("damaged")
        return pieces[number]

    blob = Arriving(1 << 40)
    own = range(4, 5)
    assert with_nearby(extent, 9, own, own, blob) == (pieces[3][0], pieces[5][1])
    assert with_nearby(extent, 9, own, range(9), blob) == pieces[4]


def test_a_large_number_of_tiny_pieces() -> None:
    """Few are looked at, whatever the table says to be one file."""
    looks = []

    def extent(number: int) -> tuple[int, int]:
        looks.append(number)
        return number, number + 1

    whole, own = range(10**7), range(5 * 10**6, 5 * 10**6 + 1)
    for file, near in ((own, ()), (own, (100,)), (whole, ()), (whole, (152,))):
        blob = Arriving(len(whole), near)
        start, stop = with_nearby(extent, len(whole), own, file, blob)
        assert own.start - 1024 <= start <= own.start < own.stop <= stop <= own.stop + 1024
        assert len(looks) < 10_000
        looks.clear()


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[tuple[int, int]], range, range]:
    """Return pieces, those that are wanted, which are adjacent, and those of their file."""
    sizes = st.sampled_from([0, 1, 300, 5 * KIB, 96 * KIB, 96 * KIB + 1, MIB, 5 * MIB])
    gaps = st.sampled_from([-5 * MIB, -KIB, -1, 0, 0, 0, HEADER, 8 * KIB, 8 * KIB + 1, 9 * MIB])
    pieces, at = [], 20 * MIB
    for size, gap in [(KIB, 0), *draw(st.lists(st.tuples(sizes, gaps), max_size=60))]:
        at = max(at + gap, 0)
        pieces.append((at, at + size))
        at += size
    first = draw(st.sampled_from([at for at, (start, end) in enumerate(pieces) if start < end]))
    after = first + 1
    while after < len(pieces) and pieces[after][0] == pieces[after - 1][1] and draw(st.booleans()):
        after += 1
    while pieces[after - 1][0] == pieces[after - 1][1]:
        after -= 1
    start = draw(st.integers(0, first))
    return pieces, range(first, after), range(start, draw(st.integers(after, len(pieces))))


@given(tables(), st.sets(st.integers(0, 3000), max_size=50))
def test_it_grows_by_adjacent_pieces(
    table: tuple[list[tuple[int, int]], range, range], here: set[int]
) -> None:
    pieces, wanted, file = table
    asked = pieces[wanted[0]][0], pieces[wanted[-1]][1]
    blob = Arriving(1 << 40, here)
    start, stop = with_nearby(pieces.__getitem__, len(pieces), wanted, file, blob)
    assert start <= asked[0] <= asked[1] <= stop
    assert (stop - start) - (asked[1] - asked[0]) <= 8 * MIB
    # The pieces next to those that are wanted fill it without a gap of more than 8 KiB.
    for numbers, edge, end in (
        (range(wanted[0] - 1, -1, -1), asked[0], start),
        (range(wanted.stop, len(pieces)), asked[1], stop),
    ):
        at = edge
        for number in numbers:
            if at == end:
                break
            begin, after = pieces[number]
            if begin == after:
                continue
            assert start <= begin < after <= stop
            assert begin - 8 * KIB <= at + 1
            assert at - 1 <= after + 8 * KIB
            at = min(at, begin) if end < edge else max(at, after)
        assert at == end


# A layer of 248 MB, Debian with pandas as zstd:chunked: its pieces near those that are read below
# [seen], in the order of the blob, in which they have more neighbours than in a table.
# ``KIB:PIECES`` are so many KiB, and then pieces; a letter is a size, ``-`` is in front of each
# piece of a file but the first one.
LETTERS = string.ascii_letters + string.digits
PIECES = (
    "0:zrBaAhBssqbakzfeDgnGQTqjrqttuDfvKnktvDp 6642:8-9-9-9-9-9-7-2-5-8-7-6-Y-A 2229:URSO "
    "1932:JBBIIpxHHsRooJtBhFxFyly0neojigiziIpmj 45662:LDxGGsHGqpHRHAvFFIKOzIJv 137:4-6-8-7-6-4-3-4-"
    "4-5-1-5-6-4-4-4-0-3-5-PHS1-Z-Z-Z-3-WszoICyJvRRCqNHRAVJLyMjJiRKTHKBFywtOCNyNCzyHZLFLFIRKKBFLUvP"
    "TXNPLSVMIxRPQByDAvKBzOFBAPCNDxJHGSLNDSOCCJELwzQEBHwMJF1GUHVKLDwKUEGDzPKLPBQNVWEKFDIFCPFFSHGEUI"
    "RKzOMMWRSJXTIIOKPAHUJFNBSMK 1148:zvokHDFHFHyxDCztrBtplFyJAFwIMjvquCyGoxpqvzvqqqqqquqqq 783:tsH"
    "HQxCKoHQBryuNxOCGyLvZIPuODNAQuUEQBIvOBLwODKBDtDDMpCqlmPuzmFxjlRElnkliiDBPRJO1RQRSXSKRNQNFKPHrR"
    "DIqUsqqFHwuNNvMWNKTPEOIHNFLKJGzyoMMCASRCR1SPZTKUNMSLRPONFErrsrtllAtVFYvLxstBXxsSEoxXJCIyD0JRBM"
    "xGIA2VRKNwXzQJMBJoB2EWOSGOolMruPIHFxsruoPMLDzzBGsODGRBQyQyQyQyQxMDHRTSSSSSQJIIIIIJAJCoPOOOOPQG"
    "OJrEx 80550:MHOllssFwGIESEIIICKKOIW0XLGQTTGJIyXWPRCLJROMQHFOUPqKIOTtCVTXWLNIRSSHJIPPKQJNKUZFVy"
    "JUMXPQJQCJEMUSYVUOTSNNPORIKMZMKSKJMICOKLVERrTSQvvvUFVKOsWOLYTNzUMEQRVOB0MZQQPPPKQwszyDHIGyzIDF"
    "zvENLFrqMBAMvnsEFFNKJuCNEIDJRPJxyRDEPAuESyGzzBMyAIKmrNFGFOMFMEGPvEGzPNDyJWDMFy 19:MPrySHLJTRIQ"
    "KJSzJKEURIQUhnwKOGzPRKKJzJDPLENICzCkFDEHqKFIooCILttIwHUKJIDKHyCLMMLzQBIILyJYONFLLAGNOPQDTGKKNx"
    "CvCxyuxnAEzGAAxAFHwvuuyxGGHLGHGGGGGHHHHGLGGLLLLLGLLLLLLLLLLGGuuuuuuuuuuwHuHuuuuuuuGGGGGGGGGGFF"
    "GFGuGGGGwKGGGGGH 16:FvwyuuuGwwBvvBttuvAAxHKBCzzECDDDKDDDDDDDDDDD 10:KKKKKDKKKKKKKKKKDDzzzzzzzz"
    "zzCDzLzzzzzzzDDDDDDDDDDDDDDDzDDDDBKDDDDDDDDDBADDKCBEzzzDBBHAAGAAAAGFDESKFXNHRTMRKUWPUDxRTFtqqI"
    "GAUVJyttLOAuByxyrTFBDBDDytBEzwDEzwIJDzILGIIJyBKMMEFVO3WP210DZNXLM 154:TTPQQRSMGMZ1T2WGJCUZNKUE"
    "LSPPKOIIHTPSWTUwPHIIPNzzyDIIGDIKEHHJyTMNLVSFFEINNMJLPKLNNBxGDqNNuRRv4-Cn4-FKCMENNzQHSBDCDBHGFN"
    "GPJikxMnqzSMzBANvwHFGLFIEHEuNDCnPCGFRxLKMQKNHLKvQFHUyILDyzzIuxNBmJNKBGzFYCKPJDAELzwQFsMRNHKGKA"
    "vyFCDFAEGKFKLvwtrkomvqoqsnAEAyqvrFvwvzXnAwzxIJFBzIR1tDBCCMOKEEMUqLBqsrQFsCszEQKHUGGyHDEvFGUOLY"
    "LLEMIAQUzGnETYELNmRu 431:qIBNGtEEMyHIQroqonntqrnmoF3E 3235:8-8-8-5 3298:GYDC11XT 616:T1 "
    "665:3-6-8-6-5-7-F 3538:8-7 4175:3-6-6-7-4 3740:T0 344:6 3099:KLKOLBP 572:8 3164:6-1 "
    "49487:BqBqrBszArAghhhhhhhhhhhhhhhhhhhhhhhhhhgCzwBzBCBBBADCEzEAEywADzECBCxCyACBACwzwx"
)
# The pieces that programs read, in order [seen].
TRUE = "54 1717 16 1719 1722 1720-1721"
IMPORT_NUMPY = (
    "39 1717 51-52 50 16 1740-1741 1748 1727 1719 1722 1720-1721 44-46 41 80 1756 47 42 48 1798 43 "
    "1159-1160 1273 793 750 105 825 110 728 734 945 749 761 782 822 350-351 109 117 108 104 188 209"
    " 212 352 40 118 137 136 1749 1742 1746 1743 1732 1745 1744 120 134 133 121 723 115 194 213 718"
    " 1361 119 114 122-123 217 211 759 198-199 192 210 215 205 197 765 720 805 1469 1471 49 1473 "
    "1472 1470 682 717 200-201 191 214 208 206 196 207 204 189-190 193 195 703 961 1362 1730 963 "
    "111 451 473 452 475-477 462 827 699 474 471 811 768 456 460 479 464 468-469 131 135 480 466 "
    "459 599-600 550 552 551 823 467 544 1757 1759 1733 1738-1739 330 675 338 337 336 333 339-340 "
    "334 332 341 457-458 461 465 454 463 455 453 472 106 132 124 1758"
)


def unpacked() -> tuple[list[tuple[int, int]], list[range]]:
    """Return the pieces, and for each the pieces of its file."""
    pieces: list[tuple[int, int]] = []
    starts, at = [], 0
    for word in PIECES.split():
        skipped, _, letters = word.partition(":")
        at += int(skipped) * KIB
        for before, letter in zip(" " + letters, letters, strict=False):
            if letter == "-":
                continue
            if before != "-":
                at += HEADER
                starts.append(len(pieces))
            size = int(16 * 1.175 ** LETTERS.index(letter))
            pieces.append((at, at + size))
            at += size
    ends = [*starts[1:], len(pieces)]
    runs = [range(start, end) for start, end in zip(starts, ends, strict=True)]
    return pieces, [run for run in runs for _ in run]


def numbers(text: str) -> Iterable[int]:
    for word in text.split():
        first, _, last = word.partition("-")
        yield from range(int(first), int(last or first) + 1)


def test_few_requests_bring_what_programs_read() -> None:
    """A start needs five requests more: documents, a table, two small layers."""
    pieces, files = unpacked()
    for text, requests, megabytes in ((TRUE, 4, 1.3), (IMPORT_NUMPY, 29, 21.5)):
        blob = Arriving(pieces[-1][1])
        for number in numbers(text):
            start, stop = pieces[number]
            if blob.lacks(start, stop - start):
                start, stop = with_nearby(
                    pieces.__getitem__,
                    len(pieces),
                    range(number, number + 1),
                    files[number],
                    blob,
                )
                blob.expect(start, stop - start)
            assert not blob.lacks(*pieces[number][:1], 1)
        assert len(blob.requests) <= requests
        assert sum(map(len, blob.requests)) * LAZY_BLOCK <= megabytes * 1e6
