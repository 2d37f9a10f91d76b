"""What one command put into the store, and nothing refers to yet.

If that is so when the command ends, it is garbage.  What no other command can know of goes without
a look at any image.
"""

from __future__ import annotations


class Loose:
    """Paths of layers, flattened trees and blobs in the store.

    ``own`` are those that no image and no cache entry of another command can refer to; of
    ``others`` that is not known.
    """

    def __init__(self) -> None:
        self.own: set[bytes] = set()
        self.others: set[bytes] = set()

    def add(self, path: bytes, *, is_own: bool = False) -> None:
        """Tell that ``path`` is in place."""
        (self.own if is_own else self.others).add(path)

    def refer(self, *paths: bytes) -> None:
        """Tell that an image or a cache entry refers to ``paths`` now."""
        self.own.difference_update(paths)
        self.others.difference_update(paths)
