"""The owners of a SquashFS image as a manifest, the form in which ``--notify`` takes them.

The mount shows every file as the user's own.  The manifest has what the file system in the image
says: owners, devices, capabilities.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import write_all
from sundog.base.record.owners import DEVICE_KINDS, OWNER_KINDS, OWNERS_MAGIC, OwnerRecord
from sundog.errors import SundogError
from sundog.runtime.squashfs.walk import walk_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.squashfs.image import SquashfsImage
    from sundog.runtime.squashfs.inode import Inode

# Bounds of what a hostile image can cost.
_MANIFEST_LIMIT = 1 << 29  # in bytes; a million files of another owner take some 60 MB
PATHS_LIMIT = 1 << 24  # a walk of minutes; directories may share a list of names
_PATHS_AT_ONCE = 1 << 10
_WRITTEN_AT_ONCE = 1 << 20

_RECORDED_XATTR = b"security.capability"


def write_records(image: SquashfsImage, is_unwanted: Callable[[], bool]) -> int:
    """Return a file in memory that has the manifest of ``image``, in the format of record.owners.

    The function walks through the whole image.  It gives up when ``is_unwanted`` says so.
    Raises the reader's errors, and SundogError for an image that is too large.
    """
    descriptor = os.memfd_create("sundog-owners", os.MFD_CLOEXEC)
    try:
        _ImageManifest(image, descriptor).write(is_unwanted)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class _ImageManifest:
    """The manifest of ``image`` on its way to the file ``descriptor``."""

    def __init__(self, image: SquashfsImage, descriptor: int) -> None:
        self._image = image
        self._descriptor = descriptor
        self._left = _MANIFEST_LIMIT
        self._parts = [OWNERS_MAGIC]
        self._size = 0
        self._packed: dict[tuple[object, ...], bytes] = {}

    def write(self, is_unwanted: Callable[[], bool]) -> None:
        """Write all of it, see ``write_records``."""
        for count, (path, inode) in enumerate(walk_paths(self._image)):
            if count > PATHS_LIMIT:
                raise _too_many()
            if count % _PATHS_AT_ONCE == 0 and is_unwanted():
                raise SundogError("nobody waits for the records of owners")
            self._add(path, inode)
        self._flush()

    def _add(self, path: bytes, inode: Inode) -> None:
        if inode.kind not in OWNER_KINDS:
            return
        xattrs = tuple(pair for pair in self._image.xattrs(inode) if pair[0] == _RECORDED_XATTR)
        key = (inode.kind, inode.uid, inode.gid, inode.rdev, xattrs)
        packed = self._packed.get(key)
        if packed is None:
            rdev = inode.rdev if inode.kind in DEVICE_KINDS else 0
            record = OwnerRecord(inode.kind, inode.uid, inode.gid, rdev=rdev, xattrs=xattrs)
            packed = b"" if record.is_plain else record.pack()
            if len(self._packed) < 10_000:
                self._packed[key] = packed
        if not packed:
            return
        text = b"%s\0%s\0" % (path, packed)
        self._parts.append(text)
        self._size += len(text)
        if self._size >= _WRITTEN_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        data = b"".join(self._parts)
        self._left -= len(data)
        if self._left < 0:
            raise _too_many()
        write_all(self._descriptor, data)
        self._parts = []
        self._size = 0


def _too_many() -> SundogError:
    """Return the error for an image whose records would cost too much."""
    return SundogError(
        "the image has too many files or owners to record",
        "leave out --notify, or run it from storage: ch-convert",
    )
