"""What makes an inode: open(2) with O_CREAT, mkdir(2), symlink(2), mknod(2) and their families.

The kernel gives a new inode to the one user there is.  Where real root's kernel would have given it
to somebody else (the caller is not root, or the directory passes on its group or its default access
control list), the supervisor makes the inode itself, under the caller's umask, records its owner,
and hands over the descriptor.  A device becomes an empty regular file with a record.
"""

import errno
import os
from struct import Struct

from sundog.emulation.notify.acl import (
    ACL_ACCESS,
    ACL_DEFAULT,
    inherited,
    is_extended,
    mode_of,
    pack_acl,
    stored_acl,
)
from sundog.emulation.notify.capabilities import CAP_FSETID, CAP_MKNOD
from sundog.emulation.notify.credentials import Credentials
from sundog.emulation.notify.descriptors import status_field
from sundog.emulation.notify.files import Status
from sundog.emulation.notify.listener import ANSWERED, CONTINUE, Answer, KernelAnswers
from sundog.emulation.notify.paths import CWD, descriptor, own_entry, parent
from sundog.emulation.notify.program import MAKES_FILE
from sundog.emulation.notify.records import (
    DIRECTORY,
    GROUP_EXECUTE,
    MODE_MASK,
    REGULAR,
    SET_GROUP_ID,
    TYPE_MASK,
)
from sundog.emulation.notify.state import U32, State, signed
from sundog.errors import KernelError
from sundog.kernel.mounts import openat2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.emulation.notify.state import Arguments, Handler

CHARACTER_DEVICE, BLOCK_DEVICE = 0o020000, 0o060000
PERMISSIONS = 0o777

OPEN_HOW = Struct("=QQQ")  # flags, mode, resolve
MAX_OPEN_HOW = 4096  # a page: openat2(2) says E2BIG
MAX_SYMLINKS = 40
O_LARGEFILE = 0o100000  # os.O_LARGEFILE is 0 where every file may be large
OPEN_FLAGS = (
    (os.O_ACCMODE | os.O_CREAT | os.O_EXCL | os.O_NOCTTY | os.O_TRUNC | os.O_APPEND)
    | (os.O_NONBLOCK | os.O_SYNC | os.O_DSYNC | os.O_ASYNC | os.O_DIRECT | O_LARGEFILE)
    | (os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NOATIME | os.O_CLOEXEC | os.O_PATH | os.O_TMPFILE)
)
UNNAMED = os.O_TMPFILE & ~os.O_DIRECTORY


class Birth:
    """What a new inode gets from its maker, and from the directory it is made in."""

    __slots__ = ("default_acl", "gid", "sets_group", "uid", "who")

    def __init__(
        self, who: Credentials, gid: int, *, sets_group: bool, default_acl: bytes | None
    ) -> None:
        self.who = who
        self.uid = who.fsuid
        self.gid = gid
        self.sets_group = sets_group
        self.default_acl = default_acl

    def is_plain(self, mode: int = 0) -> bool:
        """Tell whether the kernel by itself would make the same, of a file with ``mode``."""
        return (
            self.uid == 0
            and self.gid == 0
            and self.default_acl is None
            and self.allowed_mode(mode) == mode
        )

    def allowed_mode(self, mode: int) -> int:
        """Return ``mode`` as the kernel would allow it to a file (fs/inode.c, mode_strip_sgid)."""
        if (
            self.sets_group
            and mode & SET_GROUP_ID
            and mode & GROUP_EXECUTE
            and not self.who.is_member(self.gid)
            and not self.who.can(CAP_FSETID)
        ):
            return mode & ~SET_GROUP_ID
        return mode


