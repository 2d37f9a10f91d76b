"""Refusals to other users than root, as the kernel's: search, create, remove, read and write.

The container's processes are all the same user for the kernel, who may do everything here.  So the
supervisor looks at owner, group, mode and access control list as the emulation shows them, and
refuses.  It never allows more than the kernel does.  The order of checks follows fs/namei.c.

The supervisor does not know the owner of each file.  It leaves the decision to the kernel about
files of processes, terminals and pipes, and about all files if the process is in a user namespace
of its own, because it may mount file systems there.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.modes import (
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
from sundog.base.kernel.mounts import AT_SYMLINK_NOFOLLOW
from sundog.runtime.emulation.notify.identity.capabilities import CAP_LEASE
from sundog.runtime.emulation.notify.identity.permissions import (
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
from sundog.runtime.emulation.notify.state.acl import ACL_ACCESS, acl_allows, stored_acl, with_mode
from sundog.runtime.emulation.notify.state.files import Status, file_system_type, sysctl
from sundog.runtime.emulation.notify.state.lookup import names_own
from sundog.runtime.emulation.notify.state.walk import PROC_SUPER_MAGIC
from sundog.runtime.emulation.notify.tracee.call import KernelAnswers, Refused
from sundog.runtime.emulation.notify.tracee.paths import is_place, parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.identity.credentials import Credentials
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.state.walk import Visit

# File systems in which the kernel gives files to the process that made them: linux/magic.h.
_OWNED_BY_PROCESSES = frozenset(
    (
        PROC_SUPER_MAGIC,
        0x1CD1,  # devpts
        0x50495045,  # pipefs
        0x534F434B,  # sockfs
        0x09041934,  # anon_inode
        0x19800202,  # mqueue
    )
)
_CHANGED_ON_DISK = (S_IFREG, S_IFDIR, S_IFLNK)
_OVERFLOW_ID = (
    65534  # how a user namespace shows IDs that it does not map: the host's root, for one
)
_STANDARD_STREAMS = (b"0", b"1", b"2")
UNNAMED = os.O_TMPFILE & ~os.O_DIRECTORY
# The access that a process asks for when it opens a file, by O_ACCMODE.
_OPENED_FOR = (MAY_READ, MAY_WRITE, MAY_READ | MAY_WRITE, MAY_READ | MAY_WRITE)


class Access:
    """Look at what the credentials ``who`` of ``thread`` would be refused.

    A method raises Refused with the kernel's errno; or KernelAnswers, or OSError, if the kernel
    refuses for another reason, which comes first.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._lookup = state.lookup
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

    def file(self, thread: int, location: bytes, *, follow: bool = True) -> bytes:
        """Return the place of a file as ``Lookup.file`` does.

        Requires that the caller, unless it is root, may search the directories on the way.
        """
        visit = self._visit(thread, self.user(thread))
        return self._lookup.file(thread, location, follow=follow, visit=visit)

    def entry(self, thread: int, location: bytes, *, follow: bool = False) -> bytes:
        """Return the place of a name as ``Lookup.entry`` does; require the same as ``file``."""
        visit = self._visit(thread, self.user(thread))
        return self._lookup.entry(thread, location, follow=follow, visit=visit)

    def _visit(self, thread: int, who: Credentials | None) -> Visit | None:
        """Return what requires that ``who`` may search a directory; None for root."""
        if who is None:
            return None
        # Without a record, an access control list can only name root and its group.
        is_roots = who.is_member(0)
        found_inode = self._state.files.found_inode

        def visit(fd: int) -> None:
            mode = self._found_mode() & (S_IFMT | EXECUTABLE)
            if is_roots or found_inode[0] in self._by_inode or mode != S_IFDIR | EXECUTABLE:
                place = b"self/fd/%d" % fd
                status = self._state.files.found(place, follow=True)
                if not _is_a_directory(status):
                    raise KernelAnswers
                self.require(thread, who, place, status, MAY_EXEC)

        return visit

    def recorded(self, thread: int, location: bytes, *, follow: bool) -> Status | None:
        """Return the status of the file ``location``; None if it seems to have no record."""
        if not names_own(location):
            flags = 0 if follow else AT_SYMLINK_NOFOLLOW
            if self._find_inode(location, flags) not in self._by_inode:
                return None
        try:
            place = self.file(thread, location, follow=follow)
        except FileNotFoundError:
            return None
        return self._state.files.found(place, follow=True)

    def meet(self, thread: int, location: bytes, *, follow: bool) -> None:
        """Find the record of the file ``location``, which a call that changes it may copy up."""
        records = self._state.records
        if records.has_listed:
            found = self.recorded(thread, location, follow=follow)
            if found is not None:
                records.find(found)

    def make(
        self, thread: int, who: Credentials, location: bytes, *, is_directory: bool = False
    ) -> bytes:
        """Require that ``who`` may make a file ``location``, or a directory; return its place."""
        place = self.entry(thread, location)
        self.make_at(thread, who, place, is_directory=is_directory)
        return place

    def make_at(
        self, thread: int, who: Credentials, place: bytes, *, is_directory: bool = False
    ) -> None:
        """Require that ``who`` may make a file at ``place``, or a directory."""
        if is_place(place) or self.is_taken(place):
            raise KernelAnswers
        if place.endswith(b"/") and not is_directory:
            raise KernelAnswers
        self.make_in(thread, who, parent(place))

    def make_in(self, thread: int, who: Credentials, directory: bytes) -> None:
        """Require that ``who`` may make a file in ``directory``."""
        status = self._state.files.status(directory)
        if not _is_a_directory(status):
            raise KernelAnswers
        self.require(thread, who, directory, status, MAY_WRITE | MAY_EXEC)

    def is_taken(self, place: bytes) -> bool:
        """Tell whether there is a file at ``place``.  A slash at the end follows no link here."""
        return self._find_inode(place.rstrip(b"/"), AT_SYMLINK_NOFOLLOW) >= 0

    def remove(self, thread: int, who: Credentials, place: bytes, *, is_directory: bool) -> None:
        """Require that ``who`` may remove the name ``place``: by unlink(2), or by rmdir(2)."""
        if is_place(place) or (place.endswith(b"/") and not is_directory):
            raise KernelAnswers
        place = place.rstrip(b"/")
        self._remove(thread, who, place, self._state.files.status(place, follow=False))

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
        """Require that ``who`` may give the file at the place ``old`` the name ``new``.

        With ``exchange`` the two files swap names; without ``replace`` the new name must be free.
        """
        if is_place(old) or is_place(new):
            raise KernelAnswers
        has_slash = old.endswith(b"/"), new.endswith(b"/")
        old, new = old.rstrip(b"/"), new.rstrip(b"/")
        files = self._state.files
        status = files.status(old, follow=False)
        old_parent, new_parent = files.status(parent(old)), files.status(parent(new))
        target = files.status(new, follow=False) if self.is_taken(new) else None
        is_directory = _is_a_directory(status)
        if (
            (not is_directory and (has_slash[0] or (has_slash[1] and not exchange)))
            or (exchange and has_slash[1] and target and not _is_a_directory(target))
            or old_parent.device != new_parent.device
            or (exchange and target is None)
            or (not replace and target is not None)
            or (target is not None and _is_same(status, target))
        ):
            raise KernelAnswers
        try:
            self._remove(thread, who, old, status)
            if target is None:
                self.make_in(thread, who, parent(new))
            else:
                self._remove(thread, who, new, target)
                if not exchange and is_directory != _is_a_directory(target):
                    raise KernelAnswers
            if not _is_same(old_parent, new_parent):
                # A directory that moves changes its entry "..".
                for moved, place in ((status, old), (target if exchange else None, new)):
                    if moved is not None and _is_a_directory(moved):
                        self.require(thread, who, place, moved, MAY_WRITE)
        except Refused:
            if _is_above(status, new_parent) or (target and _is_above(target, old_parent)):
                raise KernelAnswers from None  # a directory can't move into itself
            raise

    def link(self, thread: int, who: Credentials, old: bytes, new: bytes, *, follow: bool) -> None:
        """Require that ``who`` may give the file ``old`` the further name ``new``, both locations.

        ``follow`` tells to follow a symbolic link ``old``.
        """
        files = self._state.files
        old = self.entry(thread, old, follow=follow)
        status = files.status(old, follow=is_place(old))
        new = self.entry(thread, new)
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
    ) -> bytes:
        """Require that ``who`` may do ``wanted`` to the file ``location``; return its place."""
        visit = self._visit(thread, who)
        place = self._lookup.file(thread, location, follow=follow, visit=visit)
        self._use(thread, who, place, self._state.files.found(place, follow=True), wanted)
        return place

    def open(self, thread: int, who: Credentials, location: bytes, flags: int) -> bytes:
        """Require that ``who`` may open the file with ``flags`` (fs/namei.c, do_open, may_open).

        Who makes the file may open it in every way: see ``make``.  Returns the place: with O_CREAT
        that of a name, unless the way leads to a file alone.
        """
        is_new = flags & os.O_CREAT and flags & os.O_EXCL
        follow = not (is_new or flags & os.O_NOFOLLOW)
        if flags & UNNAMED:
            place = self.file(thread, location)
            self.make_in(thread, who, place)
            return place
        if not flags & os.O_CREAT:
            place = self.file(thread, location, follow=follow)
        else:
            place = self.entry(thread, location, follow=follow)
        if self._lookup.stream in _STANDARD_STREAMS:
            return place  # a container runtime gives them to the first user
        if is_new or flags & os.O_PATH:
            return place
        if self._find_inode(place, 0 if is_place(place) else AT_SYMLINK_NOFOLLOW) < 0:
            return place
        status = self._state.files.found(place, follow=is_place(place))
        kind = status.mode & S_IFMT
        wanted = _OPENED_FOR[flags & os.O_ACCMODE] | (MAY_WRITE if flags & os.O_TRUNC else 0)
        if kind == S_IFDIR and (wanted & MAY_WRITE or flags & os.O_CREAT):
            raise KernelAnswers
        if not is_place(place):
            self._open_in_sticky(thread, who, place, status)
        if kind == S_IFLNK or (kind != S_IFDIR and flags & os.O_DIRECTORY):
            raise KernelAnswers
        if flags & os.O_TRUNC and kind == S_IFREG:
            self.require(thread, who, place, status, wanted)
        else:
            self._use(thread, who, place, status, wanted)
        if flags & os.O_NOATIME:
            self._hide_use(thread, who, place, status)
        return place

    def hide_use(self, thread: int, who: Credentials, location: bytes, *, follow: bool) -> None:
        """Require that ``who`` may open the file with O_NOATIME."""
        place = self._lookup.file(thread, location, follow=follow)
        self._hide_use(thread, who, place, self._state.files.found(place, follow=True))

    def _hide_use(self, thread: int, who: Credentials, place: bytes, status: Status) -> None:
        if not self.is_owner(who, status):
            self._refuse(thread, place, MAY_READ, errno.EPERM)

    def be_owner(self, thread: int, who: Credentials, place: bytes, status: Status) -> None:
        """Require that ``who`` owns the file, or has CAP_FOWNER."""
        if not self.is_owner(who, status):
            self._refuse(thread, place, MAY_WRITE, errno.EPERM)

    def lease(self, thread: int, who: Credentials, place: bytes) -> None:
        """Require that ``who`` may have a lease on an open file (fs/locks.c, vfs_setlease)."""
        status = self._state.files.status(place)
        is_owner = who.fsuid == self._owner(status)[0] or self.is_guessed(who, status)
        if not is_owner and not who.can(CAP_LEASE):
            self._refuse(thread, place, MAY_READ, errno.EACCES)

    def require(
        self, thread: int, who: Credentials, place: bytes, status: Status, wanted: int
    ) -> None:
        """Require that ``who`` may do ``wanted`` to the file, whose directories it may search."""
        if not self.allows(who, status, wanted):
            self._refuse(thread, place, wanted, errno.EACCES)

    def _use(
        self, thread: int, who: Credentials, place: bytes, status: Status, wanted: int
    ) -> None:
        """Require the same for a call to which a read-only mount matters only after that.

        A read-only file system matters before, except to devices, pipes and sockets.
        """
        if self.allows(who, status, wanted):
            return
        matters = wanted & MAY_WRITE and status.mode & S_IFMT in _CHANGED_ON_DISK
        is_first = matters and _is_read_only(thread, status.mount())
        self._refuse(thread, place, wanted if is_first else 0, errno.EACCES)

    def _remove(self, thread: int, who: Credentials, place: bytes, status: Status) -> None:
        """Require that ``who`` may remove the name ``place`` of a file (may_delete)."""
        directory = parent(place)
        self.make_in(thread, who, directory)
        above = self._state.files.status(directory)
        owners = self._owner(above)[0], self._owner(status)[0]
        if not may_remove(who, above.mode, *owners) and not (
            self.is_guessed(who, above) or self.is_guessed(who, status)
        ):
            self._refuse(thread, directory, MAY_WRITE, errno.EPERM)

    def _open_in_sticky(self, thread: int, who: Credentials, place: bytes, status: Status) -> None:
        """Require that O_CREAT finds no file of others in a sticky directory."""
        above = self._state.files.status(parent(place))
        kind = status.mode & S_IFMT
        setting = {S_IFREG: b"protected_regular", S_IFIFO: b"protected_fifos"}.get(kind)
        if not above.mode & S_ISVTX or who.fsuid == self._owner(status)[0]:
            return
        if self.is_guessed(who, status):
            return
        level = sysctl(setting) if setting else 1
        is_shared = above.mode & S_IWOTH or (above.mode & S_IWGRP and level >= 2)
        if level and is_shared and self._owner(above)[0] != self._owner(status)[0]:
            self._refuse(thread, place, MAY_READ, errno.EACCES)

    def _mode(self, status: Status) -> int:
        record = self._state.records.find(status)
        return status.mode if record is None else record.emulated_mode(status.mode)

    def _owner(self, status: Status) -> tuple[int, int]:
        """Return user and group of a file; what belongs to the host's other users is root's."""
        uid, gid = self._state.owner(status)
        if status.uid == _OVERFLOW_ID == uid:
            uid = 0
        return uid, 0 if status.gid == _OVERFLOW_ID == gid else gid

    def _refuse(self, thread: int, place: bytes, wanted: int, error: int) -> None:
        """Raise Refused, unless the supervisor does not know who owns files there."""
        flags = os.O_PATH | os.O_CLOEXEC | (0 if is_place(place) else os.O_NOFOLLOW)
        with Closing(os.open(place, flags)) as fd:
            if file_system_type(fd) in _OWNED_BY_PROCESSES:
                return
            if wanted & MAY_WRITE and os.fstatvfs(fd).f_flag & os.ST_RDONLY:
                raise KernelAnswers  # the kernel says EROFS
        if os.stat(b"%d/ns/user" % thread).st_ino == os.stat(b"self/ns/user").st_ino:
            raise Refused(error)


def _is_same(one: Status, other: Status) -> bool:
    """Tell whether both describe the same file."""
    return (one.device, one.inode) == (other.device, other.inode)


def _is_a_directory(status: Status) -> bool:
    """Tell whether ``status`` describes a directory."""
    return status.mode & S_IFMT == S_IFDIR


def _is_above(status: Status, directory: Status) -> bool:
    """Tell whether the file that ``status`` describes is ``directory``, or a directory above it."""
    if not _is_a_directory(status):
        return False
    with Closing(status.open()) as above, Closing(directory.open()) as below:
        top, path = os.readlink(b"self/fd/%d" % above), os.readlink(b"self/fd/%d" % below)
    return path == top or path.startswith(top.rstrip(b"/") + b"/")


def _is_read_only(thread: int, mount: int) -> bool:
    """Tell whether the file system of a mount of ``thread`` is read-only: proc(5), mountinfo.

    Raises OSError if ``thread`` is gone.
    """
    with open(b"%d/mountinfo" % thread, "rb") as file:
        for line in file:
            number, _, rest = line.partition(b" ")
            if int(number) == mount:
                return b"ro" in rest.rstrip().rpartition(b" ")[2].split(b",")
    return False
