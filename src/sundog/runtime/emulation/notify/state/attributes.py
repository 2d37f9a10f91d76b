"""Extended attributes: the kernel keeps some, and a record keeps the others.

The kernel keeps most attributes that root may set; for one, it accepts file capabilities in a user
namespace.  It refuses the attributes that only real root may set, and access control lists that
name users or groups without a mapping.  The supervisor records these, and shows them again.  The
mode of the inode gets the permissions of a recorded access control list.  The supervisor reads them
from there, so it need not follow chmod(2).
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.libc import encode_text
from sundog.base.kernel.modes import MODE_MASK, PERMISSIONS, S_IFDIR, S_IFLNK, S_IFMT
from sundog.runtime.emulation.notify.identity.capabilities import (
    CAP_SETFCAP,
    CAP_SYS_ADMIN,
    SECURITY_CAPABILITY,
)
from sundog.runtime.emulation.notify.identity.permissions import allowed_mode, may_change_mode
from sundog.runtime.emulation.notify.state.access import Access
from sundog.runtime.emulation.notify.state.acl import (
    ACL_ACCESS,
    ACL_DEFAULT,
    is_valid,
    mode_of,
    named_ids,
    pack_acl,
    parse_acl,
    stored_acl,
    with_mode,
)
from sundog.runtime.emulation.notify.state.chmod import guard_set_id, is_guarded, set_mode, settled
from sundog.runtime.emulation.notify.state.records import size_of
from sundog.runtime.emulation.notify.tracee.call import CONTINUE, Answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.identity.credentials import Credentials
    from sundog.runtime.emulation.notify.state.files import Status
    from sundog.runtime.emulation.notify.state.record import Record
    from sundog.runtime.emulation.notify.state.state import State

XATTR_CREATE, XATTR_REPLACE = 1, 2
XATTR_SIZE_MAX = 65536
XATTR_NAME_MAX = 255

_ACLS = (ACL_ACCESS, ACL_DEFAULT)
_TRUSTED = b"trusted."
_SECURITY = b"security."
USER_PREFIX = b"user."  # a device can't have these, but the file in its place can


# The kernel's errors if somebody else than root asks, or if the file system can't do it.
_ROOT_ONLY = (errno.EPERM, errno.EOPNOTSUPP)


def _is_recorded(name: bytes) -> bool:
    """Tell whether the kernel may refuse the attribute ``name`` to a user, but not to real root."""
    return name in _ACLS or name.startswith((_TRUSTED, _SECURITY))


def _may_set(who: Credentials, name: bytes) -> bool:
    """Tell whether ``who`` may set or remove the attribute ``name``; ``name`` is not an ACL's."""
    return who.can(CAP_SETFCAP if name == SECURITY_CAPABILITY else CAP_SYS_ADMIN)


def _acl_refusal(
    status: Status, name: bytes, who: Credentials, owner: int, *, is_removal: bool
) -> Answer:
    """Return the kernel's answer if it would not change the ACL ``name``, else None."""
    kind = status.mode & S_IFMT
    if kind == S_IFLNK:
        return -errno.EOPNOTSUPP
    if name == ACL_DEFAULT and kind != S_IFDIR:
        return 0 if is_removal else -errno.EACCES
    return None if may_change_mode(who, owner) else -errno.EPERM


