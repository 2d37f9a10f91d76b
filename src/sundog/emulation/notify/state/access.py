"""What the kernel would refuse to other users than root: search, create, remove, read and write.

The container's processes are all the same user for the kernel, who may do everything here.  So the
supervisor looks at owner, group, mode and access control list as the emulation shows them, and
refuses.  It never allows more than the kernel does.  The order of checks follows fs/namei.c.

The supervisor does not know the owner of each file.  It leaves the decision to the kernel about
files of processes, terminals and pipes, and about all files if the process is in a user namespace
of its own, because it may mount file systems there.
"""

import errno
import os

from sundog.emulation.notify.identity.credentials import Credentials
from sundog.emulation.notify.identity.permissions import (
    EXECUTABLE,
    MAY_EXEC,
    MAY_READ,
    MAY_WRITE,
    is_safe_to_link,
    may_change_mode,
    may_remove,
    mode_allows,
    overrides_mode,
)
from sundog.emulation.notify.state.acl import ACL_ACCESS, acl_allows, stored_acl, with_mode
from sundog.emulation.notify.state.files import Status, file_system_type
from sundog.emulation.notify.state.state import State
from sundog.emulation.notify.tracee.call import KernelAnswers, Refused
from sundog.emulation.notify.tracee.paths import (
    SLASH,
    has_name,
    is_place,
    own_entry,
    parent,
    start_of_walk,
)
from sundog.kernel.files import Closing
from sundog.kernel.modes import (
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    S_IRWXG,
    S_ISVTX,
    S_IWGRP,
    S_IWOTH,
)
from sundog.kernel.mounts import AT_SYMLINK_NOFOLLOW

MAX_SYMLINKS = 40
PROC_SUPER_MAGIC = 0x9FA0
# File systems in which the kernel gives files to the process that made them: linux/magic.h.
OWNED_BY_PROCESSES = frozenset(
    (
        PROC_SUPER_MAGIC,
        0x1CD1,  # devpts
        0x50495045,  # pipefs
        0x534F434B,  # sockfs
        0x09041934,  # anon_inode
        0x19800202,  # mqueue
    )
)
OVERFLOW_ID = 65534  # how a user namespace shows IDs that it does not map: the host's root, for one
STANDARD_STREAMS_OPEN = (b"fd/0", b"fd/1", b"fd/2")
UNNAMED = os.O_TMPFILE & ~os.O_DIRECTORY
# What a process wants to do with a file that it opens, by O_ACCMODE.
OPENED_FOR = (MAY_READ, MAY_WRITE, MAY_READ | MAY_WRITE, MAY_READ | MAY_WRITE)


