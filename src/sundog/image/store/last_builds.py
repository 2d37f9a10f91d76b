"""``images/NAME/build.json``: what the build that made an image had; ``--explain-cache`` reads it.

It goes with its image: who deletes or replaces that has nothing more to do.  It is only there for
explanations, so nothing waits for the device, and a lost file is no fault.
"""

from __future__ import annotations

import os
from contextlib import suppress

from sundog.base.kernel.drafts import write_new_file
from sundog.base.record.names import canonical_name, name_to_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.store.storage import Storage

_FILE = b"build.json"
LIMIT = 4 << 20  # bytes


class LastBuilds:
    """The records of the last builds in one store."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def get(self, name: str) -> bytes:
        """Return the record of an image, b"" if there is none; raise ReferenceSyntaxError."""
        with suppress(OSError), open(self._path(name), "rb") as file:
            return file.read(LIMIT)
        return b""

    def put(self, name: str, record: bytes) -> None:
        """Write the record of an image that is there, unless it has the same; raise as ``get``."""
        if self.get(name) == record:
            return
        draft = self._storage.scratch.name()
        with self._storage.faults, suppress(FileNotFoundError):  # the image was deleted meanwhile
            write_new_file(draft, record, 0o644)
            os.rename(draft, self._path(name))

    def _path(self, name: str) -> bytes:
        directory = os.fsencode(name_to_directory(canonical_name(name)))
        return self._storage.at(b"images", directory, _FILE)
