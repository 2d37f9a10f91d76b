"""The order in which things reach the device, so that a power cut at any moment does no harm.

1. The contents of a draft are on the device before the draft is renamed into place.
2. The name of a layer or a blob is on the device before an image that refers to it is renamed into
   place.
3. A new name is on the device before the command says that it is done.  A removed name is gone from
   the device before the files behind it are deleted.

A command that writes many files, those of a new layer, syncs the whole file system: syncfs(2).  Any
other command syncs only its own few files, since other programs may have much to write: fsync(2).
A command that changes nothing syncs nothing.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import sync_file_system, sync_path


class Device:
    """The state of one command's writes to the device below the storage directory ``store``."""

    def __init__(self, store: bytes) -> None:
        self._store = store
        self._unsettled: set[bytes] = set()
        self._is_in_sync = False

    def rename(self, draft: bytes, target: bytes) -> None:
        """Rename ``draft``, which is on the device, to ``target``; ``settle`` syncs the name."""
        os.rename(draft, target)
        self.changed(os.path.dirname(target))

    def changed(self, directory: bytes) -> None:
        """Note that names in ``directory`` are new or gone; ``settle`` syncs them."""
        self._unsettled.add(directory)

    def sync(self) -> None:
        """Write all that is dirty in the file system to the device."""
        settled = set(self._unsettled)
        sync_file_system(self._store)
        self._unsettled -= settled
        self._is_in_sync = True

    def sync_drafts(self, *drafts: bytes) -> None:
        """Write files, or directories with their contents, to the device.

        Earlier renames are on the device then as well.
        """
        # After a sync of the whole file system, little of it is dirty.
        if self._is_in_sync or len(drafts) > 1:
            self.sync()
            return
        try:
            for draft in drafts:
                _sync_tree(draft)
        except PermissionError:  # the root of an image may have any mode
            self.sync()
        self.settle()

    def settle(self) -> None:
        """Write all names that have changed to the device."""
        for directory in sorted(self._unsettled):
            sync_path(directory)
            self._unsettled.discard(directory)


def _sync_tree(path: bytes) -> None:
    """Write a file, or a directory with its contents, to the device."""
    if os.path.isdir(path):
        for name in os.listdir(path):
            _sync_tree(os.path.join(path, name))
    sync_path(path)
