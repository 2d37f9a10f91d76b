"""Small files of an image that is a directory or one file, read without a mount.

Whoever made the image is a stranger: no link in it leads out of it, and all that is read has a
bound.
"""

from __future__ import annotations

from sundog.runtime.container.root_files import names_inside, read_inside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from sundog.runtime.squashfs.image import SquashfsImage
    from sundog.runtime.squashfs.inode import Inode

    class ImageFiles(Protocol):
        """The files of an image."""

        def read(self, path: bytes) -> bytes | None:
            """Return a regular file; None if there is none, or if it is over FILE_LIMIT bytes."""

        def names(self, path: bytes) -> list[bytes]:
            """Return the names in a directory, up to FILES_LIMIT."""


FILE_LIMIT = 1 << 20
FILES_LIMIT = 1000


class DirectoryFiles:
    """The files of an image that is the directory ``root``."""

    def __init__(self, root: int) -> None:
        self._root = root

    def read(self, path: bytes) -> bytes | None:
        """Return a regular file; None if there is none, or if it is over FILE_LIMIT bytes."""
        return read_inside(self._root, path, FILE_LIMIT)

    def names(self, path: bytes) -> list[bytes]:
        """Return the names in a directory, up to FILES_LIMIT."""
        return names_inside(self._root, path, FILES_LIMIT)


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
