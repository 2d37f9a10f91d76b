"""Calls that only need a look at permissions: access(2), chdir(2), utimes(2) and more, and leases.

The kernel does what the handlers do not refuse.  Root is refused nothing, so the supervisor calls
no handler while all processes are root, unless calls must meet the files that they change.
"""

from __future__ import annotations

from sundog.base.cpython import Struct
from sundog.base.kernel.mounts import AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW
from sundog.runtime.emulation.notify.identity.permissions import (
    MAY_EXEC,
    MAY_READ,
    MAY_WRITE,
    for_access,
)
from sundog.runtime.emulation.notify.state.access import Access
from sundog.runtime.emulation.notify.tracee.call import CONTINUE, U32, Answer
from sundog.runtime.emulation.notify.tracee.paths import CWD, descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler

_UTIME_NOW, _UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
_AT_EACCESS = 0x200
_ACCESS_FLAGS = _AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH


class AccessHandlers:
    """Refuse what another user than root may not do.

    timespecs   two structures: seconds, nanoseconds
    """

    timespecs = Struct("=qqqq")

    def __init__(self, state: State) -> None:
        self._state = state
        self._paths = state.paths
        self._access = Access(state)

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call."""
        return {
            "utime": self.utime,
            "utimes": self.utime,
            "futimesat": self.futimesat,
            "utimensat": self.utimensat,
            "fcntl": self.fcntl,
            "access": self.access,
            "faccessat": self.faccessat,
            "faccessat2": self.faccessat2,
            "chdir": self.chdir,
            "fchdir": self.fchdir,
        }

    def utime(self, thread: int, args: Arguments) -> Answer:
        """int utime(const char *path, const struct utimbuf *times); utimes(2) likewise."""
        if self._is_free(thread):
            return CONTINUE
        location = self._paths.named(thread, CWD, args[0])
        return self._set_times(thread, location, follow=True, is_now=not args[1])

    def futimesat(self, thread: int, args: Arguments) -> Answer:
        """int futimesat(int dirfd, const char *path, const struct timeval times[2])."""
        if self._is_free(thread):
            return CONTINUE
        if args[1]:
            location = self._paths.named(thread, args[0], args[1])
        else:
            location = descriptor(thread, args[0])
        return self._set_times(thread, location, follow=True, is_now=not args[2])

    def utimensat(self, thread: int, args: Arguments) -> Answer:
        """int utimensat(int dirfd, const char *path, const struct timespec times[2], int flags)."""
        if self._is_free(thread):
            return CONTINUE
        if args[1]:
            location, follow = self._paths.at(thread, args[0], args[1], args[3])
        else:
            location, follow = descriptor(thread, args[0]), True
        is_now = not args[2]
        if args[2]:
            times = self._state.memory.read(thread, args[2], self.timespecs.size)
            _, access, _, change = self.timespecs.unpack(times)
            if access == change == _UTIME_OMIT:
                return CONTINUE
            is_now = access == change == _UTIME_NOW
        return self._set_times(thread, location, follow=follow, is_now=is_now)

    def _is_free(self, thread: int) -> bool:
        """Tell whether ``thread`` may set all times, and no file has to be met before."""
        return self._access.user(thread) is None and not self._state.records.has_listed

    def _set_times(self, thread: int, location: bytes, *, follow: bool, is_now: bool) -> Answer:
        """Refuse to set times; who may write to a file may set its times to now (may_setattr)."""
        access = self._access
        who = access.user(thread)
        if who is None:
            access.meet(thread, location, follow=follow)
            return CONTINUE
        place = access.file(thread, location, follow=follow)
        status = self._state.files.found(place, follow=True)
        if not is_now:
            access.be_owner(thread, who, place, status)
        elif not access.is_owner(who, status):
            access.require(thread, who, place, status, MAY_WRITE)
        return CONTINUE

    def fcntl(self, thread: int, args: Arguments) -> Answer:
        """int fcntl(int fd, F_SETLEASE, int type)."""
        who = self._access.user(thread)
        if who is not None and self._state.files.is_open_for_io(thread, args[0]):
            self._access.lease(thread, who, descriptor(thread, args[0]))
        return CONTINUE

    def access(self, thread: int, args: Arguments) -> Answer:
        """int access(const char *path, int mode)."""
        return self._test(thread, (CWD, args[0]), args[1], 0)

    def faccessat(self, thread: int, args: Arguments) -> Answer:
        """int faccessat(int dirfd, const char *path, int mode), without flags in the kernel."""
        return self._test(thread, (args[0], args[1]), args[2], 0)

    def faccessat2(self, thread: int, args: Arguments) -> Answer:
        """int faccessat2(int dirfd, const char *path, int mode, int flags)."""
        return self._test(thread, (args[0], args[1]), args[2], args[3] & U32)

    def _test(self, thread: int, place: tuple[int, int], wanted: int, flags: int) -> Answer:
        """Tell whether the caller may do ``wanted``, by its real IDs (fs/open.c, do_faccessat)."""
        who, wanted = self._access.user(thread), wanted & U32
        if who is None or wanted & ~(MAY_READ | MAY_WRITE | MAY_EXEC) or flags & ~_ACCESS_FLAGS:
            return CONTINUE
        if not flags & _AT_EACCESS:
            who = for_access(who)
        location, follow = self._paths.at(thread, *place, flags)
        self._access.use(thread, who, location, wanted, follow=follow)
        return CONTINUE

    def chdir(self, thread: int, args: Arguments) -> Answer:
        """int chdir(const char *path)."""
        return self._enter(thread, self._paths.named(thread, CWD, args[0]))

    def fchdir(self, thread: int, args: Arguments) -> Answer:
        """int fchdir(int fd)."""
        return self._enter(thread, descriptor(thread, args[0]))

    def _enter(self, thread: int, location: bytes) -> Answer:
        """Refuse a working directory that the caller may not search."""
        who = self._access.user(thread)
        if who is not None:
            # With a slash at its end, only a directory has this location.
            self._access.use(thread, who, location + b"/", MAY_EXEC)
        return CONTINUE
