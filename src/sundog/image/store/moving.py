"""``ch-image move``: another place for a storage directory that nobody uses.

In one file system, rename(2) does it.  Otherwise the directory is copied to a draft beside the new
place, and the draft gets its name when it is on the device.  Only then does the old directory lose
its name, and is deleted.  So a kill at any moment leaves the whole storage in one of both places.

A copy has a note, ``moved-from-RANDOM``, with the name that the old directory gets.  The command
holds a lock on it to the end.  So others know whether a draft, or an old directory, is a killed
command's; ``remove_moved`` and the next ``move`` remove it then.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from contextlib import suppress

from sundog.base.kernel.drafts import write_new_file
from sundog.base.kernel.files import sync_file_system, sync_name
from sundog.base.kernel.libc import printable
from sundog.base.record.location import is_others_link
from sundog.base.record.own_storage import check_owner, read_version
from sundog.base.record.running import RUNNING_DIRECTORY
from sundog.errors import StoreError, UnfitStorage
from sundog.image.layer.remove import remove_tree
from sundog.image.layer.replica import copy_exactly
from sundog.image.store.directory import USE_LOCK
from sundog.image.store.faults import StorageFaults
from sundog.image.store.locks import CLAIMS, UseLock, lock_file, locks_of
from sundog.image.store.mounted import nodes_at_work
from sundog.image.store.occupants import occupants
from sundog.image.store.worker import TreeWorker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.image.store.held_lock import HeldLock

_DRAFT, _OLD = b"moving", b"moved"  # in the names of a draft, and of an old directory
_NOTE = re.compile(rb"moved-from-([0-9a-f]{8})")
_PATH_LIMIT = 4096  # bytes: PATH_MAX
_EMPTIED = (b"tmp/trash", b"running", CLAIMS)
_OCCUPIED = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)
_SHOWN_LIMIT = 10  # processes in an error


def move(storage: bytes, target: bytes, say: Callable[[str], None]) -> None:
    """Move the directory ``storage`` to the absolute path ``target``.

    Where ``storage`` is a symbolic link, what it leads to is moved, and the link leads there.
    ``say`` gets a line before a copy, and of what killed commands had left.  Raises StoreError
    while others use the storage, or if there is something at ``target``.
    """
    check_owner(storage)
    if read_version(storage) is None:
        raise StoreError(f"not a Sundog storage directory: {printable(storage)}")
    place = os.path.realpath(storage)
    _check_target(place, target)
    remove_moved(place, say)
    with StorageFaults(place):
        locks = locks_of(place)
        lock = UseLock(locks, os.path.join(place, USE_LOCK))
        try:
            is_free = lock.try_exclude()
            _check_unused(place, is_free=is_free)
            _remove_drafts(target)
            if not _renamed(place, target):
                say(f"copying to another file system: {printable(target)}")
                _copied(place, target)
        finally:
            lock.release()
            locks.close()
    _lead_link(storage, target)


def _check_target(place: bytes, target: bytes) -> None:
    shown = printable(target)
    parent = os.path.dirname(target)
    if not os.path.isdir(parent):
        raise StoreError(f"no such directory: {printable(parent)}", "make it first")
    if (os.path.realpath(target) + b"/").startswith(place + b"/"):
        raise StoreError(f"{shown} is in the storage directory itself", "choose another place")
    if os.path.lexists(target):
        hint = "choose a path where nothing is"
        if read_version(target) is not None:
            hint = "of an earlier move, perhaps: delete the storage directory that you do not use"
        raise StoreError(f"there is something at {shown}", hint)
    if is_others_link(parent):
        raise StoreError(f"another user's link: {printable(parent)}", "give the real path")


def _check_unused(place: bytes, *, is_free: bool = True) -> None:
    """Raise StoreError while others use the storage, and name them."""
    nodes = nodes_at_work(place)
    users = [*occupants(place), *(f"node {node}" for node in nodes)]
    if not users and is_free:
        return
    more = f" and {len(users) - _SHOWN_LIMIT} more" if len(users) > _SHOWN_LIMIT else ""
    named = ", ".join(users[:_SHOWN_LIMIT]) or "another command"
    notes = printable(os.path.join(place, os.fsencode(RUNNING_DIRECTORY)))
    raise StoreError(
        f"storage directory {printable(place)} is in use: {named}{more}",
        "wait until they end"
        + (f"; if no container runs on such a node: rm -r {notes}" if nodes else ""),
    )


def _renamed(place: bytes, target: bytes) -> bool:
    """Rename the directory; return False if ``target`` is on another file system."""
    try:
        _take_name(place, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    for name in (target, place):
        sync_name(name)
    return True


def _take_name(directory: bytes, target: bytes) -> None:
    """Rename a directory to ``target``, where nothing is.  Raises OSError and StoreError."""
    try:
        os.rename(directory, target)
    except OSError as error:
        if error.errno in _OCCUPIED:  # by another move, for example
            _check_target(directory, target)
        raise


def _copied(place: bytes, target: bytes) -> None:
    """Copy the directory to another file system, and delete the old one."""
    draft, old = _beside(target, _DRAFT), _beside(place, _OLD)
    worker = TreeWorker()
    note: HeldLock | None = None
    try:
        os.mkdir(draft, 0o700)
        note = _noted(draft, old)
        os.chown(draft, -1, os.getegid())  # not that of a directory with the set-group-ID bit
        os.chmod(draft, 0o700)
        worker.call(copy_exactly, place, draft, _EMPTIED)
        sync_file_system(draft)
        worker.close()
        _take_name(draft, target)  # from here on, there are two whole ones
        sync_name(target)
        try:
            os.rename(place, old)
        except OSError:  # a mount point
            os.rename(target, draft)
            raise
        try:
            _check_unused(old)  # a container may have begun during the copy
        except BaseException:
            os.rename(old, place)
            os.rename(target, draft)
            raise
        sync_name(place)
    except BaseException:
        worker.close()
        _remove_draft(draft)
        if note is not None:
            note.release()
        raise
    remove_tree(old)
    with suppress(FileNotFoundError):  # the storage directory has been moved again
        os.unlink(_note_path(target, old))
    if note is not None:
        note.release()


def _note_path(directory: bytes, old: bytes) -> bytes:
    return os.path.join(directory, b"moved-from-" + old.rpartition(b"-")[2])


def _noted(draft: bytes, old: bytes) -> HeldLock | None:
    """Note in ``draft`` which name the old directory gets; return a lock on the note.

    None: this file system has no locks, so nobody else removes anything.
    """
    path = _note_path(draft, old)
    write_new_file(path, old)
    with suppress(UnfitStorage):
        return lock_file(path, fcntl.LOCK_EX)
    return None


def _lock_of_dead(note: bytes) -> HeldLock | None:
    """Lock a note; None if the command that made it lives, or if nobody can tell."""
    with suppress(OSError, StoreError):
        return lock_file(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return None


def _remove_drafts(target: bytes) -> None:
    """Remove what killed moves to ``target`` have left beside it."""
    parent, name = os.path.split(target)
    for each in os.listdir(parent):
        path = os.path.join(parent, each)
        is_draft = each.startswith(b"%b.%b-" % (name, _DRAFT))
        if not is_draft or os.path.islink(path) or os.lstat(path).st_uid != os.geteuid():
            continue
        with suppress(OSError):
            os.rmdir(path)  # killed before it made its note
        for note in _notes(path):
            lock = _lock_of_dead(note)
            if lock is not None:
                with lock:
                    _remove_draft(path)


def _remove_draft(draft: bytes) -> None:
    """Remove a draft, its note last: without it, nobody would know what a kill has left."""
    notes = _notes(draft)
    with suppress(FileNotFoundError, NotADirectoryError):
        for name in os.listdir(draft):
            if (path := os.path.join(draft, name)) not in notes:
                remove_tree(path)
    remove_tree(draft)


def _notes(directory: bytes) -> list[bytes]:
    """Return the paths of the notes in a directory; [] if it is gone."""
    with suppress(FileNotFoundError, NotADirectoryError):
        found = os.listdir(directory)
        return [os.path.join(directory, name) for name in found if _NOTE.fullmatch(name)]
    return []


def remove_moved(storage: bytes, say: Callable[[str], None]) -> None:
    """Remove the directories from which killed moves have copied ``storage``.

    ``say`` gets a line for each: of one that is in use, that it stays.
    """
    for note in _notes(storage):
        lock = _lock_of_dead(note)
        if lock is None:
            continue
        with lock:
            old = os.read(lock.fd, _PATH_LIMIT)
            if _is_old(old, note) and os.path.isdir(old):
                try:
                    _check_unused(old)
                except StoreError as error:
                    say(f"an earlier move has left this: {error.message}")
                    continue
                remove_tree(old)
                say(f"removed what an earlier move has left: {printable(old)}")
            os.unlink(note)


def _is_old(path: bytes, note: bytes) -> bool:
    """Tell whether a note may have this path in it: that of a directory of this user."""
    end = b".%b-%b" % (_OLD, note.rpartition(b"-")[2])
    if not path.startswith(b"/") or not path.endswith(end) or b"\0" in path:
        return False
    is_real = os.path.realpath(path) == path
    return is_real and os.path.lexists(path) and os.lstat(path).st_uid == os.geteuid()


def _beside(path: bytes, word: bytes) -> bytes:
    """Return a new name beside ``path``."""
    return b"%b.%b-%b" % (path, word, os.urandom(4).hex().encode())


def _lead_link(storage: bytes, target: bytes) -> None:
    """Let a link that led to the old place lead to ``target``, if this user may change it."""
    if os.path.islink(storage) and not os.path.exists(storage):
        draft = _beside(storage, _DRAFT)
        with suppress(OSError):
            os.symlink(target, draft)
            os.rename(draft, storage)