class CreateHandlers:
    """Make inodes of other owners, and devices."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._paths = state.paths

    def calls(self) -> "dict[str, Handler]":
        """Return the handlers by name of call."""
        return {
            "open": self.open,
            "openat": self.openat,
            "creat": self.creat,
            "openat2": self.openat2,
            "mkdir": self.mkdir,
            "mkdirat": self.mkdirat,
            "symlink": self.symlink,
            "symlinkat": self.symlinkat,
            "mknod": self.mknod,
            "mknodat": self.mknodat,
        }

    def open(self, thread: int, args: "Arguments") -> Answer:
        """int open(const char *path, int flags, mode_t mode)."""
        return self._open(thread, CWD, args[0], args[1], args[2])

    def openat(self, thread: int, args: "Arguments") -> Answer:
        """int openat(int dirfd, const char *path, int flags, mode_t mode)."""
        return self._open(thread, args[0], args[1], args[2], args[3])

    def creat(self, thread: int, args: "Arguments") -> Answer:
        """int creat(const char *path, mode_t mode)."""
        flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
        return self._open(thread, CWD, args[0], flags, args[1])

    def openat2(self, thread: int, args: "Arguments") -> Answer:
        """int openat2(int dirfd, const char *path, const struct open_how *how, size_t size)."""
        size = args[3]
        if self._is_plain(thread) or not OPEN_HOW.size <= size <= MAX_OPEN_HOW:
            return CONTINUE
        how = self._state.memory.read(thread, args[2], size)
        flags, mode, resolve = OPEN_HOW.unpack_from(how)
        if not flags & MAKES_FILE or any(how[OPEN_HOW.size :]):
            return CONTINUE
        if flags & ~OPEN_FLAGS or mode & ~MODE_MASK:
            return CONTINUE  # unlike open, openat2 refuses what it does not know
        if not resolve:
            return self._open(thread, args[0], args[1], flags, mode)
        path = self._state.memory.read_string(thread, args[1])
        at = b"%d/cwd" % thread if args[0] & U32 == CWD else descriptor(thread, args[0])
        dirfd = os.open(at, os.O_PATH | os.O_CLOEXEC)
        try:
            return self._open_within(thread, dirfd, path, (flags, mode, resolve))
        except KernelError:
            return CONTINUE
        finally:
            os.close(dirfd)

    def mkdir(self, thread: int, args: "Arguments") -> Answer:
        """int mkdir(const char *path, mode_t mode)."""
        return self._mkdir(thread, CWD, args[0], args[1])

    def mkdirat(self, thread: int, args: "Arguments") -> Answer:
        """int mkdirat(int dirfd, const char *path, mode_t mode)."""
        return self._mkdir(thread, args[0], args[1], args[2])

    def symlink(self, thread: int, args: "Arguments") -> Answer:
        """int symlink(const char *target, const char *path)."""
        return self._symlink(thread, args[0], CWD, args[1])

    def symlinkat(self, thread: int, args: "Arguments") -> Answer:
        """int symlinkat(const char *target, int dirfd, const char *path)."""
        return self._symlink(thread, args[0], args[1], args[2])

    def mknod(self, thread: int, args: "Arguments") -> Answer:
        """int mknod(const char *path, mode_t mode, dev_t device)."""
        return self._mknod(thread, CWD, args[0], args[1], args[2])

    def mknodat(self, thread: int, args: "Arguments") -> Answer:
        """int mknodat(int dirfd, const char *path, mode_t mode, dev_t device)."""
        return self._mknod(thread, args[0], args[1], args[2], args[3])

    def _is_plain(self, thread: int) -> bool:
        """Tell whether nothing that ``thread`` makes now is anybody's but root's."""
        return not self._state.records.bequests and self._state.tags.index(thread) == 0

    def _birth(self, thread: int, directory: bytes) -> Birth:
        """Return what ``thread`` gives to an inode that it makes in ``directory``."""
        state = self._state
        state.records.nursery.release()
        who = state.tags.credentials(thread)
        status = state.files.status(directory)
        record = state.records.find(status)
        sets_group = bool(status.mode & SET_GROUP_ID)
        gid, default_acl = who.fsgid, None
        if sets_group:
            gid = status.gid if record is None else record.gid
        if record is not None and record.xattrs:
            default_acl = record.xattrs.get(ACL_DEFAULT)
        return Birth(who, gid, sets_group=sets_group, default_acl=default_acl)

    def _mkdir(self, thread: int, dirfd: int, address: int, mode: int) -> Answer:
        if self._is_plain(thread):
            return CONTINUE
        location = self._paths.named(thread, dirfd, address)
        birth = self._birth(thread, parent(location))
        if birth.is_plain():
            return CONTINUE
        return self._make(thread, location, birth, DIRECTORY | mode & MODE_MASK, os.mkdir)

    def _symlink(self, thread: int, target_address: int, dirfd: int, address: int) -> Answer:
        if self._is_plain(thread):
            return CONTINUE
        target = self._state.memory.read_string(thread, target_address)
        location = self._paths.named(thread, dirfd, address)
        birth = self._birth(thread, parent(location))
        if birth.is_plain() or not target:
            return CONTINUE
        birth.default_acl = None  # a symbolic link has no permissions

        def make(path: bytes, _mode: int) -> None:
            os.symlink(target, path)

        return self._make(thread, location, birth, PERMISSIONS, make)

    def _mknod(self, thread: int, dirfd: int, address: int, mode: int, device: int) -> Answer:
        device &= U32
        kind = mode & TYPE_MASK
        # Anybody may make the device 0:0, except on an overlay, where nobody may.
        is_device = kind == BLOCK_DEVICE or (kind == CHARACTER_DEVICE and device != 0)
        if not is_device and self._is_plain(thread):
            return CONTINUE
        location = self._paths.named(thread, dirfd, address)
        birth = self._birth(thread, parent(location))
        if not is_device:
            if birth.is_plain(mode & MODE_MASK):
                return CONTINUE
            made_mode = kind | birth.allowed_mode(mode & MODE_MASK)
            return self._make(thread, location, birth, made_mode, os.mknod)
        if not birth.who.can(CAP_MKNOD):
            try:
                self._state.files.status(location, follow=False)
            except FileNotFoundError:
                return -errno.EPERM
            return CONTINUE  # it exists
        answer = self._make(thread, location, birth, REGULAR | mode & MODE_MASK, os.mknod)
        if answer == 0:
            status = self._state.files.status(location, follow=False)
            record = self._state.records.make(status)
            record.device_type = kind
            record.rdev = device
            self._state.records.keep(status, record)
        return answer

    def _make(
        self,
        thread: int,
        location: bytes,
        birth: Birth,
        mode: int,
        make: "Callable[[bytes, int], None]",
    ) -> Answer:
        """Let ``make`` make an inode at ``location``, and record what its birth gives it."""
        self._state.listener.confirm()
        with self._permissions(thread, birth, mode) as made_mode:
            try:
                make(location, made_mode)
            except OSError:
                return CONTINUE  # the kernel will say the same
        self._record(self._state.files.status(location, follow=False), birth, mode)
        return 0

    def _open(self, thread: int, dirfd: int, address: int, flags: int, mode: int) -> Answer:
        if self._is_plain(thread) or flags & os.O_PATH:
            return CONTINUE
        flags = signed(flags)
        location = self._paths.named(thread, dirfd, address)
        if flags & UNNAMED:
            return self._create(thread, location, location, flags, mode)
        for _ in range(MAX_SYMLINKS):
            answer = self._create(thread, location, parent(location), flags, mode)
            if answer is not CONTINUE or flags & (os.O_EXCL | os.O_NOFOLLOW):
                return answer
            # A link that leads nowhere makes its target.
            target = self._dangling_target(location)
            if not target:
                return CONTINUE
            if target.startswith(b"/"):
                location = own_entry(thread, target)
            else:
                location = b"%s/%s" % (parent(location), target)
        return CONTINUE

    def _create(
        self, thread: int, location: bytes, directory: bytes, flags: int, mode: int
    ) -> Answer:
        """Make and open the file ``location``; CONTINUE if it exists or can't be made."""
        birth = self._birth(thread, directory)
        if birth.is_plain(mode):
            return CONTINUE
        # Only what did not exist is the caller's; but O_EXCL makes an unnamed file unlinkable.
        exclusive = 0 if flags & UNNAMED else os.O_EXCL

        def opened(made_mode: int) -> int:
            return os.open(location, flags | exclusive | os.O_NOCTTY, made_mode)

        answer = self._hand_over(thread, birth, flags, mode, opened)
        if answer not in (CONTINUE, ANSWERED) and not flags & UNNAMED:
            # No descriptor was free, which the kernel finds out before it makes a file.
            os.unlink(location)
        return answer

    def _dangling_target(self, location: bytes) -> bytes:
        """Return where the symbolic link ``location`` leads, if nothing is there; else nothing."""
        files = self._state.files
        if not files.is_symlink(location) or files.find_inode(location, 0) >= 0:
            return b""
        return os.readlink(location)

    def _open_within(
        self, thread: int, dirfd: int, path: bytes, how: tuple[int, int, int]
    ) -> Answer:
        """Make and open ``path`` below ``dirfd`` as openat2(2) says: flags, mode, resolve.

        Raises KernelError where the kernel would refuse the caller's own call.
        """
        flags, mode, resolve = how
        directory = path if flags & UNNAMED else parent(path) or b"."
        fd = openat2(dirfd, directory, os.O_PATH | os.O_DIRECTORY, resolve)
        try:
            birth = self._birth(thread, b"self/fd/%d" % fd)
        finally:
            os.close(fd)
        if birth.is_plain(mode):
            return CONTINUE
        exclusive = 0 if flags & UNNAMED else os.O_EXCL

        def opened(made_mode: int) -> int:
            return openat2(dirfd, path, flags | exclusive | os.O_NOCTTY, resolve, made_mode)

        return self._hand_over(thread, birth, flags, mode, opened)

    def _hand_over(
        self, thread: int, birth: Birth, flags: int, mode: int, opened: "Callable[[int], int]"
    ) -> Answer:
        """Let ``opened`` make a file, record it, and give its descriptor to ``thread``."""
        state = self._state
        mode = REGULAR | birth.allowed_mode(mode & MODE_MASK)
        state.listener.confirm()
        with self._permissions(thread, birth, mode) as made_mode:
            try:
                fd = opened(made_mode & MODE_MASK)
            except OSError:
                return CONTINUE
        try:
            self._record(state.files.descriptor_status(fd), birth, mode)
            return state.listener.reply_with_descriptor(fd, flags & os.O_CLOEXEC)
        finally:
            os.close(fd)

    def _permissions(self, thread: int, birth: Birth, mode: int) -> "_Permissions":
        """Return a context for making an inode: its value is the mode to ask for."""
        if birth.default_acl is not None:
            acl = stored_acl(birth.default_acl)
            return _Permissions(0, mode & ~PERMISSIONS | mode_of(inherited(acl, mode)))
        umask = status_field(thread, b"Umask")
        if not umask:
            raise KernelAnswers  # the caller has just died
        return _Permissions(int(umask, 8), mode)

    def _record(self, status: Status, birth: Birth, mode: int) -> None:
        """Record owner, group and inherited access control lists of a new inode."""
        record = self._state.records.make(status)
        record.uid, record.gid = birth.uid, birth.gid
        if birth.default_acl is not None:
            record.xattrs = {}
            access = inherited(stored_acl(birth.default_acl), mode)
            if is_extended(access):
                record.xattrs[ACL_ACCESS] = pack_acl(access)
            if status.mode & TYPE_MASK == DIRECTORY:
                record.xattrs[ACL_DEFAULT] = birth.default_acl
        self._state.records.keep(status, record)


class _Permissions:
    """A umask for a while, and the mode that goes with it."""

    def __init__(self, umask: int, mode: int) -> None:
        self._umask = umask
        self._mode = mode

    def __enter__(self) -> int:
        self._umask = os.umask(self._umask)
        return self._mode

    def __exit__(self, *error: object) -> None:
        os.umask(self._umask)
