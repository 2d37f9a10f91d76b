"""``tmp/``: where everything is made before it is renamed into place, and goes to be deleted.

    tmp/PID.RANDOM/lock      held by a live process through flock(2)
    tmp/PID.RANDOM/N/        one thing in the making, or on its way out
    tmp/trash/RANDOM/NAME    removed from the store, but still mounted by a live process

What a killed process leaves is known by its free lock, and the next command disposes of it.  No
repair step is needed, and no live process is ever robbed.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from sundog.errors import StoreError
from sundog.layer.remove import remove_tree
from sundog.record.stack import ID_LENGTH, read_stack
from sundog.store.locks import try_lock
from sundog.store.mounted import mounted_names

_TRASH = b"trash"
_LOCK = b"lock"
_REPLACED = b".replaced"


class Scratch:
    """This process's own directory below ``tmp/``; made by the first call of ``new``."""

    def __init__(self, store: bytes) -> None:
        self._store = store
        self._tmp = os.path.join(store, b"tmp")
        self._own = b""
        self._lock = -1
        self._count = 0

    def name(self, suffix: bytes = b"") -> bytes:
        """Return a new path, where nothing is yet; it is disposed of when this process ends."""
        while not self._own:
            self._make_own()
        self._count += 1
        return os.path.join(self._own, b"%d%s" % (self._count, suffix))

    def new(self, suffix: bytes = b"") -> bytes:
        """Make a new empty directory at a new path and return it."""
        path = self.name(suffix)
        os.mkdir(path, 0o700)
        return path

    def aside(self, path: bytes) -> bytes | None:
        """Move ``path`` out of the store's sight, under its own name; return where to.

        The result is to be disposed of.  None when ``path`` has vanished already.
        """
        place = self.new()
        try:
            os.rename(path, os.path.join(place, os.path.basename(path)))
        except FileNotFoundError:
            os.rmdir(place)
            return None
        return place

    def replace(self, new: bytes, target: bytes) -> None:
        """Put the image ``new`` in the place of ``target`` where renameat2 cannot exchange them.

        Two renames: a reader may find neither for a moment, and the old one comes back when this
        process is killed in between.
        """
        while True:
            place = self.new(_REPLACED)
            with suppress(FileNotFoundError):  # another process took it away
                os.rename(target, os.path.join(place, os.path.basename(target)))
            try:
                os.rename(new, target)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    self._restore(place)
                    raise
                # Another process put its own there: take that away too.
                self.dispose(place)
            else:
                self.dispose(place)
                return

    def dispose(self, place: bytes) -> None:
        """Delete what ``new`` or ``aside`` returned, unless a live process has it mounted.

        What is mounted waits in the trash for a later command.  What is gone is no error.
        """
        if os.path.isdir(place) and _is_mounted(place):
            os.rename(place, os.path.join(self._tmp, _TRASH, _random_name()))
        else:
            remove_tree(place)

    def collect(self) -> bool:
        """Dispose of what killed processes left, and of trash that is no longer mounted.

        Returns whether there was such a process.
        """
        found = False
        for name in os.listdir(self._tmp):
            path = os.path.join(self._tmp, name)
            if name == _TRASH:
                self._empty_trash(path)
            elif path != self._own and self._collect_leftover(path):
                found = True
        return found

    def close(self) -> None:
        """Delete this process's directory and all that is in it."""
        if not self._own:
            return
        for name in os.listdir(self._own):
            if name != _LOCK:
                self.dispose(os.path.join(self._own, name))
        self._remove_own()

    def _remove_own(self) -> None:
        os.unlink(os.path.join(self._own, _LOCK))
        os.rmdir(self._own)
        os.close(self._lock)
        self._own = b""

    def _make_own(self) -> None:
        """Try to make this process's directory; a collector may take it before it is locked."""
        own = os.path.join(self._tmp, b"%d.%s" % (os.getpid(), _random_name()))
        os.mkdir(own, 0o700)
        lock = _locked(own)
        if lock is not None:
            self._own, self._lock = own, lock

    def _collect_leftover(self, leftover: bytes) -> bool:
        lock = _locked(leftover)
        if lock is None:
            return False
        try:
            for name in os.listdir(leftover):
                path = os.path.join(leftover, name)
                if name.endswith(_REPLACED):
                    self._restore(path)
                if name != _LOCK:
                    # First into this process's care, so that the name may be told again.
                    mine = self.name()
                    os.rename(path, mine)
                    self.dispose(mine)
            os.unlink(os.path.join(leftover, _LOCK))
            os.rmdir(leftover)
        finally:
            os.close(lock)
        return True

    def _restore(self, place: bytes) -> None:
        """Put an image back that was taken away for a replacement which never came."""
        for name in os.listdir(place):
            target = os.path.join(self._store, b"images", name)
            if not os.path.lexists(target):
                os.rename(os.path.join(place, name), target)

    def _empty_trash(self, trash: bytes) -> None:
        for name in os.listdir(trash):
            path = os.path.join(trash, name)
            if _is_mounted(path):
                continue
            mine = self.name()
            try:
                os.rename(path, mine)
            except FileNotFoundError:
                continue  # another collector was faster
            remove_tree(mine)


def _locked(directory: bytes) -> int | None:
    """Lock a directory of ``tmp/``; None when another process has it, or deletes it just now."""
    path = os.path.join(directory, _LOCK)
    with suppress(FileNotFoundError):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with suppress(FileNotFoundError):
            if try_lock(fd, path) and os.path.samestat(os.stat(path), os.fstat(fd)):
                return fd
        os.close(fd)
    return None


def _is_mounted(place: bytes) -> bool:
    """Tell whether a live process has a layer, tree or image mounted that lies in ``place``."""
    names: set[bytes] = set()
    for name in os.listdir(place):
        if b"%" in name:  # an image: the names of all others have no registry
            names |= _mark_of_image(os.path.join(place, name))
        elif len(name) == ID_LENGTH and name.isalnum():
            names.add(name)
    return bool(names and mounted_names(names))


def _mark_of_image(path: bytes) -> set[bytes]:
    """Return the ID that shows in the mounts of whoever runs this image."""
    with suppress(FileNotFoundError, NotADirectoryError, StoreError):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            stack = read_stack(fd)
        finally:
            os.close(fd)
        return {stack.tree} if stack.tree else set(stack.layers[:1])
    return set()


def _random_name() -> bytes:
    return os.urandom(8).hex().encode()
