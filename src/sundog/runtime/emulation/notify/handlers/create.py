"""Calls that make inodes: open(2) with O_CREAT, mkdir(2), symlink(2), mknod(2) and their families.

The kernel gives each new inode to the only user in the namespace.  On a real system the inode would
belong to somebody else if the caller is not root, or if the directory passes on its group or its
default access control list.  In these cases the supervisor makes the inode itself, under the
caller's umask.  It records the owner, and gives the descriptor to the caller.  A device becomes an
empty regular file with a record.
"""

from __future__ import annotations

import errno
import os

from sundog.base.cpython import Struct
from sundog.base.kernel.files import Closing
from sundog.base.kernel.modes import (
    MODE_MASK,
    PERMISSIONS,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
)
from sundog.base.kernel.mounts import AT_SYMLINK_NOFOLLOW, RESOLVE_NO_MAGICLINKS, openat2
from sundog.errors import KernelError
from sundog.runtime.emulation.notify.identity.capabilities import CAP_MKNOD
from sundog.runtime.emulation.notify.identity.permissions import MAY_WRITE
from sundog.runtime.emulation.notify.seccomp.program import MAKES_FILE
from sundog.runtime.emulation.notify.state.access import UNNAMED, Access
from sundog.runtime.emulation.notify.state.chmod import guard_set_id, is_set_id
from sundog.runtime.emulation.notify.state.creation import (
    Birth,
    all_is_roots,
    birth_in,
    is_roots_place,
)
from sundog.runtime.emulation.notify.state.devices import open_device
from sundog.runtime.emulation.notify.state.files import file_system_type
from sundog.runtime.emulation.notify.state.lookup import names_own
from sundog.runtime.emulation.notify.state.proc_contents import open_shown
from sundog.runtime.emulation.notify.state.walk import NO_NAMES, PROC_SUPER_MAGIC
from sundog.runtime.emulation.notify.tracee.call import (
    ANSWERED,
    CONTINUE,
    U32,
    Answer,
    KernelAnswers,
    signed,
)
from sundog.runtime.emulation.notify.tracee.paths import CWD, descriptor, is_place, parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler

_OPEN_HOW = Struct("=QQQ")  # flags, mode, resolve
_OPEN_HOW_LIMIT = 4096  # a page; openat2(2) says E2BIG to more
# Without O_LARGEFILE: os.O_LARGEFILE is 0 where every file may be large.
_OPEN_FLAGS = (
    (os.O_ACCMODE | os.O_CREAT | os.O_EXCL | os.O_NOCTTY | os.O_TRUNC | os.O_APPEND)
    | (os.O_NONBLOCK | os.O_SYNC | os.O_DSYNC | os.O_ASYNC | os.O_DIRECT)
    | (os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NOATIME | os.O_CLOEXEC | os.O_PATH | os.O_TMPFILE)
)
_WRITES = os.O_ACCMODE | os.O_TRUNC


