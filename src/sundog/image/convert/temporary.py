"""A storage directory for one conversion, for images that can't stream.

It is ``ch-convert.RANDOM`` in a directory for temporary files, and locked by flock(2).  A process
that was killed can't remove its own: its lock is free then, and the next conversion removes it.

The directory is STORAGE/convert unless the user names another one.  It is not $TMPDIR: containers
that run at the same time see that, and could change the image.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import tempfile
from contextlib import suppress

from sundog.base.configuration.storage import default_storage
from sundog.base.kernel.files import Closing
from sundog.base.kernel.locks import is_at
from sundog.base.record.own_storage import claim_storage
from sundog.image.convert.flow import deferred_signals
from sundog.image.layer.remove import remove_tree
from sundog.image.store.store import Store
from sundog.runtime.container.enter import enter_namespaces
from sundog.runtime.process.child import Child
from sundog.runtime.state.place import make_private

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PREFIX = "ch-convert."
_NAME = re.compile(r"ch-convert\.[a-z0-9_]{8}")  # as tempfile.mkdtemp names a directory
_MODE = 0o700  # as tempfile.mkdtemp makes a directory
_STORAGE = "storage"
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = b"convert"


class TemporaryStore:
    """A context manager that gives a new store, and removes it with all that is in it."""

    def __init__(self, directory: str | None, storage: str | None) -> None:
        """Choose the place: ``directory``, else one in ``storage``; None stands for the usual one.

        Raises SundogError if the storage directory is not the user's alone.
        """
        self._directory = directory or _directory_in(storage)
        self._path = ""
        self._lock = -1
        self._store: Store | None = None

    def __enter__(self) -> Store:
        _collect(self._directory)
        while self._lock < 0:
            self._path = tempfile.mkdtemp(prefix=_PREFIX, dir=self._directory)
            # Another conversion may have removed it before it was locked.
            with suppress(FileNotFoundError):
                lock = os.open(self._path, _FLAGS)
                fcntl.flock(lock, fcntl.LOCK_SH)
                if is_at(os.fsencode(self._path), lock):
                    self._lock = lock
                else:
                    os.close(lock)
        try:
            self._store = Store.open(os.path.join(self._path, _STORAGE))
        except BaseException:
            self._remove()
            raise
        return self._store.__enter__()

    def __exit__(self, *error: object) -> None:
        try:
            assert self._store is not None
            self._store.__exit__(*error)  # type: ignore[arg-type]
        finally:
            self._remove()

    def _remove(self) -> None:
        with suppress(OSError):
            _remove(os.fsencode(self._path))
        if self._lock >= 0:
            os.close(self._lock)


def _directory_in(storage: str | None) -> str:
    path = default_storage(os.environb) if storage is None else os.fsencode(storage)
    claim_storage(path)
    directory = os.path.join(path, _DIRECTORY)
    make_private(directory)
    return os.fsdecode(directory)


def _collect(directory: str) -> None:
    """Remove what killed processes of this user have left in ``directory``."""
    with suppress(OSError):
        for name in os.listdir(directory):
            if not _NAME.fullmatch(name):
                continue
            path = os.fsencode(os.path.join(directory, name))
            with suppress(OSError), Closing(os.open(path, _FLAGS)) as lock:
                status = os.fstat(lock)
                # The user may have a directory of such a name.
                is_ours = stat.S_IMODE(status.st_mode) == _MODE and status.st_uid == os.geteuid()
                if is_ours and set(os.listdir(lock)) <= {_STORAGE}:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(path)


def _remove(path: bytes) -> None:
    """Remove a directory, whatever the modes of what is in it."""

    def inside(tie: Callable[[], None]) -> None:
        enter_namespaces(0, 0)
        tie()
        remove_tree(path)

    with deferred_signals():
        Child(inside).result()
