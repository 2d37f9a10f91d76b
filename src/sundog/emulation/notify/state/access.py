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
from sundog.emulation.notify.tracee.call import KernelAnswers
from sundog.emulation.notify.tracee.paths import SLASH, own_entry, parent
from sundog.kernel.files import Closing
from sundog.kernel.modes import S_IFDIR, S_IFLNK, S_IFMT, S_IRWXG
from sundog.kernel.mounts import AT_SYMLINK_NOFOLLOW

MAY_CHANGE_NAMES = MAY_WRITE | MAY_EXEC  # what a process needs in a directory

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
STANDARD_STREAM = (b"fd/0", b"fd/1", b"fd/2")
PROTECTED_HARDLINKS = b"sys/fs/protected_hardlinks"


class Access:
    """Tell what the credentials ``who`` of ``thread`` would be refused.

    A method returns a negated errno, or 0 if the kernel's own answer is right.  It raises
    KernelAnswers if the kernel refuses for another reason, which comes first.
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
        return may_change_mode(who, self._owner(status)[0])

    def allows(self, who: Credentials, status: Status, wanted: int) -> bool:
        """Tell whether ``who`` may do ``wanted`` to the file (fs/namei.c, inode_permission)."""
        record = self._state.records.find(status)
        mode = status.mode if record is None else record.emulated_mode(status.mode)
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
    ) -> int:
        """Look whether ``who`` may search the directories on the way to ``location``.

        With ``follow`` the way also leads through a symbolic link at its end.
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
                if not self.allows(who, status, MAY_EXEC):
                    return self._refused(thread, directory, MAY_EXEC)
            following = location.find(b"/", end + 1)
            is_last = not location[following:].strip(b"/") if following > 0 else True
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
        return 0

    def make(
        self, thread: int, who: Credentials, location: bytes, *, is_directory: bool = False
    ) -> int:
        """Look whether ``who`` may make a file ``location``, or a directory."""
        refusal = self.search(thread, who, location)
        if refusal or self.is_taken(location):
            return refusal
        if location.endswith(b"/") and not is_directory:
            raise KernelAnswers
        return self.make_in(thread, who, parent(location))

    def make_in(self, thread: int, who: Credentials, directory: bytes) -> int:
        """Look whether ``who`` may make a file in ``directory``."""
        status = self._state.files.status(directory)
        if not is_a_directory(status):
            raise KernelAnswers
        if self.allows(who, status, MAY_CHANGE_NAMES):
            return 0
        return self._refused(thread, directory, MAY_CHANGE_NAMES)

    def is_taken(self, location: bytes) -> bool:
        """Tell whether there is a file ``location``.  A slash at the end follows no link here."""
        return self._find_inode(location.rstrip(b"/") or b"/", AT_SYMLINK_NOFOLLOW) >= 0

    def remove(
        self, thread: int, who: Credentials, location: bytes, *, is_directory: bool
    ) -> int:
        """Look whether ``who`` may remove the name ``location``: unlink(2), or rmdir(2)."""
        refusal = self.search(thread, who, location)
        if refusal or not has_name(location):
            return refusal
        if location.endswith(b"/") and not is_directory:
            raise KernelAnswers
        status = self._state.files.status(location.rstrip(b"/"), follow=False)
        return self._remove(thread, who, location, status)

    def rename(
        self,
        thread: int,
        who: Credentials,
        old: bytes,
        new: bytes,
        *,
        exchange: bool = False,
        replace: bool = True,
    ) -> int:
        """Look whether ``who`` may give the file ``old`` the name ``new``.

        With ``exchange`` the two files swap names; without ``replace`` the new name must be free.
        """
        refusal = self.search(thread, who, old) or self.search(thread, who, new)
        if refusal or not (has_name(old) and has_name(new)):
            return refusal
        files = self._state.files
        has_slash = old.endswith(b"/"), new.endswith(b"/")
        old, new = old.rstrip(b"/"), new.rstrip(b"/")
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
        refusal = self._remove(thread, who, old, status)
        if not refusal and target is None:
            refusal = self.make_in(thread, who, parent(new))
        elif not refusal and target is not None:
            refusal = self._remove(thread, who, new, target)
            if not refusal and not exchange and is_directory != is_a_directory(target):
                raise KernelAnswers
        if not refusal and not is_same(old_parent, new_parent):
            # A directory that moves changes its entry "..".
            for moved, location in ((status, old), (target if exchange else None, new)):
                if moved is not None and is_a_directory(moved):
                    refusal = refusal or self.use_found(thread, who, location, moved, MAY_WRITE)
        if refusal and (is_above(status, new_parent) or (target and is_above(target, old_parent))):
            raise KernelAnswers  # a directory can't move into itself
        return refusal

    def link(self, thread: int, who: Credentials, old: bytes, new: bytes, *, follow: bool) -> int:
        """Look whether ``who`` may give the file ``old`` the further name ``new``.

        ``follow`` tells to follow a symbolic link ``old``.
        """
        refusal = self.search(thread, who, old, follow=follow)
        if refusal:
            return refusal
        status = self._state.files.status(old, follow=follow)
        refusal = self.search(thread, who, new)
        if refusal or self.is_taken(new):
            return refusal
        if new.endswith(b"/"):
            raise KernelAnswers
        files = self._state.files
        directory = files.status(parent(new))
        if not is_place(old) and files.status(parent(old)).device != directory.device:
            raise KernelAnswers
        if not self.is_owner(who, status) and hardlinks_are_protected():
            record = self._state.records.find(status)
            mode = status.mode if record is None else record.emulated_mode(status.mode)
            if not is_safe_to_link(mode) or not self.allows(who, status, MAY_READ | MAY_WRITE):
                return -errno.EPERM
        return self.make_in(thread, who, parent(new))

    def use(
        self, thread: int, who: Credentials, location: bytes, wanted: int, *, follow: bool = True
    ) -> int:
        """Look whether ``who`` may do ``wanted`` to the file ``location``."""
        refusal = self.search(thread, who, location, follow=follow)
        if refusal:
            return refusal
        status = self._state.files.status(location, follow=follow)
        return self.use_found(thread, who, location, status, wanted)

    def own(self, thread: int, location: bytes) -> int:
        """Return the refusal to somebody who does not own the file ``location``."""
        return self._refused(thread, location, MAY_WRITE, -errno.EPERM)

    def use_found(
        self, thread: int, who: Credentials, location: bytes, status: Status, wanted: int
    ) -> int:
        """Look whether ``who`` may do ``wanted`` to the file, in a directory that it may search."""
        if self.allows(who, status, wanted):
            return 0
        return self._refused(thread, location, wanted)

    def _remove(self, thread: int, who: Credentials, location: bytes, status: Status) -> int:
        """Look whether ``who`` may remove the name ``location`` of a file (may_delete)."""
        refusal = self.make_in(thread, who, parent(location))
        if refusal:
            return refusal
        directory = self._state.files.status(parent(location))
        owners = self._owner(directory)[0], self._owner(status)[0]
        if may_remove(who, directory.mode, *owners):
            return 0
        return self._refused(thread, parent(location), MAY_WRITE, -errno.EPERM)

    def _owner(self, status: Status) -> tuple[int, int]:
        """Return user and group of a file; what belongs to the host's other users is root's."""
        uid, gid = self._state.owner(status)
        if status.uid == OVERFLOW_ID == uid:
            uid = 0
        return uid, 0 if status.gid == OVERFLOW_ID == gid else gid

    def _refused(
        self, thread: int, location: bytes, wanted: int, refusal: int = -errno.EACCES
    ) -> int:
        """Return ``refusal``, or 0 where the supervisor does not know who owns files."""
        if location.partition(b"/")[2] in STANDARD_STREAM:
            return 0  # a container runtime gives them to the first user
        if self._find_inode(location, 0) < 0:
            location = parent(location)  # a symbolic link that leads nowhere
        with Closing(os.open(location, os.O_PATH | os.O_CLOEXEC)) as fd:
            if file_system_type(fd) in OWNED_BY_PROCESSES:
                return 0
            if wanted & MAY_WRITE and os.fstatvfs(fd).f_flag & os.ST_RDONLY:
                return 0  # the kernel says EROFS
        namespace = b"%d/ns/user" % thread
        return refusal if os.stat(namespace).st_ino == os.stat(b"self/ns/user").st_ino else 0


