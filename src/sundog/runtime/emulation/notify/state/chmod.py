"""Change the mode of a file: on the inode if the user may, else in the file's record."""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.modes import MODE_MASK, S_IFMT, S_IFREG, S_ISGID, S_ISUID
from sundog.runtime.emulation.notify.identity.capabilities import CAP_FSETID
from sundog.runtime.emulation.notify.state.record import INODE_DECIDES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.identity.credentials import Credentials
    from sundog.runtime.emulation.notify.state.files import Status
    from sundog.runtime.emulation.notify.state.state import State


def set_mode(state: State, place: bytes, status: Status, mode: int) -> int:
    """Set the mode of a file, on the inode or else in its record; return 0 or a negated errno.

    The file is not a symbolic link.  A file of another user of the host only seems to change.
    """
    try:
        os.chmod(place, mode)
    except OSError as error:
        if error.errno != errno.EPERM or status.kernel_uid == 0:
            return -(error.errno or errno.EIO)
        record = state.records.make(status)
        record.permissions = mode
        state.records.keep(status, record)
    else:
        state.records.note_mode(status, mode)
    return 0


def is_set_id(mode: int) -> bool:
    """Tell whether a file of ``mode`` is a regular file with set-ID bits."""
    return mode & S_IFMT == S_IFREG and bool(mode & (S_ISUID | S_ISGID))


def is_guarded(state: State, status: Status) -> bool:
    """Tell whether the record of a file keeps its mode."""
    record = state.records.find(status)
    return record is not None and record.permissions != INODE_DECIDES


def guard_set_id(state: State, place: bytes, status: Status, who: Credentials) -> None:
    """Prepare the set-ID bits of a regular file for writes by ``who``.

    The kernel clears the bits when a process writes, unless that is real root (fs/attr.c,
    setattr_should_drop_suidgid).  So the record keeps them for an emulated root; for others the
    inode gets them back from the record, and the kernel clears them.
    """
    record = state.records.find(status)
    if not who.can(CAP_FSETID):
        settled(state, place, status)
    elif status.kernel_uid == 0 and is_set_id(status.mode) and not is_guarded(state, status):
        after = status.changed()
        guarded = state.records.renew(after, record)
        guarded.permissions = after.mode & MODE_MASK
        state.records.keep(after, guarded)


def settled(state: State, place: bytes, status: Status) -> Status:
    """Give the inode of a file the mode in its record; return the file's status after that.

    From then on the inode decides again.  A file of another user of the host stays as it is.
    """
    record = state.records.find(status)
    if record is None or record.permissions == INODE_DECIDES or status.kernel_uid != 0:
        return status
    os.chmod(place, record.permissions)
    record.permissions = INODE_DECIDES
    state.records.keep(status, record)
    return state.files.status(place)