class Access:
    """Look at what the credentials ``who`` of ``thread`` would be refused.

    A method raises Refused with the kernel's errno; or KernelAnswers, or OSError, if the kernel
    refuses for another reason, which comes first.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._find_inode = state.files.find_inode
        self._found_mode = state.files.found_mode
        self._by_inode = state.records.by_inode

    def user(self, thread: int) -> Credentials | None:
        """Return the credentials of ``thread``; None for root, to whom nothing is refused."""
        index = self._state.tags.index(thread)
        return self._state.tags.table[index] if index else None

    def is_owner(self, who: Credentials, status: Status) -> bool:
        """Tell whether ``who`` may do what only the file's owner may."""
        return may_change_mode(who, self._owner(status)[0]) or self.is_guessed(who, status)

    def is_guessed(self, who: Credentials, status: Status) -> bool:
        """Tell whether ``who`` counts as the owner of a file whose owner nobody saw."""
        guesses = self._state.guesses
        return (
            guesses is not None
            and bool(who.fsuid)
            and self._state.records.find(status) is None
            and guesses.covers(status, self._state.paths)
        )

    def owner(self, who: Credentials, status: Status) -> tuple[int, int]:
        """Return user and group of the file, as they count for changes that ``who`` makes."""
        if self.is_guessed(who, status):
            return who.fsuid, who.fsgid
        return self._state.owner(status)

    def allows(self, who: Credentials, status: Status, wanted: int) -> bool:
        """Tell whether ``who`` may do ``wanted`` to the file (fs/namei.c, inode_permission)."""
        return self._allows(who, status, wanted) or (
            not wanted & ~(self._mode(status) >> 6) and self.is_guessed(who, status)
        )

    def _allows(self, who: Credentials, status: Status, wanted: int) -> bool:
        record = self._state.records.find(status)
        mode = self._mode(status)
        owner, group = self._owner(status)
        if mode & S_IRWXG and who.fsuid != owner:
            value = record.xattrs.get(ACL_ACCESS) if record and record.xattrs else None
            acl = stored_acl(value or status.attribute(ACL_ACCESS))
            if acl:
                allowed = acl_allows(with_mode(acl, mode), who, group, wanted)
                return allowed or overrides_mode(who, mode, wanted)
        return mode_allows(who, owner, group, mode, wanted) or overrides_mode(who, mode, wanted)

    def search(
        self, thread: int, who: Credentials, location: bytes, *, follow: bool = False
    ) -> bytes:
        """Require that ``who`` may search the directories on the way to ``location``.

        With ``follow`` the way also leads through a symbolic link at its end.  Returns the location
        without symbolic links.
        """
        # Without a record, an access control list can only name root and its group.
        is_roots = who.is_member(0)
        end, links = start_of_walk(location), 0
        inode = self._find_inode(location[:end], 0) if end > 0 else -1
        while end > 0:
            if inode < 0:
                raise KernelAnswers
            directory = location[:end]
            mode = self._found_mode() & (S_IFMT | EXECUTABLE)
            if is_roots or inode in self._by_inode or mode != S_IFDIR | EXECUTABLE:
                status = self._state.files.found(directory, follow=True)
                if not is_a_directory(status):
                    raise KernelAnswers
                self.require(thread, who, directory, status, MAY_EXEC)
            following = location.find(b"/", end + 1)
            is_last = following < 0 or not location[following:].strip(b"/")
            if is_last and not follow:
                break
            entry = location if following < 0 else location[:following]
            inode = self._find_inode(entry, AT_SYMLINK_NOFOLLOW)
            if inode >= 0 and self._found_mode() & S_IFMT == S_IFLNK:
                links += 1
                target = b"" if links > MAX_SYMLINKS else link_target(entry)
                if not target:
                    raise KernelAnswers
                rest = location[len(entry) :]
                if target[0] == SLASH:
                    location = own_entry(thread, target + rest)
                    end = start_of_walk(location)
                else:
                    location = b"%s/%s%s" % (directory.rstrip(b"/"), target, rest)
                inode = self._find_inode(location[:end], 0) if end > 0 else -1
            elif is_last:
                break
            else:
                end = following
        return location

    def reach(self, thread: int, location: bytes, *, follow: bool) -> None:
        """Require that the caller, unless it is root, may search the way as for ``search``."""
        who = self.user(thread)
        if who is not None:
            self.search(thread, who, location, follow=follow)

    def make(
        self, thread: int, who: Credentials, location: bytes, *, is_directory: bool = False
    ) -> None:
        """Require that ``who`` may make a file ``location``, or a directory."""
        location = self.search(thread, who, location)
        if self.is_taken(location):
            raise KernelAnswers
        if location.endswith(b"/") and not is_directory:
            raise KernelAnswers
        self.make_in(thread, who, parent(location))

    def make_in(self, thread: int, who: Credentials, directory: bytes) -> None:
        """Require that ``who`` may make a file in ``directory``."""
        status = self._state.files.status(directory)
        if not is_a_directory(status):
            raise KernelAnswers
        self.require(thread, who, directory, status, MAY_WRITE | MAY_EXEC)

    def is_taken(self, location: bytes) -> bool:
        """Tell whether there is a file ``location``.  A slash at the end follows no link here."""
        return self._find_inode(location.rstrip(b"/") or b"/", AT_SYMLINK_NOFOLLOW) >= 0

    def remove(self, thread: int, who: Credentials, location: bytes, *, is_directory: bool) -> None:
        """Require that ``who`` may remove the name ``location``: by unlink(2), or by rmdir(2)."""
        location = self.search(thread, who, location)
        if not has_name(location) or (location.endswith(b"/") and not is_directory):
            raise KernelAnswers
        location = location.rstrip(b"/")
        self._remove(thread, who, location, self._state.files.status(location, follow=False))

    def rename(
        self,
        thread: int,
        who: Credentials,
        old: bytes,
        new: bytes,
        *,
        exchange: bool = False,
        replace: bool = True,
    ) -> None:
        """Require that ``who`` may give the file ``old`` the name ``new``.

        With ``exchange`` the two files swap names; without ``replace`` the new name must be free.
        """
        old, new = self.search(thread, who, old), self.search(thread, who, new)
        if not (has_name(old) and has_name(new)):
            raise KernelAnswers
        has_slash = old.endswith(b"/"), new.endswith(b"/")
        old, new = old.rstrip(b"/"), new.rstrip(b"/")
        files = self._state.files
        status = files.status(old, follow=False)
        old_parent, new_parent = files.status(parent(old)), files.status(parent(new))
        target = files.status(new, follow=False) if self.is_taken(new) else None
        is_directory = is_a_directory(status)
        if (
            (not is_directory and (has_slash[0] or (has_slash[1] and not exchange)))
            or (exchange and has_slash[1] and target and not is_a_directory(target))
            or old_parent.device != new_parent.device
            or (exchange and target is None)
            or (not replace and target is not None)
            or (target is not None and is_same(status, target))
        ):
            raise KernelAnswers
        try:
            self._remove(thread, who, old, status)
            if target is None:
                self.make_in(thread, who, parent(new))
            else:
                self._remove(thread, who, new, target)
                if not exchange and is_directory != is_a_directory(target):
                    raise KernelAnswers
            if not is_same(old_parent, new_parent):
                # A directory that moves changes its entry "..".
                for moved, location in ((status, old), (target if exchange else None, new)):
                    if moved is not None and is_a_directory(moved):
                        self.require(thread, who, location, moved, MAY_WRITE)
        except Refused:
            if is_above(status, new_parent) or (target and is_above(target, old_parent)):
                raise KernelAnswers from None  # a directory can't move into itself
            raise

    def link(self, thread: int, who: Credentials, old: bytes, new: bytes, *, follow: bool) -> None:
        """Require that ``who`` may give the file ``old`` the further name ``new``.

        ``follow`` tells to follow a symbolic link ``old``.
        """
        old = self.search(thread, who, old, follow=follow)
        files = self._state.files
        status = files.status(old, follow=follow)
        new = self.search(thread, who, new)
        if self.is_taken(new) or new.endswith(b"/"):
            raise KernelAnswers
        if not is_place(old) and (
            files.status(parent(old)).device != files.status(parent(new)).device
        ):
            raise KernelAnswers
        if not self.is_owner(who, status) and sysctl(b"protected_hardlinks"):
            wanted = MAY_READ | MAY_WRITE
            if not is_safe_to_link(self._mode(status)) or not self.allows(who, status, wanted):
                self._refuse(thread, old, MAY_WRITE, errno.EPERM)
        self.make_in(thread, who, parent(new))

    def use(
        self, thread: int, who: Credentials, location: bytes, wanted: int, *, follow: bool = True
    ) -> Status:
        """Require that ``who`` may do ``wanted`` to the file ``location``; return its status."""
        location = self.search(thread, who, location, follow=follow)
        status = self._state.files.status(location, follow=follow)
        self.require(thread, who, location, status, wanted)
        return status

    def open(self, thread: int, who: Credentials, location: bytes, flags: int) -> None:
        """Require that ``who`` may open the file with ``flags`` (fs/namei.c, do_open, may_open).

        Who makes the file may open it in every way: see ``make``.
        """
        if location[0] != SLASH and location.partition(b"/")[2] in STANDARD_STREAMS_OPEN:
            return  # a container runtime gives them to the first user
        is_new = flags & os.O_CREAT and flags & os.O_EXCL
        follow = not (is_new or flags & os.O_NOFOLLOW)
        location = self.search(thread, who, location, follow=follow)
        if is_new or flags & os.O_PATH:
            return
        if flags & UNNAMED:
            self.make_in(thread, who, location)
            return
        if self._find_inode(location, 0 if follow else AT_SYMLINK_NOFOLLOW) < 0:
            return
        status = self._state.files.found(location, follow=follow)
        kind = status.mode & S_IFMT
        wanted = OPENED_FOR[flags & os.O_ACCMODE] | (MAY_WRITE if flags & os.O_TRUNC else 0)
        if kind == S_IFDIR and (wanted & MAY_WRITE or flags & os.O_CREAT):
            raise KernelAnswers
        if flags & os.O_CREAT and not is_place(location):
            self._open_in_sticky(thread, who, location, status)
        if kind == S_IFLNK or (kind != S_IFDIR and flags & os.O_DIRECTORY):
            raise KernelAnswers
        self.require(thread, who, location, status, wanted)
        if flags & os.O_NOATIME and not self.is_owner(who, status):
            self._refuse(thread, location, MAY_READ, errno.EPERM)

    def be_owner(self, thread: int, who: Credentials, location: bytes, status: Status) -> None:
        """Require that ``who`` owns the file, or has CAP_FOWNER."""
        if not self.is_owner(who, status):
            self._refuse(thread, location, MAY_WRITE, errno.EPERM)

    def require(
        self, thread: int, who: Credentials, location: bytes, status: Status, wanted: int
    ) -> None:
        """Require that ``who`` may do ``wanted`` to the file, whose directories it may search."""
        if not self.allows(who, status, wanted):
            self._refuse(thread, location, wanted, errno.EACCES)

    def _remove(self, thread: int, who: Credentials, location: bytes, status: Status) -> None:
        """Require that ``who`` may remove the name ``location`` of a file (may_delete)."""
        directory = parent(location)
        self.make_in(thread, who, directory)
        above = self._state.files.status(directory)
        owners = self._owner(above)[0], self._owner(status)[0]
        if not may_remove(who, above.mode, *owners) and not (
            self.is_guessed(who, above) or self.is_guessed(who, status)
        ):
            self._refuse(thread, directory, MAY_WRITE, errno.EPERM)

    def _open_in_sticky(
        self, thread: int, who: Credentials, location: bytes, status: Status
    ) -> None:
        """Require that O_CREAT finds no file of others in a sticky directory."""
        above = self._state.files.status(parent(location))
        kind = status.mode & S_IFMT
        setting = {S_IFREG: b"protected_regular", S_IFIFO: b"protected_fifos"}.get(kind)
        if not above.mode & S_ISVTX or who.fsuid == self._owner(status)[0]:
            return
        if self.is_guessed(who, status):
            return
        level = sysctl(setting) if setting else 1
        is_shared = above.mode & S_IWOTH or (above.mode & S_IWGRP and level >= 2)
        if level and is_shared and self._owner(above)[0] != self._owner(status)[0]:
            self._refuse(thread, location, MAY_READ, errno.EACCES)

    def _mode(self, status: Status) -> int:
        record = self._state.records.find(status)
        return status.mode if record is None else record.emulated_mode(status.mode)

    def _owner(self, status: Status) -> tuple[int, int]:
        """Return user and group of a file; what belongs to the host's other users is root's."""
        uid, gid = self._state.owner(status)
        if status.uid == OVERFLOW_ID == uid:
            uid = 0
        return uid, 0 if status.gid == OVERFLOW_ID == gid else gid

    def _refuse(self, thread: int, location: bytes, wanted: int, error: int) -> None:
        """Raise Refused, unless the supervisor does not know who owns files there."""
        if self._find_inode(location, 0) < 0:
            location = parent(location)  # a symbolic link that leads nowhere
        with Closing(os.open(location, os.O_PATH | os.O_CLOEXEC)) as fd:
            if file_system_type(fd) in OWNED_BY_PROCESSES:
                return
            if wanted & MAY_WRITE and os.fstatvfs(fd).f_flag & os.ST_RDONLY:
                raise KernelAnswers  # the kernel says EROFS
        if os.stat(b"%d/ns/user" % thread).st_ino == os.stat(b"self/ns/user").st_ino:
            raise Refused(error)