def start_of_walk(location: bytes) -> int:
    """Return the length of the directory in which the kernel looks for the first component."""
    if location[0] == SLASH:
        return 1
    end = location.find(b"/") + 1
    if location.startswith(b"fd/", end):
        end += len(b"fd/")
    return location.find(b"/", end)


def link_target(location: bytes) -> bytes:
    """Return the target of the symbolic link ``location``; b"" if the link is more than a path.

    Links in /proc lead to files without a lookup of their paths.
    """
    with Closing(os.open(location, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)) as fd:
        if file_system_type(fd) == PROC_SUPER_MAGIC:
            return b""
        return os.readlink(b"", dir_fd=fd)


def is_place(location: bytes) -> bool:
    """Tell whether ``location`` is no path, but a descriptor or the working directory."""
    return location[0] != SLASH and start_of_walk(location) < 0


def has_name(location: bytes) -> bool:
    """Tell whether ``location`` ends with a name of a file, not with the name of a place."""
    return location.rstrip(b"/").rpartition(b"/")[2] not in (b"", b".", b"..")


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


def hardlinks_are_protected() -> bool:
    """Tell whether the kernel refuses links to others' files; the working directory is /proc."""
    try:
        with open(PROTECTED_HARDLINKS, "rb") as file:
            return file.read().strip() != b"0"
    except OSError:
        return False
