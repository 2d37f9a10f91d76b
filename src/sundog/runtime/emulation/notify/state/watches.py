"""Hear from the kernel which recorded inodes are gone: inotify(7).

The kernel drops the watch of an inode when the inode has neither a name nor a user: no open
descriptor, none in flight in a socket, no mapping, no mount, in any namespace.  The kernel says so
with IN_IGNORED.  A watch asks for no other event, makes no file system busy, and keeps no blocks of
a removed file occupied.  But it keeps the inode in memory, and counts against the user's limit.  So
only the youngest records have watches; an old inode loses its watch, and its record stays.
"""

from __future__ import annotations

import errno
import os
from itertools import islice

from sundog.base.cpython import Struct, get_errno
from sundog.runtime.emulation.notify.tracee.memory import quick_function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.files import Status
    from sundog.runtime.emulation.notify.state.record import Record

    # Inode number and record.
    Watched = tuple[int, Record]

IN_UNMOUNT, _IN_Q_OVERFLOW = 0x2000, 0x4000
_INOTIFY_EVENT = Struct("=iIII")  # watch, mask, cookie, length of the name: none here
_EVENTS_READ = 1 << 16  # bytes

WATCHES_LIMIT = 1 << 15  # an inode takes the kernel 1 to 2 kB
_USERS_SHARE = 4  # watches are a fourth of what the user may have
_USUAL_LIMIT = 8192  # the kernel's lowest default
_USERS_LIMIT = b"sys/fs/inotify/max_user_watches"  # in /proc, which is the working directory


class Watches:
    """Watches of records' inodes, by number of the watch; oldest first."""

    def __init__(self) -> None:
        self._watched: dict[int, Watched] = {}
        self._fd = -1
        self._limit = -1  # not known yet
        self._add = quick_function("inotify_add_watch")
        self._remove = quick_function("inotify_rm_watch")

    def __len__(self) -> int:
        return len(self._watched)

    def add(self, status: Status, record: Record) -> list[Watched]:
        """Watch the inode that ``status`` describes, if possible.

        Returns records whose inodes are gone; the caller forgets them.
        """
        if self._limit < 0:
            self._open()
        gone: list[Watched] = []
        if len(self._watched) >= self._limit:
            gone = self.gone()
            self._let_go()
        if not self._limit:
            return gone
        watch = status.watch(self._add, self._fd, IN_UNMOUNT)
        if watch >= 0 and status.is_still_there():
            self._watched[watch] = status.inode, record
        elif watch >= 0:
            # A race has put another file in the place.
            self._watched.pop(watch, None)
            self._remove(self._fd, watch)
        elif get_errno() == errno.ENOSPC:
            self._limit = len(self._watched)
        return gone

    def gone(self) -> list[Watched]:
        """Return the records whose inodes have gone since the last call."""
        gone: list[Watched] = []
        overflowed = False
        try:
            while True:
                for watch, mask, _, _ in _INOTIFY_EVENT.iter_unpack(
                    os.read(self._fd, _EVENTS_READ)
                ):
                    overflowed = overflowed or bool(mask & _IN_Q_OVERFLOW)
                    watched = self._watched.pop(watch, None)
                    # After an unmount the file system may be mounted again: its files are not gone.
                    if watched is not None and not mask & IN_UNMOUNT:
                        gone.append(watched)
        except OSError:
            pass  # there are no more events
        if overflowed:
            gone += self._start_anew()
        return gone

    def _open(self) -> None:
        try:
            with open(_USERS_LIMIT, "rb") as file:
                allowed = int(file.read())
        except (OSError, ValueError):
            allowed = _USUAL_LIMIT
        self._limit = min(WATCHES_LIMIT, allowed // _USERS_SHARE)
        self._fd = quick_function("inotify_init1")(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            self._limit = 0

    def _let_go(self) -> None:
        """End the watches of the oldest inodes."""
        for watch in list(islice(self._watched, len(self._watched) // 8 + 1)):
            del self._watched[watch]
            self._remove(self._fd, watch)

    def _start_anew(self) -> list[Watched]:
        """End all watches, because events were lost; return the records whose inodes are gone."""
        watched = self._watched
        gone = [known for watch, known in watched.items() if self._remove(self._fd, watch) < 0]
        watched.clear()
        os.close(self._fd)
        self._open()
        return gone
