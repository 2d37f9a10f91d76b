"""``tmp/``: drafts of everything, before they are renamed into place, and the trash.

    tmp/PID.RANDOM/lock       locked by the live process PID
    tmp/PID.RANDOM/N          a draft
    tmp/PID.RANDOM/N.replaced/NAME
                              an image that makes way for another, see ``replace``
    tmp/trash/RANDOM[.ID]     an image, or the layer or tree ID, that is to be deleted

A directory whose lock is free was left by a killed process; the next command deletes it.  So no
repair step is needed, and no live process loses its files.  What a container still has mounted
stays in the trash until a command finds that the container has ended.  Deletion takes a rename and
no new file, so it works on a full file system.
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import time
from contextlib import suppress

from sundog.base.kernel.files import Closing
from sundog.base.record.stack import ID_LENGTH, read_stack
from sundog.errors import StoreError
from sundog.image.layer.remove import remove_tree
from sundog.image.store.mounted import mounted_names
from sundog.runtime.process.watch import WATCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.image.store.held_lock import HeldLock
    from sundog.image.store.locks import Locks

_TRASH = b"trash"
_LOCK = b"lock"
_REPLACED = b".replaced"
_REMOVED = b".nfs"  # begins the name that NFS gives to a file that is removed while it is open


class Scratch:
    """This process's own directory below ``tmp/``, which is made when needed, and the trash."""

    def __init__(self, store: bytes, locks: Locks) -> None:
        self._store = store
        self._locks = locks
        self._images = os.path.join(store, b"images")
        self._tmp = os.path.join(store, b"tmp")
        self._trash = os.path.join(self._tmp, _TRASH)
        self._own = b""
        self._lock: HeldLock | None = None
        self._count = 0
        self._until = math.inf

    def hurry(self, seconds: float) -> None:
        """Delete things for so many seconds more; leave the rest to the next command."""
        self._until = min(self._until, time.monotonic() + seconds)

    def name(self, suffix: bytes = b"") -> bytes:
        """Return a new path in the own directory.  Closing deletes what is there by then."""
        while self._lock is None:
            # Set before mkdir: ``close`` finds the directory, whenever a signal comes.
            self._own = os.path.join(self._tmp, b"%d.%s" % (os.getpid(), _random_name()))
            os.mkdir(self._own, 0o700)
            try:
                self._lock = self._locked(self._own)
            except OSError:  # no space for one more file
                with suppress(FileNotFoundError):
                    os.rmdir(self._own)
                raise
            # None: another command took the directory for a leftover.
        self._count += 1
        return os.path.join(self._own, b"%d%s" % (self._count, suffix))

    def new(self, suffix: bytes = b"") -> bytes:
        """Make a new empty directory at a new path and return it."""
        path = self.name(suffix)
        os.mkdir(path, 0o700)
        return path

    def aside(self, path: bytes) -> bytes:
        """Move an image, a layer or a tree into the trash; return its new path.

        The caller has to ``dispose`` of it.  Raises FileNotFoundError when ``path`` is not there.
        """
        name = os.path.basename(path)
        place = os.path.join(self._trash, _random_name())
        if len(name) == ID_LENGTH:
            place += b"." + name
        try:
            os.rename(path, place)
        except PermissionError:
            # rename(2) needs a writable directory, and the root of an image may have any mode.
            mode = os.stat(path).st_mode & 0o7777
            os.chmod(path, mode | 0o200)
            os.rename(path, place)
            os.chmod(place, mode)  # a container may still run from it
        return place

    def replace(self, new: bytes, target: bytes) -> None:
        """Put the image ``new`` in the place of ``target``, where renameat2 cannot exchange them.

        This takes two renames.  In between, a reader finds neither image.  If this process is
        killed in between, the next command restores the old image.
        """
        while True:
            place = self.new(_REPLACED)
            with suppress(FileNotFoundError):  # another process has taken the old image away
                os.rename(target, os.path.join(place, os.path.basename(target)))
            try:
                os.rename(new, target)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    self._restore(place)
                    raise
                # Another process has put its own image there: take that away too.
                self.dispose(place)
            else:
                self.dispose(place)
                return

    def dispose(self, *paths: bytes) -> None:
        """Delete ``paths``, which are in ``tmp/``; no error if they are gone.

        What a live process has mounted stays in the trash for a later command.
        """
        marks = {}
        for path in paths:
            if path.endswith(_REPLACED):
                for image in os.listdir(path):
                    inside = os.path.join(path, image)
                    marks[inside] = _marks(inside)
            marks[path] = _marks(path)
        mounted = mounted_names(set().union(*marks.values()), self._store)
        for path, names in marks.items():
            if names.isdisjoint(mounted):
                with suppress(TimeoutError):
                    _delete(path, self._until)
            elif os.path.dirname(path) != self._trash:
                os.rename(path, os.path.join(self._trash, _random_name()))

    def held(self) -> list[bytes]:
        """Return the layers and trees in the trash, which containers have mounted."""
        names = [
            name for name in os.listdir(self._trash) if len(name.partition(b".")[2]) == ID_LENGTH
        ]
        return [os.path.join(self._trash, name) for name in sorted(names)]

    def collect(self, on_leftover: Callable[[], None]) -> bool:
        """Delete what killed processes left, and the trash that is no longer mounted.

        Calls ``on_leftover`` before it deletes what a process left.  Return whether there was any.
        """
        found = False
        trash = {name: os.path.join(self._trash, name) for name in os.listdir(self._trash)}
        for name in [name for name in trash if name.startswith(_REMOVED)]:
            with suppress(OSError):  # a process of this node has it open
                os.unlink(trash.pop(name))
        self.dispose(*trash.values())
        for name in os.listdir(self._tmp):
            path = os.path.join(self._tmp, name)
            if name == _TRASH or path == self._own:
                continue
            lock = self._locked(path)
            if lock is not None:
                found = True
                with lock:
                    on_leftover()
                    self._empty(path)
                _remove_directory(path)
        return found

    def leave_to_parent(self) -> None:
        """Have no directory yet, in a process that was forked: the one so far is its parent's."""
        self._own = b""
        if self._lock is not None:
            lock, self._lock = self._lock, None
            lock.leave_to_parent()

    def close(self) -> None:
        """Delete this process's directory with its contents."""
        if self._own:
            with suppress(FileNotFoundError):  # mkdir had failed
                self._empty(self._own)
                self._unlock()
                _remove_directory(self._own)
            self._own = b""
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            lock, self._lock = self._lock, None
            lock.release()

    def _locked(self, directory: bytes) -> HeldLock | None:
        """Lock a directory of ``tmp/``; None if another process has it, or has just deleted it."""
        path = os.path.join(directory, _LOCK)
        with suppress(FileNotFoundError, BlockingIOError):
            return self._locks.open(path, fcntl.LOCK_EX | fcntl.LOCK_NB, create=True)
        return None

    def _empty(self, directory: bytes) -> None:
        """Delete what a process has in its directory.  The caller holds the lock, deleted last."""
        paths = [os.path.join(directory, name) for name in os.listdir(directory) if name != _LOCK]
        for path in paths:
            if path.endswith(_REPLACED):
                self._restore(path)
        self.dispose(*paths)
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, _LOCK))

    def _restore(self, place: bytes) -> None:
        """Put back an image that ``replace`` took away before it was interrupted."""
        for name in os.listdir(place):
            target = os.path.join(self._images, name)
            if not os.path.lexists(target):
                os.rename(os.path.join(place, name), target)


def _remove_directory(path: bytes) -> None:
    """Remove a directory of ``tmp/`` that was emptied and unlocked.

    On NFS, the lock keeps a name in it until it is closed.  So another command may find the
    directory without a lock at this moment, and take it for a leftover.
    """
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY):
            raise


def _marks(path: bytes) -> set[bytes]:
    """Return the IDs that occur in the mounts of each process that uses ``path``."""
    _, _, identity = os.path.basename(path).partition(b".")
    if len(identity) == ID_LENGTH:
        return {identity}
    return image_marks(path)


def image_marks(path: bytes) -> set[bytes]:
    """Return the IDs that occur in the mounts of each process that uses the image at ``path``."""
    with suppress(FileNotFoundError, NotADirectoryError, StoreError):
        with Closing(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
            stack = read_stack(fd)  # so it is an image
        return {stack.tree} if stack.tree else set(stack.layers[:1])
    return set()


def _delete(path: bytes, until: float) -> None:
    while os.path.lexists(path):
        with suppress(FileNotFoundError):  # another process deletes the same tree
            remove_tree(path, until=until, removed=WATCH.moved)


def _random_name() -> bytes:
    return os.urandom(8).hex().encode()
