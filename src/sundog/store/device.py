"""What reaches the device, and in which order, so that a power cut at any moment does no harm.

1. What a draft holds is on the device before the draft is renamed into place.
2. The name of what others refer to, a layer or a blob, is on the device before an image that refers
   to it is renamed into place.
3. The directory with a new name is on the device before the command says that it is done; a name
   that goes is gone there before what it stood for is deleted.

A command that has many files to write, a new layer, syncs the whole file system: syncfs(2).  Any
other syncs no more than its own few files, since others may have much to write: fsync(2).  A
command that changes nothing syncs nothing.
"""

from __future__ import annotations

import os

from sundog.kernel.files import sync_file_system, sync_path


class Device:
    """What one command knows of the device below the storage directory ``store``."""

    def __init__(self, store: bytes) -> None:
        self._store = store
        self._unsettled: set[bytes] = set()
        self._is_in_sync = False

    def rename(self, draft: bytes, target: bytes) -> None:
        """Rename ``draft``, which is on the device, to ``target``, which ``settle`` makes last."""
        os.rename(draft, target)
        self.changed(os.path.dirname(target))

    def changed(self, directory: bytes) -> None:
        """Tell that names in ``directory`` are new, or gone, which ``settle`` makes last."""
        self._unsettled.add(directory)

    def sync(self) -> None:
        """Write all that is dirty in the file system to the device."""
        settled = set(self._unsettled)
        sync_file_system(self._store)
        self._unsettled -= settled
        self._is_in_sync = True

    def sync_drafts(self, *drafts: bytes) -> None:
        """Write files, or directories with all that is in them, to the device.

        What was renamed into place before is there then as well, under its name.
        """
        # Little has become dirty since the last sync of all.
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
        """Write the names that have changed to the device."""
        for directory in sorted(self._unsettled):
            sync_path(directory)
            self._unsettled.discard(directory)


def _sync_tree(path: bytes) -> None:
    """Write a file to the device, or a directory with all that is in it."""
    if os.path.isdir(path):
        for name in os.listdir(path):
            _sync_tree(os.path.join(path, name))
    sync_path(path)
