"""The blocks to fetch behind those that a reader wants, so that few requests bring what is read.

A request costs a round trip.  What a program reads of a layer lies in clusters: a long file, the
modules of a package.  So two blocks more come near one that was read before, and as many as were
read in a row in front: a long file comes in parts that double.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_NEAR = 24  # blocks: 6 MiB
_AHEAD = 2
_ROW = 32  # blocks: at most 8 MiB come ahead


def around(wanted: range) -> range:
    """Return the blocks of which ``with_ahead`` has to know whether they are here."""
    return range(max(wanted.start - _ROW, 0), wanted.stop + _ROW)


def with_ahead(wanted: range, absent: Collection[int], count: int) -> range:
    """Return ``wanted`` blocks, none of which is here, and those to be fetched by the same request.

    ``absent`` are those of the blocks ``around`` them that are neither here nor on their way; a
    file has ``count`` blocks.
    """
    row = 0
    while row < min(_ROW, wanted.start) and wanted.start - row - 1 not in absent:
        row += 1
    near = range(max(wanted.start - _NEAR, 0), min(wanted.stop + _NEAR, count))
    is_near = any(block not in absent and block not in wanted for block in near)
    end, stop = wanted.stop + max(row, _AHEAD * is_near), wanted.stop
    while stop < end and stop in absent:
        stop += 1
    return range(wanted.start, stop)