def link_target(location: bytes) -> bytes:
    """Return the target of the symbolic link ``location``; b"" if the link is more than a path.

    Links in /proc lead to files without a lookup of their paths.
    """
    with Closing(os.open(location, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)) as fd:
        if file_system_type(fd) == PROC_SUPER_MAGIC:
            return b""
        return os.readlink(b"", dir_fd=fd)


def is_same(one: Status, other: Status) -> bool:
    """Tell whether both describe the same file."""
    return (one.device, one.inode) == (other.device, other.inode)


def is_a_directory(status: Status) -> bool:
    """Tell whether ``status`` describes a directory."""
    return status.mode & S_IFMT == S_IFDIR


def is_above(status: Status, directory: Status) -> bool:
    """Tell whether the file that ``status`` describes is ``directory``, or a directory above it."""
    if not is_a_directory(status):
        return False
    with Closing(status.open()) as above, Closing(directory.open()) as below:
        top, path = os.readlink(b"self/fd/%d" % above), os.readlink(b"self/fd/%d" % below)
    return path == top or path.startswith(top.rstrip(b"/") + b"/")


def sysctl(name: bytes) -> int:
    """Return the kernel's setting fs.``name``, 0 if there is none; the working directory is /proc.

    Raises OSError if the setting can't be read.
    """
    try:
        with open(b"sys/fs/" + name, "rb") as file:
            return int(file.read())
    except FileNotFoundError:
        return 0
