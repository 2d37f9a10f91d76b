"""Locks of the storage directory: flock(2) on small files, or ``claims`` where that is not enough.

A lock of flock(2) belongs to the open file, so it ends with the last process that has the file
open.  When a command and its children are killed, their locks are free at once: no lock is ever
stale.  But on a file system that nodes share, the kernel may refuse locks, or hide them from other
nodes.  The mount tells whether it does.

A store has one kind of locks on all nodes: the directory of claims decides, once it is there.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager, suppress
from functools import partial

from sundog.base.kernel.libc import printable
from sundog.base.kernel.locks import open_locked
from sundog.base.kernel.refusal import file_system_of, mount_at
from sundog.base.kernel.sharing import is_shared
from sundog.base.record.location import OTHER_STORAGE_HINT
from sundog.errors import StoreError, UnfitStorage
from sundog.image.store.advice import ADVICE
from sundog.image.store.held_lock import HeldLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    class Locks(Protocol):
        """Locks on the files of a storage directory that several commands use."""

        def open(self, path: bytes, operation: int, *, create: bool = False) -> HeldLock:
            """Open the file ``path`` and lock it, as ``open_locked`` does.

            ``operation`` is that of flock(2): LOCK_EX or LOCK_SH, perhaps with LOCK_NB.  Raises
            BlockingIOError when another process holds the lock, FileNotFoundError where there is
            no such file and ``create`` is not set, and StoreError where locks are impossible.
            """
            ...

        def confirm(self) -> None:
            """Raise StoreError if this process may have lost its locks meanwhile.

            Else it keeps them for seconds, whatever happens.
            """
            ...

        def sweep(self) -> None:
            """Remove what killed commands left of their locks."""
            ...

        def leave_to_parent(self) -> None:
            """Take note that this process was forked: the locks so far are its parent's."""
            ...

        def close(self) -> None:
            """Remove what this process has for its locks, which it has given up."""
            ...


CLAIMS = b"locks/claims"
_TURN = b"turn-"
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


def _nfs(options: set[str]) -> bool:
    return options.isdisjoint({"nolock", "local_lock=all", "local_lock=flock"})


# The file systems whose locks all nodes see, with these options of the mount.
_SEEN_BY_ALL: dict[str, Callable[[set[str]], bool]] = {
    "ceph": lambda _: True,
    "lustre": lambda options: "flock" in options,
    "nfs": _nfs,
    "nfs4": _nfs,
}


def locks_of(store: bytes) -> Locks:
    """Return the locks of the storage directory ``store``, which is complete.

    Warns once of a directory whose locks other nodes may not see: the command that finds it out
    makes the directory of claims.
    """
    if not is_shared(store, os.stat(store)):
        return KernelLocks()
    directory = os.path.join(store, CLAIMS)
    if not os.path.isdir(directory):
        if are_seen_by_all(store, os.path.join(store, b"locks/use")):
            return KernelLocks()
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            pass
        except OSError:
            return KernelLocks()  # see below
        else:
            ADVICE.warn(
                f"storage directory {printable(store)}: other nodes may not see locks on "
                f"{file_system_of(store)}; from now on, commands use files there as locks"
            )
    if not os.access(directory, os.W_OK):  # nothing can be written, so this command only looks
        return KernelLocks()
    from sundog.image.store.claims import ClaimLocks

    return ClaimLocks(store, directory)


def are_seen_by_all(directory: bytes, file: bytes) -> bool:
    """Tell whether all nodes see the locks of ``file`` in a ``directory`` that they share."""
    mount = mount_at(directory)
    if mount is None or mount[2] not in _SEEN_BY_ALL:
        return False
    if not _SEEN_BY_ALL[mount[2]](set(mount[3].split(","))):
        return False
    try:
        lock_file(file, fcntl.LOCK_SH | fcntl.LOCK_NB).release()
    except BlockingIOError:
        return True
    except (OSError, StoreError):
        return False
    return True


