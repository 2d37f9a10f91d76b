"""``ch-image move``: another place for a storage directory that nobody uses.

In one file system, rename(2) does it.  Otherwise the directory is copied to a draft beside the new
place, and the draft gets its name when it is on the device.  Only then does the old directory lose
its name, and is deleted.  So a kill at any moment leaves the whole storage in one of both places.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from sundog.base.kernel.files import sync_file_system, sync_name
from sundog.base.kernel.libc import printable
from sundog.base.record.location import is_others_link
from sundog.base.record.own_storage import check_owner, read_version
from sundog.base.record.running import RUNNING_DIRECTORY
from sundog.errors import StoreError
from sundog.image.layer.remove import remove_tree
from sundog.image.layer.replica import copy_exactly
from sundog.image.store.directory import USE_LOCK
from sundog.image.store.faults import StorageFaults
from sundog.image.store.locks import CLAIMS, UseLock, locks_of
from sundog.image.store.mounted import nodes_at_work
from sundog.image.store.occupants import occupants
from sundog.image.store.worker import TreeWorker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_DRAFT, _OLD = b"moving", b"moved"  # in the names of a draft, and of an old directory
_EMPTIED = (b"tmp/trash", b"running", CLAIMS)
_SHOWN_LIMIT = 10  # processes in an error


def move(storage: bytes, target: bytes, say: Callable[[str], None]) -> None:
    """Move the directory ``storage`` to the absolute path ``target``.

    Where ``storage`` is a symbolic link, what it leads to is moved, and the link leads there.
    ``say`` gets a line before a copy.  Raises StoreError while others use the storage, or if there
    is something at ``target``.
    """
    check_owner(storage)
    if read_version(storage) is None:
        raise StoreError(f"not a Sundog storage directory: {printable(storage)}")
    place = os.path.realpath(storage)
    _check_target(place, target)
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
        os.rename(place, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    for name in (target, place):
        sync_name(name)
    return True


def _copied(place: bytes, target: bytes) -> None:
    """Copy the directory to another file system, and delete the old one."""
    draft = _beside(target, _DRAFT)
    worker = TreeWorker()
    try:
        os.mkdir(draft, 0o700)
        os.chown(draft, -1, os.getegid())  # not that of a directory with the set-group-ID bit
        os.chmod(draft, 0o700)
        worker.call(copy_exactly, place, draft, _EMPTIED)
        sync_file_system(draft)
        worker.close()
        os.rename(draft, target)  # from here on, there are two whole ones
        sync_name(target)
        old = _beside(place, _OLD)
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
        remove_tree(draft)
        raise
    remove_tree(old)


def _remove_drafts(target: bytes) -> None:
    """Remove what killed moves to ``target`` have left beside it."""
    parent, name = os.path.split(target)
    for each in os.listdir(parent):
        path = os.path.join(parent, each)
        is_draft = each.startswith(b"%b.%b-" % (name, _DRAFT))
        if is_draft and os.lstat(path).st_uid == os.geteuid():
            remove_tree(path)


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
