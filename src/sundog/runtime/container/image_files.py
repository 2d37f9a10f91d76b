"""Small files of an image, read without a mount: of a directory here, else ``squashfs_files``.

Whoever made the image is a stranger: no link in it leads out of it, and all that is read has a
bound.
"""

from __future__ import annotations

from sundog.runtime.container.root_files import names_inside, read_inside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

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
