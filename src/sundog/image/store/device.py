"""The order in which things reach the device, so that a power cut at any moment does no harm.

1. The contents of a draft are on the device before the draft is renamed into place.  Layers that an
   instruction made are an exception: they may lag behind.
2. The contents and the name of a layer or a blob are on the device before anything that a power cut
   leaves refers to them: an image, or an entry of the build cache without a mark (``cache``).
3. A new name is on the device before the command says that it is done.  A removed name is gone from
   the device before the files behind it are deleted.

A command that writes many files, those of new layers, syncs the whole file system: syncfs(2).  Any
other command syncs only its own few files, since other programs may have much to write: fsync(2).
A command that changes nothing syncs nothing.
"""

from __future__ import annotations

import os
import time

from sundog.base.kernel.files import sync_file_system, sync_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LAG_LIMIT = 5.0  # seconds of a command's work that a power cut may take


class Device:
    """The state of one command's writes to the device below the storage directory ``store``."""

    def __init__(self, store: bytes) -> None:
        self._store = store
        self._unsettled: set[bytes] = set()
        self._lagging: set[bytes] = set()
        self._deferred: list[Callable[[], None]] = []
        self._is_in_sync = False
        self._last_sync = time.monotonic()

    def rename(self, draft: bytes, target: bytes) -> None:
        """Rename ``draft``, which is on the device, to ``target``; ``settle`` syncs the name."""
        os.rename(draft, target)
        self.changed(os.path.dirname(target))

    def changed(self, directory: bytes) -> None:
        """Note that names in ``directory`` are new or gone; ``settle`` syncs them."""
        self._unsettled.add(directory)

    def may_lag(self) -> bool:
        """Tell whether a power cut may take a layer that is finished now: little work is lost."""
        return time.monotonic() - self._last_sync <= LAG_LIMIT

    def note_lag(self, path: bytes) -> None:
        """Note that ``path`` is in place, and that its contents may not be on the device."""
        self._lagging.add(path)

    def lags(self, path: bytes) -> bool:
        """Tell whether ``path`` is in place, and its contents may not be on the device."""
        return path in self._lagging

    def defer(self, refer: Callable[[], None]) -> None:
        """Call ``refer`` once all that lags now is on the device."""
        self._deferred.append(refer)

    def sync(self) -> None:
        """Write all that is dirty in the file system to the device."""
        settled, lagging = set(self._unsettled), set(self._lagging)
        sync_file_system(self._store)
        self._unsettled -= settled
        self._lagging -= lagging
        self._is_in_sync = True
        self._last_sync = time.monotonic()

    def catch_up(self) -> None:
        """Write all that lags to the device, and do then what was deferred.

        A thread beside the one that makes layers calls ``sync`` alone.
        """
        if self._lagging:
            self.sync()
        deferred, self._deferred = self._deferred, []
        for refer in deferred:
            refer()

    def sync_drafts(self, *drafts: bytes) -> None:
        """Write files, or directories with their contents, to the device.

        Earlier renames are on the device then as well.
        """
        # After a sync of the whole file system, little of it is dirty.
        if self._is_in_sync or self._lagging or len(drafts) > 1:
            self.sync()
            return
        try:
            for draft in drafts:
                _sync_tree(draft)
        except PermissionError:  # the root of an image may have any mode
            self.sync()
        self.settle()

    def settle(self) -> None:
        """Write all that lags, and all names that have changed, to the device."""
        self.catch_up()
        for directory in sorted(self._unsettled):
            sync_path(directory)
            self._unsettled.discard(directory)


def _sync_tree(path: bytes) -> None:
    """Write a file, or a directory with its contents, to the device."""
    if os.path.isdir(path):
        for name in os.listdir(path):
            _sync_tree(os.path.join(path, name))
    sync_path(path)
