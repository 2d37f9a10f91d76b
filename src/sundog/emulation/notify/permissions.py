"""Who may change owners and modes, what a change of owner does to the mode, and the change itself.

The rules follow fs/attr.c and fs/inode.c of Linux; they are functions of values.
"""

import errno
import os

from sundog.emulation.notify.capabilities import CAP_CHOWN, CAP_FOWNER, CAP_FSETID
from sundog.emulation.notify.credentials import UNCHANGED, Credentials
from sundog.emulation.notify.files import Status
from sundog.emulation.notify.listener import KernelAnswers
from sundog.emulation.notify.records import (
    DIRECTORY,
    GROUP_EXECUTE,
    INODE_DECIDES,
    MODE_MASK,
    REGULAR,
    SET_GROUP_ID,
    SET_USER_ID,
    TYPE_MASK,
)
from sundog.emulation.notify.state import State


def may_change_owner(
    who: Credentials, owner: int, group: int, new_owner: int, new_group: int
) -> bool:
    """Tell whether chown(2) is allowed (fs/attr.c, chown_ok and chgrp_ok)."""
    if who.can(CAP_CHOWN):
        return True
    if new_owner != UNCHANGED and not who.fsuid == owner == new_owner:
        return False
    return new_group == UNCHANGED or (
        who.fsuid == owner and (new_group == group or who.is_member(new_group))
    )


def mode_after_chown(who: Credentials, mode: int, group: int, new_group: int) -> int:
    """Return the permissions of a file of ``mode`` after chown(2) (fs/attr.c, notify_change)."""
    permissions = mode & MODE_MASK
    if mode & TYPE_MASK == DIRECTORY:
        return permissions
    cleared = permissions & ~SET_USER_ID
    if permissions & GROUP_EXECUTE:
        return cleared & ~SET_GROUP_ID
    cleared = allowed_mode(who, cleared, group)
    if permissions & SET_USER_ID:
        cleared = allowed_mode(who, cleared, new_group)
    return cleared


def may_change_mode(who: Credentials, owner: int) -> bool:
    """Tell whether chmod(2) is allowed, and setting an access control list."""
    return who.fsuid == owner or who.can(CAP_FOWNER)


def allowed_mode(who: Credentials, mode: int, group: int) -> int:
    """Return ``mode`` without the set-group-ID bit, if ``who`` may not set it for ``group``."""
    return mode if who.is_member(group) or who.can(CAP_FSETID) else mode & ~SET_GROUP_ID


def set_mode(state: State, location: bytes, status: Status, mode: int) -> int:
    """Set the mode of a file that is no symbolic link, on the inode or else in its record.

    Returns 0 or a negated errno.  A file of somebody else's on the host only seems to change.
    Raises KernelAnswers where the supervisor finds its own interpreter there, by a link to
    /proc/self/exe: the caller means another file.
    """
    own = os.stat(b"self/exe")
    if (status.device, status.inode) == (own.st_dev, own.st_ino):
        raise KernelAnswers
    try:
        os.chmod(location, mode)
    except OSError as error:
        if error.errno != errno.EPERM or status.uid == 0:
            return -(error.errno or errno.EIO)
        record = state.records.make(status)
        record.permissions = mode
        state.records.keep(status, record)
    return 0


def is_set_id(mode: int) -> bool:
    """Tell whether a file of ``mode`` is a regular one with set-ID bits."""
    return mode & TYPE_MASK == REGULAR and bool(mode & (SET_USER_ID | SET_GROUP_ID))


def guard_set_id(state: State, location: bytes, status: Status, who: Credentials) -> None:
    """See to the set-ID bits of a regular file that ``who`` opens for writing.

    The kernel clears them as it writes, unless real root does (fs/attr.c,
    setattr_should_drop_suidgid): what root would keep is recorded.
    """
    record = state.records.find(status)
    if not who.can(CAP_FSETID):
        settled(state, location, status)
    elif status.uid == 0 and is_set_id(status.mode):
        if record is not None and record.permissions != INODE_DECIDES:
            return
        after = status.changed()
        guarded = state.records.renew(after, record)
        guarded.permissions = after.mode & MODE_MASK
        state.records.keep(after, guarded)


def settled(state: State, location: bytes, status: Status) -> Status:
    """Return the status of a file after its inode has got what its record keeps of the mode.

    From then on the inode decides again.  A file of somebody else's on the host stays as it is.
    """
    record = state.records.find(status)
    if record is None or record.permissions == INODE_DECIDES or status.uid != 0:
        return status
    os.chmod(location, record.permissions)
    record.permissions = INODE_DECIDES
    state.records.keep(status, record)
    return state.files.status(location)
