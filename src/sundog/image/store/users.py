"""``layers/ID/users/``: what refers to a layer, so that nobody has to look at everything for it.

    layers/ID/users/HASH -> ../../../images/NAME
                         -> ../../../cache/KEY
                         -> ../../../deleted/NAME

A user of a layer is noted before it is put in place, and it stays noted after its end.  So a note
says where to look, and no more; without a note there is no user.  Layers of a storage directory of
format 1 have no such directory, because Sundog 1.0 notes nothing.
"""

from __future__ import annotations

import os
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sundog.image.store.device import Device

USERS = b"users"
_UP = b"../../../"
_HASH_LENGTH = 20


class Users:
    """The users of the layer in ``directory``; each is a path in the storage directory."""

    def __init__(self, directory: bytes) -> None:
        self._path = os.path.join(directory, USERS)

    def add(self, user: bytes, device: Device | None = None) -> None:
        """Note a user; with ``device``, the note is there once that has settled.

        The caller holds the layers.  A layer without a directory of users gets no note.
        """
        with suppress(FileExistsError, FileNotFoundError):
            os.symlink(_UP + user, self._note(user))
            if device is not None:
                device.changed(self._path)

    def drop(self, user: bytes) -> None:
        """Forget a user that has ended, and that no command makes anew at this moment."""
        with suppress(FileNotFoundError):
            os.unlink(self._note(user))

    def __iter__(self) -> Iterator[bytes]:
        """Yield all users that are noted.  Raises FileNotFoundError if none would be noted."""
        with os.scandir(self._path) as notes:
            for note in notes:
                target = os.readlink(note.path)
                if target.startswith(_UP) and target.count(b"/") == _UP.count(b"/") + 1:
                    yield target.removeprefix(_UP)

    def _note(self, user: bytes) -> bytes:
        import hashlib  # commands that change nothing do without it

        name = hashlib.sha256(user).hexdigest()[:_HASH_LENGTH]
        return os.path.join(self._path, name.encode())


def add_user(directories: Iterable[bytes], user: bytes, device: Device | None = None) -> None:
    """Note a user of the layers in ``directories``, as ``Users.add``."""
    for directory in directories:
        Users(directory).add(user, device)
