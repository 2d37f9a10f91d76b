"""The landmark of an eStargz: a file behind those that a start reads.

Whoever wrote the blob has put it there.  As a record, it is a hint: if it is wrong, other bytes
come first, and nothing else happens.  Specification: stargz-snapshotter, "eStargz", "Prioritized
Files and Landmark Files".
"""

from __future__ import annotations

from sundog.base.kernel.files import Closing, open_regular
from sundog.base.kernel.modes import S_IFMT, S_IFREG
from sundog.base.kernel.mounts import RESOLVE_BENEATH
from sundog.base.record.chunk_table import LANDMARK, ChunkTable
from sundog.base.record.layer_index import LayerIndex
from sundog.base.record.layer_path import LAYER_CHUNKS, LAYER_INDEX
from sundog.base.record.lazy_layer import LAZY_BLOCK
from sundog.base.record.start_record import RECORDED_BLOCKS
from sundog.errors import StoreError


def blocks_before_landmark(directory: int) -> range:
    """Return the blocks in front of the landmark of the layer in an open ``directory``.

    There are none without a landmark, or if the layer is damaged: a reader will say so.  Raises
    OSError.
    """
    try:
        return range(min(-(-_landmark_place(directory) // LAZY_BLOCK), RECORDED_BLOCKS))
    except (StoreError, ValueError):
        return range(0)


def _landmark_place(directory: int) -> int:
    """Return where the landmark begins in the blob, 0 if there is none.

    Raises StoreError, OSError, and ValueError for an empty file.
    """
    from mmap import ACCESS_READ, mmap  # noqa: PLC0415 - few starts need it

    files = []
    for name in (LAYER_INDEX, LAYER_CHUNKS):
        fd = open_regular(directory, name[1:], RESOLVE_BENEATH)
        if fd < 0:
            return 0
        with Closing(fd):
            files.append(mmap(fd, 0, access=ACCESS_READ))
    landmark = LayerIndex(files[0]).find(LANDMARK)
    if landmark is None or landmark.mode & S_IFMT != S_IFREG or not landmark.size:
        return 0
    return ChunkTable(files[1]).chunk(landmark.place).blob_offset