class KernelLocks:
    """Locks by flock(2), see ``Locks``."""

    def open(self, path: bytes, operation: int, *, create: bool = False) -> HeldLock:
        """See ``Locks``."""
        return lock_file(path, operation, create=create)

    def confirm(self) -> None:
        """Do nothing: the kernel takes no lock away."""

    def sweep(self) -> None:
        """Do nothing: the kernel frees the locks of killed commands."""

    def leave_to_parent(self) -> None:
        """Do nothing: each lock is an open file."""

    def close(self) -> None:
        """Do nothing."""


def lock_file(path: bytes, operation: int, *, create: bool = False) -> HeldLock:
    """Lock the file ``path`` by flock(2), see ``Locks.open``."""
    # NFS locks a file exclusively only if it is open for writing, shared only if for reading.
    flags = os.O_RDWR if operation & fcntl.LOCK_EX else os.O_RDONLY
    try:
        fd = open_locked(path, flags | (os.O_CREAT if create else 0), operation)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        raise UnfitStorage(
            f"no file locks on {file_system_of(path)}: {printable(path)}: {error.strerror}",
            OTHER_STORAGE_HINT,
        ) from error
    # Children forked since hold the open file too: to close it would not unlock it.
    return HeldLock(fd, partial(fcntl.flock, fd, fcntl.LOCK_UN))


class UseLock:
    """``locks/use``: shared by commands that refer to layers, exclusive to remove layers.

    A layer without a reference may be about to get one.  So a build shares the lock from the first
    layer that it looks at until its image is in place.
    """

    def __init__(self, locks: Locks, path: bytes) -> None:
        self._locks = locks
        self._path = path
        self._held: HeldLock | None = None

    def share(self) -> None:
        """Keep layers from being removed until ``release``; wait for the end of a removal."""
        if self._held is None:
            self._held = self._locks.open(self._path, fcntl.LOCK_SH)

    def leave_to_parent(self) -> None:
        """Share the lock anew in a process that was forked, if its parent shares it."""
        if self._held is not None:
            held, self._held = self._held, None
            held.leave_to_parent()
            self.share()

    def try_exclude(self) -> bool:
        """Take the lock exclusively, until ``release``; return False if other commands use layers.

        In either case this process no longer shares the lock.
        """
        self.release()
        try:
            self._held = self._locks.open(self._path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Give up the lock, shared or exclusive, if this process has it."""
        if self._held is not None:
            held, self._held = self._held, None
            held.release()


class TurnLock:
    """``locks/turn-NAME``: commands that are about to do the same thing do it one by one.

    The file is there while a command holds the lock or waits for it.  A file that a killed command
    leaves does no harm.
    """

    def __init__(self, locks: Locks, directory: bytes, name: str) -> None:
        self._locks = locks
        self._path = os.path.join(directory, _TURN + name.encode())

    @contextmanager
    def held(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the lock until the context ends; call ``waiting`` if another command has it."""
        held = self._take(waiting)
        try:
            yield
        finally:
            with held, suppress(FileNotFoundError):
                os.unlink(self._path)

    def _take(self, waiting: Callable[[], None]) -> HeldLock:
        try:
            return self._locks.open(self._path, fcntl.LOCK_EX | fcntl.LOCK_NB, create=True)
        except BlockingIOError:
            waiting()
        return self._locks.open(self._path, fcntl.LOCK_EX, create=True)


def remove_turns(locks: Locks, directory: bytes) -> None:
    """Remove the files that killed commands left of their turns."""
    for name in os.listdir(directory):
        if not name.startswith(_TURN):
            continue
        path = os.path.join(directory, name)
        with (
            suppress(FileNotFoundError, BlockingIOError),
            locks.open(path, fcntl.LOCK_EX | fcntl.LOCK_NB),
        ):
            os.unlink(path)
