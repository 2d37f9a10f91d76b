"""The bytes of a blob that are fetched together with those that a reader wants.

A request costs a round trip, and each byte its time.  What a program reads lies in clusters: all of
a file, the modules of a package.  So a file comes as a whole; of a large one, as much comes ahead
as was read in a row.  With a small file come those next to it, and more of them where something
near was read before.

A blob is in pieces, which have numbers; a piece without bytes ends where it begins, which says
nothing.  Two of a gzip may share a byte, and files may share a piece.  Those that are next to each
other in a table, and in the blob, are of one directory.  The table is a stranger's: what is wrong
in it has no neighbours.
"""

from __future__ import annotations

from sundog.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    # Where a piece begins and ends in the blob.
    _Extent = Callable[[int], tuple[int, int]]

    class _Known(Protocol):
        """A blob of which it is known what is here: see ``blob_contents.Blob``."""

        def lacks(self, offset: int, size: int) -> bool:
            """Tell whether bytes of the blob are not here.  Raises OSError."""

        def has_some(self, offset: int, size: int) -> bool:
            """Tell whether a byte is here, of those of the blob.  Raises OSError."""


_WHOLE = 3 << 20  # bytes: a file that is not larger comes as a whole
_ROW = 8 << 20  # bytes at most that come ahead
_SMALL = 128 << 10  # bytes of a piece that comes with others
_FEW, _MORE = 64 << 10, 5 << 19  # bytes at most that come with a small file
_NEAR = 3 << 20
_GAP = 8 << 10  # bytes between two pieces at most: a header of the tar, packed
_PIECES = 1024  # at most on each side: they may be tiny


def with_nearby(
    extent: _Extent, count: int, wanted: range, file: range, blob: _Known
) -> tuple[int, int]:
    """Return where the bytes begin and end that come by a request for ``wanted`` pieces.

    They are not all here, and adjacent; ``file`` are the pieces of their file, ``count`` is the
    number of all.  The first and the last one of ``wanted`` have bytes.  What is returned may lead
    out of the blob.  Raises what ``blob`` raises, and what ``extent`` raises for these two.
    """

    def lacks(start: int, stop: int) -> bool:
        return blob.lacks(start, stop - start)

    def is_here(start: int, stop: int) -> bool:
        return not blob.lacks(start, stop - start)

    asked = _Stretch(extent, wanted, (extent(wanted[0])[0], extent(wanted[-1])[1]))
    whole = asked.grown(file, _WHOLE, lambda _, __: True)
    if whole.pieces != file or whole.size > _WHOLE:
        row = asked.grown(range(file.start, wanted.stop), _ROW, is_here).size - asked.size
        whole = asked.grown(range(wanted.start, file.stop), row, lacks)
    elif whole.size <= _SMALL:
        is_near = blob.has_some(whole.edges[0] - _NEAR, whole.size + 2 * _NEAR)
        room = _MORE if is_near else _FEW
        whole = whole.grown(
            range(count), room, lambda start, stop: stop - start <= _SMALL and lacks(start, stop)
        )
    return whole.edges


class _Stretch:
    """Pieces that are adjacent in the blob; ``edges``: where they begin and end.  It is frozen."""

    __slots__ = ("_extent", "edges", "pieces")

    def __init__(self, extent: _Extent, pieces: range, edges: tuple[int, int]) -> None:
        self._extent = extent
        self.pieces = pieces
        self.edges = edges

    @property
    def size(self) -> int:
        """The bytes of the blob that it spans."""
        return self.edges[1] - self.edges[0]

    def grown(self, within: range, room: int, takes: Callable[[int, int], bool]) -> _Stretch:
        """Return it with the adjacent pieces ``within`` a range, of ``room`` bytes at most.

        ``takes`` tells of a piece whether it may be one of them.
        """
        numbers, (start, stop) = [self.pieces[0], self.pieces[-1]], self.edges
        sides = [1, 0]
        for _ in range(_PIECES):
            for side in tuple(sides):
                number = numbers[side] + (1 if side else -1)
                begin, end = self._extent_of(number) if number in within else (0, -1)
                gap = begin - stop if side else start - end
                added = max(stop, end) - min(start, begin) - (stop - start)
                fits = begin < end and added <= room and (-1 <= gap <= _GAP or not added)
                if begin == end:
                    numbers[side] = number
                elif fits and takes(begin, end):
                    numbers[side], room = number, room - added
                    start, stop = min(start, begin), max(stop, end)
                else:
                    sides.remove(side)
        return _Stretch(self._extent, range(numbers[0], numbers[1] + 1), (start, stop))

    def _extent_of(self, number: int) -> tuple[int, int]:
        """Return where a piece begins and ends; it ends earlier if the table is wrong there."""
        try:
            return self._extent(number)
        except StoreError:  # who reads the piece will hear it
            return 0, -1
