"""A storage directory for one conversion, for images that can't stream.

It is ``ch-convert.RANDOM`` in a directory for temporary files.  A process that was killed can't
remove its own: its lock is free then, and the next conversion removes it.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from sundog.container.child import Child
from sundog.container.enter import enter_namespaces
from sundog.layer.remove import remove_tree
from sundog.store.locks import lock_file
from sundog.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

_PREFIX = "ch-convert."
_LOCK = "lock"
_DEFAULT = "/var/tmp"


class TemporaryStore:
    """A context manager that gives a new store, and removes it with all that is in it."""

    def __init__(self, directory: str | None) -> None:
        self._directory = directory or os.environ.get("TMPDIR") or _DEFAULT
        self._path = ""
        self._lock = -1
        self._store: Store | None = None

    def __enter__(self) -> Store:
        _collect(self._directory)
        self._path = tempfile.mkdtemp(prefix=_PREFIX, dir=self._directory)
        try:
            path = os.fsencode(os.path.join(self._path, _LOCK))
            self._lock = lock_file(path, fcntl.LOCK_EX | fcntl.LOCK_NB, create=True)
            self._store = Store.open(os.path.join(self._path, "storage"))
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


def _collect(directory: str) -> None:
    """Remove what killed processes of this user have left in ``directory``."""
    with suppress(OSError):
        names = [name for name in os.listdir(directory) if name.startswith(_PREFIX)]
        for name in names:
            path = os.fsencode(os.path.join(directory, name))
            with suppress(OSError):
                status = os.lstat(path)
                if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                    continue
                lock = lock_file(
                    os.path.join(path, os.fsencode(_LOCK)), fcntl.LOCK_EX | fcntl.LOCK_NB
                )
                _remove(path)
                os.close(lock)


def _remove(path: bytes) -> None:
    """Remove a directory, whatever the modes of what is in it."""

    def inside(tie: Callable[[], None]) -> None:
        enter_namespaces(0, 0)
        tie()
        remove_tree(path)

    Child(inside).result()
