"""Properties that a new inode gets from its maker and from its directory.

That is owner, group, permissions and access control lists, if the kernel alone would give others.
Specification: fs/inode.c (inode_init_owner, mode_strip_sgid), fs/posix_acl.c (posix_acl_create).
"""

from __future__ import annotations

import errno

from sundog.base.kernel.modes import PERMISSIONS, S_IFDIR, S_IFMT, S_ISGID, S_IXGRP
from sundog.base.kernel.process import Umask
from sundog.runtime.emulation.notify.identity.capabilities import CAP_FSETID
from sundog.runtime.emulation.notify.state.acl import (
    ACL_ACCESS,
    ACL_DEFAULT,
    inherited,
    is_extended,
    mode_of,
    pack_acl,
    stored_acl,
)
from sundog.runtime.emulation.notify.tracee.call import CONTINUE, Answer, KernelAnswers, Refused
from sundog.runtime.emulation.notify.tracee.descriptors import status_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.emulation.notify.identity.credentials import Credentials
    from sundog.runtime.emulation.notify.state.files import Status
    from sundog.runtime.emulation.notify.state.state import State


class Birth:
    """Make an inode, and give it what it gets from its maker ``who`` and from its directory.

    uid, gid        owner and group of the inode
    sets_group      whether the directory passes on its group
    default_acl     the directory's default access control list, packed, or None
    on_volume       whether the directory is on a volume, where the kernel's files are not root's
    """

    __slots__ = (
        *("_state", "_thread", "default_acl", "gid", "on_volume", "sets_group", "uid", "who"),
    )

    def __init__(
        self,
        state: State,
        thread: int,
        who: Credentials,
        gid: int,
        *,
        sets_group: bool,
        default_acl: bytes | None,
        on_volume: bool = False,
    ) -> None:
        self._state = state
        self._thread = thread
        self.who = who
        self.uid = who.fsuid
        self.gid = gid
        self.sets_group = sets_group
        self.default_acl = default_acl
        self.on_volume = on_volume

    def is_plain(self, mode: int = 0) -> bool:
        """Tell whether the kernel alone would make the same inode of a file with ``mode``."""
        return (
            self.uid == 0
            and self.gid == 0
            and self.default_acl is None
            and not self.on_volume
            and self.allowed_mode(mode) == mode
        )

    def allowed_mode(self, mode: int) -> int:
        """Return ``mode`` as the kernel allows it for a file (fs/inode.c, mode_strip_sgid)."""
        if (
            self.sets_group
            and mode & S_ISGID
            and mode & S_IXGRP
            and not self.who.is_member(self.gid)
            and not self.who.can(CAP_FSETID)
        ):
            return mode & ~S_ISGID
        return mode

    def make(self, place: bytes, mode: int, make: Callable[[bytes, int], None]) -> Answer:
        """Have ``make`` make an inode at ``place``, and record what the inode gets."""
        self._state.listener.confirm()
        umask, made_mode = self.permissions(mode)
        state = self._state
        with umask:
            try:
                make(place, made_mode)
            except FileExistsError:
                there = state.files.status(place, follow=False)
                if not state.unanswered.take(self._thread, there):
                    return CONTINUE
            except OSError:
                return CONTINUE  # the kernel will say the same
        status = state.files.status(place, follow=False)
        self.record(status, mode)
        state.unanswered.note(state.listener.cookie, self._thread, status)
        return 0

    def permissions(self, mode: int) -> tuple[Umask, int]:
        """Return the umask and the mode with which to make an inode."""
        if self.default_acl is not None:
            acl = stored_acl(self.default_acl)
            return Umask(0), mode & ~PERMISSIONS | mode_of(inherited(acl, mode))
        umask = status_field(self._thread, b"Umask")
        if not umask:
            raise KernelAnswers  # the caller has just died
        return Umask(int(umask, 8)), mode

    def record(self, status: Status, mode: int) -> None:
        """Record owner, group and inherited access control lists of a new inode."""
        record = self._state.records.make(status)
        record.uid, record.gid = self.uid, self.gid
        if self.default_acl is not None:
            record.xattrs = {}
            access = inherited(stored_acl(self.default_acl), mode)
            if is_extended(access):
                record.xattrs[ACL_ACCESS] = pack_acl(access)
            if status.mode & S_IFMT == S_IFDIR:
                record.xattrs[ACL_DEFAULT] = self.default_acl
        self._state.records.keep(status, record)


def all_is_roots(state: State, thread: int) -> bool:
    """Tell whether all that ``thread`` makes now belongs to root."""
    return not state.records.may_inherit and state.tags.index(thread) == 0


def is_roots_place(state: State, thread: int, directory: bytes) -> bool:
    """Tell whether what ``thread`` makes in ``directory`` is root's, as the kernel makes it.

    This quick look is enough for most calls: root makes them, and the directory passes nothing on.
    """
    if state.tags.index(thread):
        return False
    inode = state.files.find_inode(directory, 0)
    return (
        inode >= 0
        and inode not in state.records.by_inode
        and inode not in state.lookup.own
        and not state.files.found_mode() & S_ISGID
        and not may_be_on_volume(state)
    )


def may_be_on_volume(state: State) -> bool:
    """Tell whether the file that find_inode has just found may be on a volume."""
    return state.volumes is not None and state.volumes.may_have(state.files.found_device[0])


def birth_in(state: State, thread: int, directory: bytes) -> Birth:
    """Return what an inode gets that ``thread`` makes in ``directory``."""
    who = state.tags.credentials(thread)
    status = state.files.status(directory)
    record = state.records.find(status)
    sets_group = bool(status.mode & S_ISGID)
    gid, default_acl = who.fsgid, None
    if sets_group:
        gid = state.owner(status)[1]
    if record is not None and record.xattrs:
        default_acl = record.xattrs.get(ACL_DEFAULT)
    if default_acl is not None and not state.records.has_room(2 * len(default_acl)):
        raise Refused(errno.ENOSPC)  # a directory inherits it twice
    on_volume = state.volumes is not None and state.volumes.owner(status) is not None
    return Birth(
        state,
        thread,
        who,
        gid,
        sets_group=sets_group,
        default_acl=default_acl,
        on_volume=on_volume,
    )
