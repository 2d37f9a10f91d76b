"""The contents of a layer that is one file, by the kind of the file.

An index tells all else about a layer, so a kind needs one method: ``read`` returns a part of what
is at a place of that index.  It may wait, for a disk or for bytes that are not here yet, after
``about_to_wait``: only the thread that calls it waits.  It raises SundogError and OSError; the
reading program gets EIO.
"""

from __future__ import annotations

import os

from sundog.base.record.magic import IMAGE_HEAD, SQUASHFS_IMAGE, image_kind
from sundog.errors import StoreError
from sundog.runtime.fuse.blob import FileBlob
from sundog.runtime.fuse.blob_contents import BlobContents
from sundog.runtime.fuse.span_contents import SpanContents
from sundog.runtime.fuse.waiting import read_at
from sundog.runtime.squashfs.image import SquashfsImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from mmap import mmap
    from typing import Protocol

    from sundog.runtime.fuse.blob import Blob

    class LayerContents(Protocol):
        """The contents of the files of one layer.  Threads may share it."""

        def read(
            self, place: int, length: int, offset: int, size: int
        ) -> Sequence[bytes | memoryview]:
            """Return ``size`` bytes from ``offset`` on of the file at ``place``.

            The file has ``length`` bytes.  Only at its end there are fewer.
            """


class _SquashfsContents:
    """A layer file that is SquashFS.  A place is the reference of an inode.

    Names, directories and attributes in the file are never looked at.
    """

    __slots__ = ("_image",)

    def __init__(self, fd: int) -> None:
        """Take the open file.  Raises SquashfsError and KernelError."""
        self._image = SquashfsImage(fd, 0, read_at)

    def read(self, place: int, length: int, offset: int, size: int) -> Sequence[bytes | memoryview]:
        """See ``LayerContents``."""
        inode = self._image.inode(place)
        if inode.kind != "f" or inode.size != length:
            raise self._image.damaged(f"inode {place:#x} is not the file in the index")
        return self._image.read(inode, offset, size)


def open_contents(
    fd: int,
    chunks: bytes | mmap | None = None,
    blob: Blob | None = None,
    *,
    spans: tuple[int, bytes | mmap] | None = None,
) -> LayerContents:
    """Return the contents of the open layer file; ``chunks`` is its table if it is a blob.

    ``spans`` is the file of its spans if it is an ordinary gzip, open and mapped.  ``blob`` has the
    bytes of a blob that is not all here.  Raises SundogError and OSError.
    """
    if chunks is not None:
        return BlobContents(chunks, blob or FileBlob(fd))
    if spans is not None:
        windows, table = spans
        size = os.fstat(fd).st_size
        return SpanContents(table, blob or FileBlob(fd), size, FileBlob(windows))
    if image_kind(os.pread(fd, IMAGE_HEAD, 0)) != SQUASHFS_IMAGE:
        raise StoreError("damaged layer file: not SquashFS")
    return _SquashfsContents(fd)