class CreateHandlers:
    """Make inodes of other owners, and devices."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._paths = state.paths
        self._by_inode = state.records.by_inode
        self._access = Access(state)

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call."""
        return {
            "open": self.open,
            "openat": self.openat,
            "creat": self.creat,
            "openat2": self.openat2,
            "truncate": self.truncate,
            "mkdir": self.mkdir,
            "mkdirat": self.mkdirat,
            "symlink": self.symlink,
            "symlinkat": self.symlinkat,
            "mknod": self.mknod,
            "mknodat": self.mknodat,
        }

    def open(self, thread: int, args: Arguments) -> Answer:
        """int open(const char *path, int flags, mode_t mode)."""
        return self._open(thread, CWD, args[0], args[1], args[2])

    def openat(self, thread: int, args: Arguments) -> Answer:
        """int openat(int dirfd, const char *path, int flags, mode_t mode)."""
        return self._open(thread, args[0], args[1], args[2], args[3])

    def creat(self, thread: int, args: Arguments) -> Answer:
        """int creat(const char *path, mode_t mode)."""
        flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
        return self._open(thread, CWD, args[0], flags, args[1])

    def openat2(self, thread: int, args: Arguments) -> Answer:
        """int openat2(int dirfd, const char *path, const struct open_how *how, size_t size)."""
        size = args[3]
        if not _OPEN_HOW.size <= size <= _OPEN_HOW_LIMIT:
            return CONTINUE
        how = self._state.memory.read(thread, args[2], size)
        flags, mode, resolve = _OPEN_HOW.unpack_from(how)
        if any(how[_OPEN_HOW.size :]):
            return CONTINUE
        if flags & ~(_OPEN_FLAGS | self._state.abi.large_file) or mode & ~MODE_MASK:
            return CONTINUE  # unlike open, openat2 refuses unknown flags
        if not resolve:
            return self._open(thread, args[0], args[1], flags, mode)
        if not flags & MAKES_FILE or all_is_roots(self._state, thread):
            return CONTINUE
        path = self._state.memory.read_string(thread, args[1])
        at = b"%d/cwd" % thread if args[0] & U32 == CWD else descriptor(thread, args[0])
        dirfd = os.open(at, os.O_PATH | os.O_CLOEXEC)
        try:
            return self._open_within(thread, dirfd, path, (flags, mode, resolve))
        except KernelError:
            return CONTINUE
        finally:
            os.close(dirfd)

    def truncate(self, thread: int, args: Arguments) -> Answer:
        """int truncate(const char *path, off_t length)."""
        location = self._paths.named(thread, CWD, args[0])
        who = self._access.user(thread)
        if who is not None:
            place = self._access.file(thread, location)
            status = self._state.files.found(place, follow=True)
            if status.mode & S_IFMT == S_IFREG:
                self._access.require(thread, who, place, status, MAY_WRITE)
        self._guard(thread, location, follow=True)
        return CONTINUE

    def mkdir(self, thread: int, args: Arguments) -> Answer:
        """int mkdir(const char *path, mode_t mode)."""
        return self._mkdir(thread, CWD, args[0], args[1])

    def mkdirat(self, thread: int, args: Arguments) -> Answer:
        """int mkdirat(int dirfd, const char *path, mode_t mode)."""
        return self._mkdir(thread, args[0], args[1], args[2])

    def symlink(self, thread: int, args: Arguments) -> Answer:
        """int symlink(const char *target, const char *path)."""
        return self._symlink(thread, args[0], CWD, args[1])

    def symlinkat(self, thread: int, args: Arguments) -> Answer:
        """int symlinkat(const char *target, int dirfd, const char *path)."""
        return self._symlink(thread, args[0], args[1], args[2])

    def mknod(self, thread: int, args: Arguments) -> Answer:
        """int mknod(const char *path, mode_t mode, dev_t device)."""
        return self._mknod(thread, CWD, args[0], args[1], args[2])

    def mknodat(self, thread: int, args: Arguments) -> Answer:
        """int mknodat(int dirfd, const char *path, mode_t mode, dev_t device)."""
        return self._mknod(thread, args[0], args[1], args[2], args[3])

    def _mkdir(self, thread: int, dirfd: int, address: int, mode: int) -> Answer:
        if all_is_roots(self._state, thread):
            return CONTINUE
        location = self._paths.named(thread, dirfd, address)
        if self._seems_plain(thread, location):
            return CONTINUE
        place = self._require(thread, location, is_directory=True)
        birth = birth_in(self._state, thread, parent(place))
        if birth.is_plain():
            return CONTINUE
        return birth.make(place, S_IFDIR | mode & MODE_MASK, os.mkdir)

    def _symlink(self, thread: int, target_address: int, dirfd: int, address: int) -> Answer:
        if all_is_roots(self._state, thread):
            return CONTINUE
        location = self._paths.named(thread, dirfd, address)
        if self._seems_plain(thread, location):
            return CONTINUE
        target = self._state.memory.read_string(thread, target_address)
        if not target:
            return CONTINUE
        place = self._require(thread, location)
        birth = birth_in(self._state, thread, parent(place))
        if birth.is_plain():
            return CONTINUE
        birth.default_acl = None  # a symbolic link has no permissions

        def make(path: bytes, _mode: int) -> None:
            os.symlink(target, path)

        return birth.make(place, PERMISSIONS, make)

    def _mknod(self, thread: int, dirfd: int, address: int, mode: int, device: int) -> Answer:
        device &= U32
        kind = mode & S_IFMT
        # Everybody may make the device 0:0, but on an overlay nobody may.
        is_device = kind == S_IFBLK or (kind == S_IFCHR and device != 0)
        if not is_device and all_is_roots(self._state, thread):
            return CONTINUE
        place = self._require(thread, self._paths.named(thread, dirfd, address))
        birth = birth_in(self._state, thread, parent(place))
        if not is_device:
            if birth.is_plain(mode & MODE_MASK):
                return CONTINUE
            made_mode = kind | birth.allowed_mode(mode & MODE_MASK)
            return birth.make(place, made_mode, os.mknod)
        if not birth.who.can(CAP_MKNOD):
            try:
                self._state.files.status(place, follow=False)
            except FileNotFoundError:
                return -errno.EPERM
            return CONTINUE  # the file exists
        answer = birth.make(place, S_IFREG | mode & MODE_MASK, os.mknod)
        if answer == 0:
            status = self._state.files.status(place, follow=False)
            record = self._state.records.make(status)
            record.device_type = kind
            record.rdev = device
            self._state.records.keep(status, record)
        return answer

    def _open(self, thread: int, dirfd: int, address: int, flags: int, mode: int) -> Answer:
        who = self._access.user(thread)
        if who is None and flags & os.O_PATH:
            return CONTINUE
        location = self._paths.named(thread, dirfd, address)
        place = b""
        if who is not None and (self._state.strict or flags & (_WRITES | MAKES_FILE)):
            place = self._access.open(thread, who, location, flags)
        elif who is not None and flags & os.O_NOATIME:
            self._access.hide_use(thread, who, location, follow=not flags & os.O_NOFOLLOW)
        if flags & os.O_PATH:
            return CONTINUE
        if not flags & (_WRITES | MAKES_FILE):
            return self._open_for_reading(thread, location, signed(flags))
        if who is not None:
            return self._open_as_user(thread, place, flags, mode)
        exists: bool | None = False
        if flags & _WRITES and not flags & (os.O_EXCL | UNNAMED):
            exists = self._guard(thread, location, follow=not flags & os.O_NOFOLLOW)
            if exists:
                return self._open_emulated(thread, location, signed(flags))
        if not flags & MAKES_FILE or all_is_roots(self._state, thread):
            return CONTINUE
        if flags & UNNAMED:
            return self._create(thread, self._state.lookup.file(thread, location), flags, mode)
        # To open a dangling link makes the link's target.
        leads_on = exists is not None and not flags & (os.O_EXCL | os.O_NOFOLLOW)
        if not leads_on and self._seems_plain(thread, location):
            return CONTINUE
        place = self._state.lookup.entry(thread, location, follow=leads_on)
        if is_place(place):
            return CONTINUE  # the file exists
        return self._create(thread, place, flags, mode)

    def _open_as_user(self, thread: int, place: bytes, flags: int, mode: int) -> Answer:
        """Open or make the file at ``place``, as another user than root is allowed to."""
        files = self._state.files
        if flags & UNNAMED:
            return self._create(thread, place, flags, mode)
        if files.find_inode(place, 0 if is_place(place) else AT_SYMLINK_NOFOLLOW) < 0:
            return self._create(thread, place, flags, mode) if flags & MAKES_FILE else CONTINUE
        if not flags & _WRITES or flags & os.O_EXCL:
            return CONTINUE
        if self._needs_guard():
            place = self._state.lookup.pin(place)
            self._guard_place(thread, place)
        return self._open_device(place, signed(flags)) if self._state.records.devices else CONTINUE

    def _seems_plain(self, thread: int, location: bytes) -> bool:
        """Tell at first sight whether the kernel makes ``location`` as it must be."""
        if names_own(location):
            return False
        return is_roots_place(self._state, thread, parent(location))

    def _require(self, thread: int, location: bytes, *, is_directory: bool = False) -> bytes:
        """Return the place of ``location``, where the caller must be allowed to make a file."""
        place = self._access.entry(thread, location)
        who = self._access.user(thread)
        if who is not None and not self._is_unanswered(thread, place):
            self._access.make_at(thread, who, place, is_directory=is_directory)
        if is_place(place):
            raise KernelAnswers
        return place

    def _is_unanswered(self, thread: int, place: bytes) -> bool:
        """Tell whether the caller's call starts again, and has made the file before."""
        unanswered, files = self._state.unanswered, self._state.files
        if not unanswered.waits(thread) or files.find_inode(place, AT_SYMLINK_NOFOLLOW) < 0:
            return False
        return unanswered.has(thread, files.found(place, follow=False))

    def _guard(self, thread: int, location: bytes, *, follow: bool) -> bool | None:
        """Guard the set-ID bits of a file that the caller writes.

        Returns whether the file exists; None if there is not even a dangling link.
        """
        files = self._state.files
        if not names_own(location):
            inode = files.find_inode(location, AT_SYMLINK_NOFOLLOW)
            if inode < 0:
                return None
            if follow and files.found_mode() & S_IFMT == S_IFLNK:
                inode = files.find_inode(location, 0)
                if inode < 0:
                    return False
            if not self._needs_guard():
                return True
        try:
            place = self._state.lookup.file(thread, location, follow=follow)
        except FileNotFoundError:
            return False
        self._guard_place(thread, place)
        return True

    def _needs_guard(self) -> bool:
        """Tell whether the file that ``Files`` has just found has set-ID bits or a record."""
        files = self._state.files
        return is_set_id(files.found_mode()) or files.found_inode[0] in self._by_inode

    def _guard_place(self, thread: int, place: bytes) -> None:
        state = self._state
        guard_set_id(state, place, state.files.status(place), state.tags.credentials(thread))

    def _open_for_reading(self, thread: int, location: bytes, flags: int) -> Answer:
        """Give the caller what the file ``location`` shows, if that is not in the file itself."""
        shown = open_shown(self._state, thread, location, flags)
        if shown < 0:
            return self._open_emulated(thread, location, flags)
        with Closing(shown):
            return self._state.listener.reply_with_descriptor(shown, flags & os.O_CLOEXEC)

    def _open_emulated(self, thread: int, location: bytes, flags: int) -> Answer:
        """Do what ``_open_device`` does for the file ``location``."""
        if not self._state.records.devices:
            return CONTINUE
        follow = not flags & os.O_NOFOLLOW
        return self._open_device(self._state.lookup.file(thread, location, follow=follow), flags)

    def _open_device(self, place: bytes, flags: int) -> Answer:
        """Give the caller the host's device if the file at ``place`` stands for one."""
        state = self._state
        record = state.records.find(state.files.status(place, follow=is_place(place)))
        fd = -1 if record is None else open_device(record, self._paths.own_root(), flags)
        if fd < 0:
            return CONTINUE
        with Closing(fd):
            return state.listener.reply_with_descriptor(fd, flags & os.O_CLOEXEC)

    def _create(self, thread: int, place: bytes, flags: int, mode: int) -> Answer:
        """Make and open a file at ``place``; return CONTINUE if it exists or can't be made.

        For a file without a name, ``place`` is its directory.
        """
        directory = place if flags & UNNAMED else parent(place)
        if is_roots_place(self._state, thread, directory):
            return CONTINUE
        who = self._access.user(thread)
        if who is not None and not flags & UNNAMED and not self._access.is_taken(place):
            self._access.make_at(thread, who, place)
        birth = birth_in(self._state, thread, directory)
        if birth.is_plain(mode):
            return CONTINUE
        return self._hand_over(birth, place, signed(flags), mode)

    def _open_within(
        self, thread: int, dirfd: int, path: bytes, how: tuple[int, int, int]
    ) -> Answer:
        """Make and open ``path`` below ``dirfd`` as openat2(2) does.

        ``how`` is its struct open_how: flags, mode, resolve.

        Raises KernelError if the kernel would refuse the caller's own call.
        """
        flags, mode, resolve = how
        directory, slash, name = (path, b"", b"") if flags & UNNAMED else path.rpartition(b"/")
        resolve |= RESOLVE_NO_MAGICLINKS
        directory = directory or slash or b"."
        with Closing(openat2(dirfd, directory, os.O_PATH | os.O_DIRECTORY, resolve)) as fd:
            # In a /proc, the way may have been the supervisor's: see ``lookup``.
            if file_system_type(fd) == PROC_SUPER_MAGIC:
                return CONTINUE
            place = b"self/fd/%d" % fd
            birth = birth_in(self._state, thread, place)
            if birth.is_plain(mode) or (name in NO_NAMES and not flags & UNNAMED):
                return CONTINUE
            place = place if flags & UNNAMED else b"%b/%b" % (place, name)
            return self._hand_over(birth, place, flags, mode)

    def _hand_over(self, birth: Birth, place: bytes, flags: int, mode: int) -> Answer:
        """Make a file at ``place``, record it, and give its descriptor to the caller."""
        state = self._state
        # Only a new file gets the caller as its owner.  O_EXCL would forbid a later linkat(2) of an
        # unnamed file.
        exclusive = 0 if flags & UNNAMED else os.O_EXCL
        mode = S_IFREG | birth.allowed_mode(mode & MODE_MASK)
        state.listener.confirm()
        umask, made_mode = birth.permissions(mode)
        with umask:
            try:
                fd = os.open(place, flags | exclusive | os.O_NOCTTY, made_mode & MODE_MASK)
            except OSError:
                return CONTINUE
        with Closing(fd):
            birth.record(state.files.descriptor_status(fd), mode)
            answer = state.listener.reply_with_descriptor(fd, flags & os.O_CLOEXEC)
        if answer not in (CONTINUE, ANSWERED) and exclusive:
            # The caller has no free descriptor.  The kernel would have seen that before it made the
            # file.
            os.unlink(place)
        return answer
