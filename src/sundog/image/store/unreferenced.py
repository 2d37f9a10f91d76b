"""The paths that one command put into the store, and to which nothing refers yet.

A path that is still loose when the command ends is garbage.  If no other command can know the path,
it is removed without a look at any image.
"""

from __future__ import annotations


class Unreferenced:
    """Paths of layers, flattened trees and blobs in the store.

    No image and no cache entry of another command can refer to those in ``own``.  Another command
    may refer to those in ``others``.
    """

    def __init__(self) -> None:
        self.own: set[bytes] = set()
        self.others: set[bytes] = set()

    def add(self, path: bytes, *, is_own: bool = False) -> None:
        """Note that ``path`` is in place."""
        (self.own if is_own else self.others).add(path)

    def forget(self) -> None:
        """Note nothing so far: another process looks after it."""
        self.own.clear()
        self.others.clear()

    def refer(self, *paths: bytes) -> None:
        """Note that an image or a cache entry refers to ``paths`` now."""
        self.own.difference_update(paths)
        self.others.difference_update(paths)
