"""Calls that change an owner or a mode: chown(2), chmod(2) and their families.

The handlers change on the inode only what the user may change.  They call chown(2) with the owner
that the inode has, which has all other effects of a real one: it clears set-ID bits and
capabilities, sets the change time, sends the events of inotify(7), and makes an overlay copy the
file up.  They change the mode if the file is the user's.
"""

from __future__ import annotations

import errno

from sundog.base.kernel.modes import MODE_MASK, S_IFDIR, S_IFLNK, S_IFMT, S_ISGID, S_ISUID
from sundog.base.kernel.mounts import AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW
from sundog.runtime.emulation.notify.identity.capabilities import SECURITY_CAPABILITY
from sundog.runtime.emulation.notify.identity.credentials import UNCHANGED
from sundog.runtime.emulation.notify.identity.permissions import (
    allowed_mode,
    may_change_mode,
    may_change_owner,
    mode_after_chown,
)
from sundog.runtime.emulation.notify.state.access import Access
from sundog.runtime.emulation.notify.state.chmod import guard_set_id, set_mode, settled
from sundog.runtime.emulation.notify.state.creation import may_be_on_volume
from sundog.runtime.emulation.notify.state.files import is_read_only
from sundog.runtime.emulation.notify.tracee.call import CONTINUE, U32, Answer
from sundog.runtime.emulation.notify.tracee.paths import CWD, descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler

_SET_ID_BITS = S_ISUID | S_ISGID
_ROOT_OR_UNCHANGED = (0, UNCHANGED)

# Errors of the chown to the present owner that a real chown would get, too.
_REAL_REFUSALS = (errno.EROFS, errno.ENOENT, errno.EIO, errno.ENOSPC, errno.EDQUOT)