class Attributes:
    """Show and change the attributes of files, as real root's kernel would."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._access = Access(state)

    def are_emulated(self, name: bytes) -> bool:
        """Tell whether the kernel's own answer about the attribute ``name`` can be wrong."""
        return _is_recorded(name) or (self._state.records.devices and name.startswith(USER_PREFIX))

    def set(self, thread: int, place: bytes, name: bytes, value: bytes, flags: int) -> Answer:
        """Answer setxattr(2), with valid ``flags``."""
        state = self._state
        status = state.files.status(place)
        who = state.tags.credentials(thread)
        state.listener.confirm()
        if name in _ACLS:
            return self._set_acl(place, status, who, name, value)
        record = state.records.find(status)
        if name.startswith(USER_PREFIX):
            return -errno.EPERM if record is not None and record.device_type else CONTINUE
        if not _may_set(who, name):
            return -errno.EPERM
        known = record is not None and record.xattrs is not None and name in record.xattrs
        if known and flags & XATTR_CREATE:
            return -errno.EEXIST
        try:
            native_flags = flags & ~XATTR_REPLACE if known else flags
            os.setxattr(place, name, value, native_flags)
        except OSError as error:
            if error.errno not in _ROOT_ONLY:
                return -(error.errno or errno.EIO)
            if flags & XATTR_REPLACE and not known:
                return -errno.ENODATA
            return self._record(status, name, value)
        self._forget(status, name)
        return 0

    def _set_acl(
        self, place: bytes, status: Status, who: Credentials, name: bytes, value: bytes
    ) -> Answer:
        """Set an access control list: on the inode if the kernel takes it, else in the record.

        The order of checks follows fs/posix_acl.c.  The kernel refuses a list with an ID that the
        user namespace does not map.
        """
        acl = parse_acl(value) if value else ()
        if isinstance(acl, int):
            return acl
        owner, group = self._access.owner(who, status)
        refusal = _acl_refusal(status, name, who, owner, is_removal=not acl)
        if refusal is not None:
            return refusal
        if acl and not is_valid(acl):
            return -errno.EINVAL
        guarded = is_guarded(self._state, status)
        status = settled(self._state, place, status)
        mode = allowed_mode(who, status.mode & MODE_MASK, group)
        if not named_ids(acl) - {0}:
            self._forget(status, name)
            if acl and name == ACL_ACCESS and mode != status.mode & MODE_MASK:
                set_mode(self._state, place, status, mode)
            if not guarded or not acl:
                return CONTINUE
            os.setxattr(place, name, value)
            guard_set_id(self._state, place, self._state.files.status(place), who)
            return 0
        try:
            os.removexattr(place, name)
        except OSError as error:
            if error.errno not in (errno.ENODATA, *_ROOT_ONLY):
                return -(error.errno or errno.EIO)
        if name == ACL_ACCESS:
            mode = mode & ~PERMISSIONS | mode_of(acl)
            failure = set_mode(self._state, place, status, mode)
            if failure:
                return failure
            status = self._state.files.status(place)
            if guarded:
                guard_set_id(self._state, place, status, who)
        return self._record(status, name, value)

    def get(self, thread: int, place: bytes, name: bytes) -> bytes | Answer:
        """Return the value for getxattr(2), or an answer without a value."""
        status = self._state.files.status(place)
        record = self._state.records.find(status)
        if record is None or not record.xattrs or name not in record.xattrs:
            return CONTINUE
        if name.startswith(_TRUSTED) and not self._sees_trusted(thread):
            return -errno.ENODATA
        return shown_value(record, name, status.mode)

    def list(self, thread: int, place: bytes) -> bytes | Answer:
        """Return the names for listxattr(2), or an answer without names."""
        status = self._state.files.status(place)
        record = self._state.records.find(status)
        if record is None or not record.xattrs:
            return CONTINUE
        names = [encode_text(n) for n in os.listxattr(place)]
        shown = self._sees_trusted(thread)
        names += [
            name
            for name in record.xattrs
            if name not in names and (shown or not name.startswith(_TRUSTED))
        ]
        return b"".join(name + b"\0" for name in names)

    def remove(self, thread: int, place: bytes, name: bytes) -> Answer:
        """Answer removexattr(2)."""
        state = self._state
        status = state.files.status(place)
        who = state.tags.credentials(thread)
        state.listener.confirm()
        if name in _ACLS:
            refusal = _acl_refusal(
                status, name, who, self._access.owner(who, status)[0], is_removal=True
            )
            if refusal is not None:
                return refusal
        elif name.startswith(USER_PREFIX):
            record = state.records.find(status)
            return -errno.EPERM if record is not None and record.device_type else CONTINUE
        elif not _may_set(who, name):
            return -errno.EPERM
        if self._forget(status, name):
            return 0
        try:
            os.removexattr(place, name)
        except OSError as error:
            # Only root may remove it, so only root could have set it, and there is a record then.
            return -errno.ENODATA if error.errno in _ROOT_ONLY else -(error.errno or errno.EIO)
        return 0

    def _sees_trusted(self, thread: int) -> bool:
        return self._state.tags.credentials(thread).can(CAP_SYS_ADMIN)

    def _record(self, status: Status, name: bytes, value: bytes) -> int:
        record = self._state.records.find(status)
        xattrs = {**(record.xattrs or {} if record else {}), name: value}
        if size_of(xattrs) > XATTR_SIZE_MAX:
            return -errno.ENOSPC
        if not self._state.records.has_room(len(name) + len(value)):
            return -errno.ENOSPC
        self._keep(status, record, xattrs)
        return 0

    def _forget(self, status: Status, name: bytes) -> bool:
        """Drop the recorded attribute ``name``; return whether there was a record of it."""
        record = self._state.records.find(status)
        if record is None or not record.xattrs or name not in record.xattrs:
            return False
        xattrs = {key: value for key, value in record.xattrs.items() if key != name}
        self._keep(status, record, xattrs)
        return True

    def _keep(self, status: Status, known: Record | None, xattrs: dict[bytes, bytes]) -> None:
        """Record the attributes ``xattrs`` of a file, which counts as a change of the file."""
        after = status.changed()
        record = self._state.records.renew(after, known)
        record.xattrs = xattrs
        self._state.records.keep(after, record)


def shown_value(record: Record, name: bytes, mode: int) -> bytes:
    """Return the value of the recorded attribute ``name`` of a file whose inode has ``mode``."""
    value = (record.xattrs or {})[name]
    if name != ACL_ACCESS:
        return value
    return pack_acl(with_mode(stored_acl(value), record.emulated_mode(mode)))
