"""Small files of an image that is one file, read without a mount: see ``image_files``."""

from __future__ import annotations

from sundog.runtime.container.image_files import FILE_LIMIT, FILES_LIMIT
from sundog.runtime.squashfs.image import SquashfsImage
from sundog.runtime.squashfs.sif import squashfs_place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.squashfs.inode import Inode


class SquashfsFiles:
    """The files of an image that is one file.  No link is followed.

    Its methods raise what the reader raises for a damaged file.
    """

    def __init__(self, image: SquashfsImage) -> None:
        self._image = image

    def read(self, path: bytes) -> bytes | None:
        """Return a regular file; None if there is none, or if it is over FILE_LIMIT bytes."""
        inode = self._inode(path)
        if inode is None or inode.kind != "f" or inode.size > FILE_LIMIT:
            return None
        return b"".join(self._image.read(inode, 0, inode.size))

    def names(self, path: bytes) -> list[bytes]:
        """Return the names in a directory, up to FILES_LIMIT."""
        inode = self._inode(path)
        if inode is None or inode.kind != "d":
            return []
        names: list[bytes] = []
        for name, *_ in self._image.entries(inode):
            names.append(name)
            if len(names) >= FILES_LIMIT:
                break
        return names

    def _inode(self, path: bytes) -> Inode | None:
        inode = self._image.inode(self._image.root)
        for name in path.split(b"/"):
            found = self._image.lookup(inode, name) if inode.kind == "d" else None
            if found is None:
                return None
            inode = self._image.inode(found)
        return inode


def opened_files(fd: int, path: bytes) -> SquashfsFiles:
    """Return the files of the image in ``fd``, which stays open as long as they are read.

    ``path`` is for messages.  Raises SundogError for a file without SquashFS.
    """
    return SquashfsFiles(SquashfsImage(fd, squashfs_place(fd, path)))