class OwnerHandlers:
    """Change owners in records, and modes on inodes."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._paths = state.paths
        self._access = Access(state)

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call."""
        return {
            "chown": self.chown,
            "lchown": self.lchown,
            "fchown": self.fchown,
            "fchownat": self.fchownat,
            "chmod": self.chmod,
            "fchmod": self.fchmod,
            "fchmodat": self.fchmodat,
            "fchmodat2": self.fchmodat2,
        }

    def chown(self, thread: int, args: Arguments) -> Answer:
        """int chown(const char *path, uid_t owner, gid_t group)."""
        location = self._paths.named(thread, CWD, args[0])
        return self._change_owner(thread, location, args[1], args[2], follow=True)

    def lchown(self, thread: int, args: Arguments) -> Answer:
        """int lchown(const char *path, uid_t owner, gid_t group)."""
        location = self._paths.named(thread, CWD, args[0])
        return self._change_owner(thread, location, args[1], args[2], follow=False)

    def fchown(self, thread: int, args: Arguments) -> Answer:
        """int fchown(int fd, uid_t owner, gid_t group)."""
        location = descriptor(thread, args[0])
        if self._stays_roots(thread, location, args[1], args[2]):
            return CONTINUE  # most calls are of this kind, and the kernel can do them
        if not self._state.files.is_open_for_io(thread, args[0]):
            return CONTINUE
        return self._change_owner(thread, location, args[1], args[2], follow=True)

    def fchownat(self, thread: int, args: Arguments) -> Answer:
        """int fchownat(int dirfd, const char *path, uid_t owner, gid_t group, int flags)."""
        if args[4] & U32 & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
            return CONTINUE
        location, follow = self._paths.at(thread, args[0], args[1], args[4])
        return self._change_owner(thread, location, args[2], args[3], follow=follow)

    def chmod(self, thread: int, args: Arguments) -> Answer:
        """int chmod(const char *path, mode_t mode)."""
        location = self._paths.named(thread, CWD, args[0])
        return self._change_mode(thread, location, args[1], follow=True)

    def fchmod(self, thread: int, args: Arguments) -> Answer:
        """int fchmod(int fd, mode_t mode)."""
        location = descriptor(thread, args[0])
        if not args[1] & _SET_ID_BITS and self._is_roots(thread, location):
            return CONTINUE  # root may set any mode, and the kernel can do it
        if not self._state.files.is_open_for_io(thread, args[0]):
            return CONTINUE
        return self._change_mode(thread, location, args[1], follow=True, is_written=True)

    def fchmodat(self, thread: int, args: Arguments) -> Answer:
        """int fchmodat(int dirfd, const char *path, mode_t mode), without flags in the kernel."""
        location = self._paths.named(thread, args[0], args[1])
        return self._change_mode(thread, location, args[2], follow=True)

    def fchmodat2(self, thread: int, args: Arguments) -> Answer:
        """int fchmodat2(int dirfd, const char *path, mode_t mode, int flags)."""
        if args[3] & U32 & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
            return CONTINUE
        location, follow = self._paths.at(thread, args[0], args[1], args[3])
        return self._change_mode(thread, location, args[2], follow=follow)

    def _is_roots(self, thread: int, location: bytes) -> bool:
        """Tell whether root is the caller, and the file is root's and has no record."""
        state = self._state
        if state.tags.index(thread):
            return False
        inode = state.files.find_inode(location, 0)
        return (
            inode >= 0
            and inode not in state.records.by_inode
            and state.files.found_owner()[0] == 0
            and not may_be_on_volume(state)
        )

    def _stays_roots(self, thread: int, location: bytes, owner: int, group: int) -> bool:
        """Tell whether root gives a file of root to root, and no set-group-ID bit goes."""
        if owner & U32 not in _ROOT_OR_UNCHANGED or group & U32 not in _ROOT_OR_UNCHANGED:
            return False
        files, unrecorded_owners = self._state.files, self._state.unrecorded_owners
        return (
            self._is_roots(thread, location)
            and unrecorded_owners is None
            and files.found_owner()[1] == 0
            and not files.found_mode() & S_ISGID
            and not self._state.records.linked
        )

    def _change_owner(
        self, thread: int, location: bytes, owner: int, group: int, *, follow: bool
    ) -> Answer:
        owner &= U32
        group &= U32
        state = self._state
        place = self._access.file(thread, location, follow=follow)
        before = settled(state, place, state.files.found(place, follow=True))
        record = state.records.find(before)
        who = state.tags.credentials(thread)
        now = self._access.owner(who, before)
        new = (now[0] if owner == UNCHANGED else owner, now[1] if group == UNCHANGED else group)
        if not may_change_owner(who, *now, owner, group):
            return _not_permitted(place)
        permissions = before.mode & MODE_MASK
        after_chown = mode_after_chown(who, before.mode, now[1], new[1])
        if after_chown != permissions and not may_change_mode(who, now[0]):
            return _not_permitted(place)
        state.listener.confirm()
        if permissions & S_ISGID and not after_chown & S_ISGID:
            # The kernel would keep this bit, because the user is a member of the file's group.
            set_mode(state, place, before, permissions & ~S_ISGID)
        kernel_can = before.kernel_uid == 0 and (state.volumes is None or new == (0, 0))
        if record is None and new == now == state.owner(before) and kernel_can:
            return CONTINUE
        # The kernel tells inotify(7) only of a call that names a user or a group, so the user's own
        # file gets the user and the group that it has.
        own = (before.uid, before.gid) == (0, 0)
        uid, gid = (0 if own and wanted != UNCHANGED else -1 for wanted in (owner, group))
        refusal = state.files.change_owner(place, uid, gid)
        if refusal in _REAL_REFUSALS:
            return -refusal
        # After a copy-up the inode may be another, which gets the same record.
        after = state.files.whole_status(place)
        changed = state.records.renew(after, record)
        changed.uid, changed.gid = new
        if changed.xattrs and after.mode & S_IFMT != S_IFDIR:
            changed.xattrs.pop(SECURITY_CAPABILITY, None)
        state.records.keep(after, changed)
        return 0

    def _change_mode(
        self, thread: int, location: bytes, mode: int, *, follow: bool, is_written: bool = False
    ) -> Answer:
        """Change a mode; ``is_written`` tells that the caller may have the file open for writing.

        Then the set-ID bits are guarded.
        """
        state = self._state
        place = self._access.file(thread, location, follow=follow)
        status = state.files.found(place, follow=True)
        if status.mode & S_IFMT == S_IFLNK:
            return CONTINUE
        who = state.tags.credentials(thread)
        owner, group = self._access.owner(who, status)
        if not may_change_mode(who, owner):
            return _not_permitted(place)
        wanted = mode & MODE_MASK
        allowed = allowed_mode(who, wanted, group)
        settled(state, place, status)
        is_guarded = is_written and bool(allowed & _SET_ID_BITS)
        if status.kernel_uid == 0 and allowed == wanted and not is_guarded:
            state.records.note_mode(status, allowed)
            return CONTINUE
        state.listener.confirm()
        refusal = set_mode(state, place, status, allowed)
        if is_guarded and not refusal:
            guard_set_id(state, place, state.files.status(place), who)
        return refusal


def _not_permitted(place: bytes) -> Answer:
    """Return the answer to a change that the caller may not make: EPERM, or the kernel's EROFS."""
    return CONTINUE if is_read_only(place) else -errno.EPERM
