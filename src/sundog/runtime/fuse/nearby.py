"""The bytes of a blob that are fetched together with those that a reader wants.

A request costs a round trip, and each byte its time.  What a program reads lies in clusters: all of
a file, the modules of a package.  So a file comes as a whole; of a large one, as much comes ahead
as was read in a row.  With a small file come those next to it, and more of them where something
near was read before.

A blob is in pieces, which have numbers; a piece without bytes ends where it begins, and two of a
gzip may share a byte.  Those that are next to each other in a table, and in the blob, are of one
directory.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.fuse.blob_contents import Blob

    # Where a piece begins and ends in the blob.
    Extent = Callable[[int], tuple[int, int]]

_WHOLE = 3 << 20  # bytes: a file that is not larger comes as a whole
_ROW = 8 << 20  # bytes at most that come ahead
_SMALL = 96 << 10  # bytes of a piece that comes with others
_FEW, _MORE = 48 << 10, 5 << 19  # bytes at most that come with a small file
_NEAR = 3 << 20
_GAP = 8 << 10  # bytes between two pieces at most: a header of the tar, packed
_PIECES = 1024  # at most on each side: they may be tiny


def with_nearby(
    extent: Extent, count: int, wanted: range, file: range, blob: Blob
) -> tuple[int, int]:
    """Return where the bytes begin and end that come by a request for ``wanted`` pieces.

    They are not all here, and adjacent; ``file`` are the pieces of their file, ``count`` is the
    number of all.  Raises what ``extent`` and ``blob`` raise.
    """

    def lacks(start: int, stop: int) -> bool:
        return blob.lacks(start, stop - start)

    def is_here(start: int, stop: int) -> bool:
        return not blob.lacks(start, stop - start)

    whole = _Stretch(extent, wanted).grown(file, _WHOLE, lambda _, __: True)
    if whole.pieces != file or whole.size > _WHOLE:
        asked = _Stretch(extent, wanted)
        row = asked.grown(range(file.start, wanted.stop), _ROW, is_here).size - asked.size
        whole = asked.grown(range(wanted.start, file.stop), row, lacks)
    elif whole.size <= _SMALL:
        is_near = blob.has_some(whole.start - _NEAR, whole.size + 2 * _NEAR)
        room = _MORE if is_near else _FEW
        whole = whole.grown(
            range(count), room, lambda start, stop: stop - start <= _SMALL and lacks(start, stop)
        )
    return whole.start, whole.stop


class _Stretch:
    """Pieces that are adjacent in the blob: from ``start`` to ``stop``.  Nobody changes it."""

    __slots__ = ("_extent", "pieces", "start", "stop")

    def __init__(self, extent: Extent, pieces: range) -> None:
        self._extent = extent
        self.pieces = pieces
        self.start = extent(pieces[0])[0]
        self.stop = extent(pieces[-1])[1]

    @property
    def size(self) -> int:
        """The bytes of the blob that it spans."""
        return self.stop - self.start

    def grown(self, within: range, room: int, takes: Callable[[int, int], bool]) -> _Stretch:
        """Return it with the adjacent pieces ``within`` a range, of ``room`` bytes at most.

        ``takes`` tells of a piece whether it may be one of them.
        """
        numbers, edges = [self.pieces[0], self.pieces[-1]], [self.start, self.stop]
        sides = [1, 0]
        for _ in range(_PIECES):
            for side in tuple(sides):
                number = numbers[side] + (1 if side else -1)
                begin, end = self._extent(number) if number in within else (0, 0)
                gap = begin - edges[1] if side else edges[0] - end
                added = gap + end - begin
                fits = begin < end and -1 <= gap <= _GAP and added <= room
                if fits and takes(begin, end):
                    numbers[side], edges[side], room = number, (begin, end)[side], room - added
                else:
                    sides.remove(side)
        return _Stretch(self._extent, range(numbers[0], numbers[1] + 1))
