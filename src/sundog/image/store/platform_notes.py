"""``platforms/``: notes of the images beside those with plain names: ``record.stored_entry``."""

from __future__ import annotations

import os
from contextlib import suppress

from sundog.base.record.names import PLATFORMS
from sundog.base.record.stored_entry import entry_beside, parted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sundog.image.store.storage import Storage


class PlatformNotes:
    """The notes of one storage directory."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def add(self, entry: str) -> None:
        """Note that ``images/entry`` may be there; one with a plain name needs no note.

        The caller holds the layers.  The note is on the device once that has settled.
        """
        directory, key = parted(entry)
        if not key:
            return
        notes = self._at(directory)
        for path in (os.path.dirname(notes), notes):
            with suppress(FileExistsError):
                os.mkdir(path, 0o700)
                self._storage.device.changed(os.path.dirname(path))
        note = self._at(directory, key)
        os.close(os.open(note, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._storage.device.changed(notes)

    def forget(self, entries: Iterable[str] | None = None) -> None:
        """Remove the notes of those of the images, by default of all, that are gone.

        No other command holds the layers.
        """
        for entry in self._all() if entries is None else entries:
            directory, key = parted(entry)
            if key and not os.path.lexists(self._storage.at(b"images", os.fsencode(entry))):
                with suppress(FileNotFoundError):
                    os.unlink(self._at(directory, key))
                with suppress(OSError):  # there are other notes
                    os.rmdir(self._at(directory))

    def _all(self) -> Iterator[str]:
        with suppress(FileNotFoundError):
            for directory in map(os.fsdecode, os.listdir(self._storage.at(PLATFORMS))):
                for key in map(os.fsdecode, os.listdir(self._at(directory))):
                    yield entry_beside(directory, key)

    def _at(self, *names: str) -> bytes:
        return self._storage.at(PLATFORMS, *map(os.fsencode, names))
