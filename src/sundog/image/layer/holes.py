"""Ranges of data and of holes, which read as zeros, in a file: lseek(2), SEEK_DATA."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SECTOR = 512  # the unit of st_blocks


def data_extents(fd: int) -> Iterator[tuple[int, int]]:
    """Yield offset and length of each range of data in the file ``fd``, in order of offset.

    Moves the file's offset.  A file system without holes says that all is data.  Raises OSError;
    EIO is for a file server of a stranger (FUSE) whose answers would never end.
    """
    status = os.fstat(fd)
    size = status.st_size
    if has_no_holes(status):
        if size:
            yield 0, size
        return
    position = 0
    while position < size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # ENXIO: the rest is a hole
                raise
            return
        end = os.lseek(fd, start, os.SEEK_HOLE)
        if not position <= start < end:
            raise OSError(errno.EIO, "its file system does not know its holes")
        position = min(end, size)
        if start < position:
            yield start, position - start


def has_no_holes(status: os.stat_result) -> bool:
    """Tell whether blocks back all bytes of a file; else it may have holes."""
    return status.st_blocks * SECTOR >= status.st_size
