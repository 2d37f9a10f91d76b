"""Extended attributes: setxattr(2), getxattr(2), listxattr(2), removexattr(2) and their families.

The kernel keeps most attributes that root may set: it accepts file capabilities in a user
namespace, for one.  What it refuses, root's own namespaces and access control lists that name users
or groups it has no mapping for, is recorded, and shown again.  A recorded access control list lends
its permissions to the inode's mode; they are read back from there, so chmod(2) needs no care.
"""

import errno
import os
from struct import Struct

from sundog.emulation.notify.acl import (
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
from sundog.emulation.notify.capabilities import CAP_SETFCAP, CAP_SYS_ADMIN, SECURITY_CAPABILITY
from sundog.emulation.notify.credentials import Credentials
from sundog.emulation.notify.descriptors import is_open_for_io
from sundog.emulation.notify.files import Status
from sundog.emulation.notify.handlers.chown import allowed_mode, may_change_mode, set_mode
from sundog.emulation.notify.listener import CONTINUE, Answer, KernelAnswers
from sundog.emulation.notify.paths import CWD, descriptor
from sundog.emulation.notify.records import DIRECTORY, MODE_MASK, SYMLINK, TYPE_MASK, Record
from sundog.emulation.notify.state import U32, State
from sundog.kernel.mounts import AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.emulation.notify.state import Arguments, Handler

XATTR_CREATE, XATTR_REPLACE = 1, 2
XATTR_SIZE_MAX = 65536
XATTR_NAME_MAX = 255
PERMISSIONS = 0o777

# struct xattr_args of setxattrat and getxattrat: value, size, flags.
XATTR_ARGS = Struct("=QII")

ACLS = (ACL_ACCESS, ACL_DEFAULT)
TRUSTED = b"trusted."
SECURITY = b"security."
USER = b"user."  # which a device can't have, but the file that holds its place can

# What the kernel says when it is not root who asks, or when the file system can't.
ROOT_ONLY = (errno.EPERM, errno.EOPNOTSUPP)


def is_recorded(name: bytes) -> bool:
    """Tell whether the kernel may refuse the attribute ``name`` to us, but not to real root."""
    return name in ACLS or name.startswith((TRUSTED, SECURITY))


def may_set(who: Credentials, name: bytes) -> bool:
    """Tell whether ``who`` may set or remove the attribute ``name``, which is no ACL."""
    return who.can(CAP_SETFCAP if name == SECURITY_CAPABILITY else CAP_SYS_ADMIN)


def acl_refusal(
    status: Status, name: bytes, who: Credentials, owner: int, *, is_removal: bool
) -> Answer:
    """Return the kernel's answer if an ACL is not to be changed at all, else None."""
    kind = status.mode & TYPE_MASK
    if kind == SYMLINK:
        return -errno.EOPNOTSUPP
    if name == ACL_DEFAULT and kind != DIRECTORY:
        return 0 if is_removal else -errno.EACCES
    return None if may_change_mode(who, owner) else -errno.EPERM


class AttributeHandlers:
    """Record attributes, and show recorded ones."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._paths = state.paths

    def calls(self) -> "dict[str, Handler]":
        """Return the handlers by name of call."""
        return {
            "setxattr": self.setxattr,
            "lsetxattr": self.lsetxattr,
            "fsetxattr": self.fsetxattr,
            "setxattrat": self.setxattrat,
            "getxattr": self.getxattr,
            "lgetxattr": self.lgetxattr,
            "fgetxattr": self.fgetxattr,
            "getxattrat": self.getxattrat,
            "listxattr": self.listxattr,
            "llistxattr": self.llistxattr,
            "flistxattr": self.flistxattr,
            "listxattrat": self.listxattrat,
            "removexattr": self.removexattr,
            "lremovexattr": self.lremovexattr,
            "fremovexattr": self.fremovexattr,
            "removexattrat": self.removexattrat,
        }

    # setxattr(path, name, value, size, flags) and its relatives

    def setxattr(self, thread: int, args: "Arguments") -> Answer:
        """int setxattr(const char *path, const char *name, const void *value, size_t, int)."""
        name = self._name(thread, args[1])
        location = self._paths.named(thread, CWD, args[0])
        return self._set(thread, location, name, args[2:5], follow=True)

    def lsetxattr(self, thread: int, args: "Arguments") -> Answer:
        """int lsetxattr(const char *path, const char *name, const void *value, size_t, int)."""
        name = self._name(thread, args[1])
        location = self._paths.named(thread, CWD, args[0])
        return self._set(thread, location, name, args[2:5], follow=False)

    def fsetxattr(self, thread: int, args: "Arguments") -> Answer:
        """int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)."""
        name = self._name(thread, args[1])
        return self._set(thread, self._open_file(thread, args[0]), name, args[2:5], follow=True)

    def setxattrat(self, thread: int, args: "Arguments") -> Answer:
        """int setxattrat(int, const char *, int at_flags, const char *, xattr_args *, size_t)."""
        name = self._name(thread, args[3])
        location, follow = self._at(thread, args)
        values = self._arguments(thread, args)
        return self._set(thread, location, name, values, follow=follow)

    # getxattr(path, name, value, size)

    def getxattr(self, thread: int, args: "Arguments") -> Answer:
        """ssize_t getxattr(const char *path, const char *name, void *value, size_t size)."""
        name = self._known_name(thread, args[1])
        location = self._paths.named(thread, CWD, args[0])
        return self._get(thread, location, name, args[2], args[3], follow=True)

    def lgetxattr(self, thread: int, args: "Arguments") -> Answer:
        """ssize_t lgetxattr(const char *path, const char *name, void *value, size_t size)."""
        name = self._known_name(thread, args[1])
        location = self._paths.named(thread, CWD, args[0])
        return self._get(thread, location, name, args[2], args[3], follow=False)

    def fgetxattr(self, thread: int, args: "Arguments") -> Answer:
        """ssize_t fgetxattr(int fd, const char *name, void *value, size_t size)."""
        name = self._known_name(thread, args[1])
        location = self._open_file(thread, args[0])
        return self._get(thread, location, name, args[2], args[3], follow=True)

    def getxattrat(self, thread: int, args: "Arguments") -> Answer:
        """ssize_t getxattrat(int, const char *, int, const char *, xattr_args *, size_t)."""
        name = self._known_name(thread, args[3])
        location, follow = self._at(thread, args)
        address, size, flags = self._arguments(thread, args)
        if flags:
            return CONTINUE
        return self._get(thread, location, name, address, size, follow=follow)

    # listxattr(path, list, size)

    def listxattr(self, thread: int, args: "Arguments") -> Answer:
        """ssize_t listxattr(const char *path, char *list, size_t size)."""
        return self._list_named(thread, args, follow=True)

    def llistxattr(self, thread: int, args: "Arguments") -> Answer:
        """ssize_t llistxattr(const char *path, char *list, size_t size)."""
        return self._list_named(thread, args, follow=False)

    def flistxattr(self, thread: int, args: "Arguments") -> Answer:
        """ssize_t flistxattr(int fd, char *list, size_t size)."""
        if not self._state.records.attributes:
            return CONTINUE
        location = self._open_file(thread, args[0])
        return self._list(thread, location, args[1], args[2], follow=True)

    def listxattrat(self, thread: int, args: "Arguments") -> Answer:
        """ssize_t listxattrat(int dirfd, const char *path, int at_flags, char *list, size_t)."""
        if not self._state.records.attributes:
            return CONTINUE
        location, follow = self._at(thread, args)
        return self._list(thread, location, args[3], args[4], follow=follow)

    # removexattr(path, name)

    def removexattr(self, thread: int, args: "Arguments") -> Answer:
        """int removexattr(const char *path, const char *name)."""
        name = self._name(thread, args[1])
        location = self._paths.named(thread, CWD, args[0])
        return self._remove(thread, location, name, follow=True)

    def lremovexattr(self, thread: int, args: "Arguments") -> Answer:
        """int lremovexattr(const char *path, const char *name)."""
        name = self._name(thread, args[1])
        location = self._paths.named(thread, CWD, args[0])
        return self._remove(thread, location, name, follow=False)

    def fremovexattr(self, thread: int, args: "Arguments") -> Answer:
        """int fremovexattr(int fd, const char *name)."""
        name = self._name(thread, args[1])
        return self._remove(thread, self._open_file(thread, args[0]), name, follow=True)

    def removexattrat(self, thread: int, args: "Arguments") -> Answer:
        """int removexattrat(int dirfd, const char *path, int at_flags, const char *name)."""
        name = self._name(thread, args[3])
        location, follow = self._at(thread, args)
        return self._remove(thread, location, name, follow=follow)

    # Arguments

    def _name(self, thread: int, address: int) -> bytes:
        """Return the name at ``address``; raise KernelAnswers unless it may be recorded."""
        name = self._state.memory.read_string(thread, address)
        is_emulated = is_recorded(name) or (self._state.records.devices and name.startswith(USER))
        if len(name) > XATTR_NAME_MAX or not is_emulated:
            raise KernelAnswers
        return name

    def _known_name(self, thread: int, address: int) -> bytes:
        """Do the same for an attribute that only a record can have."""
        if not self._state.records.attributes:
            raise KernelAnswers
        return self._name(thread, address)

    def _at(self, thread: int, args: "Arguments") -> tuple[bytes, bool]:
        if args[2] & U32 & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
            raise KernelAnswers
        return self._paths.at(thread, args[0], args[1], args[2])

    def _arguments(self, thread: int, args: "Arguments") -> "Arguments":
        """Return value, size and flags from the structure of the ``at`` calls."""
        if args[5] != XATTR_ARGS.size:
            raise KernelAnswers
        data = self._state.memory.read(thread, args[4], XATTR_ARGS.size)
        return XATTR_ARGS.unpack(data)

    def _open_file(self, thread: int, fd: int) -> bytes:
        """Return the location of an open file; raise KernelAnswers for one with O_PATH."""
        if not is_open_for_io(self._state.files, thread, fd):
            raise KernelAnswers
        return descriptor(thread, fd)

    # What the calls do

    def _set(
        self, thread: int, location: bytes, name: bytes, values: "Arguments", *, follow: bool
    ) -> Answer:
        address, size, flags = values
        flags &= U32
        if size > XATTR_SIZE_MAX or flags & ~(XATTR_CREATE | XATTR_REPLACE):
            return CONTINUE
        state = self._state
        value = state.memory.read(thread, address, size)
        status = state.files.status(location, follow=follow)
        who = state.tags.credentials(thread)
        state.listener.confirm()
        if name in ACLS:
            return self._set_acl(location, status, who, name, value)
        record = state.records.find(status)
        if name.startswith(USER):
            return -errno.EPERM if record is not None and record.device_type else CONTINUE
        if not may_set(who, name):
            return -errno.EPERM
        known = record is not None and record.xattrs is not None and name in record.xattrs
        if known and flags & XATTR_CREATE:
            return -errno.EEXIST
        try:
            native_flags = flags & ~XATTR_REPLACE if known else flags
            os.setxattr(location, name, value, native_flags, follow_symlinks=follow)
        except OSError as error:
            if error.errno not in ROOT_ONLY:
                return -(error.errno or errno.EIO)
            if flags & XATTR_REPLACE and not known:
                return -errno.ENODATA
            return self._record(status, name, value)
        self._forget(status, name)
        return 0

    def _set_acl(
        self, location: bytes, status: Status, who: Credentials, name: bytes, value: bytes
    ) -> Answer:
        """Set an access control list: the kernel's, if it can hold it, else a recorded one.

        The order of checks is that of fs/posix_acl.c; the kernel would trip over the first ID
        that the user namespace lacks.
        """
        acl = parse_acl(value) if value else ()
        if isinstance(acl, int):
            return acl
        owner, group = self._state.owner(status)
        refusal = acl_refusal(status, name, who, owner, is_removal=not acl)
        if refusal is not None:
            return refusal
        if acl and not is_valid(acl):
            return -errno.EINVAL
        mode = allowed_mode(who, status.mode & MODE_MASK, group)
        if not named_ids(acl) - {0}:
            self._forget(status, name)
            if acl and name == ACL_ACCESS and mode != status.mode & MODE_MASK:
                set_mode(self._state, location, status, mode)
            return CONTINUE
        try:
            os.removexattr(location, name)
        except OSError as error:
            if error.errno not in (errno.ENODATA, *ROOT_ONLY):
                return -(error.errno or errno.EIO)
        if name == ACL_ACCESS:
            mode = mode & ~PERMISSIONS | mode_of(acl)
            failure = set_mode(self._state, location, status, mode)
            if failure:
                return failure
            status = self._state.files.status(location)
        return self._record(status, name, value)

    def _get(
        self, thread: int, location: bytes, name: bytes, address: int, size: int, *, follow: bool
    ) -> Answer:
        status = self._state.files.status(location, follow=follow)
        record = self._state.records.find(status)
        if record is None or not record.xattrs or name not in record.xattrs:
            return CONTINUE
        if name.startswith(TRUSTED) and not self._sees_trusted(thread):
            return -errno.ENODATA
        value = shown_value(record, name, status.mode)
        return self._hand_over(thread, address, size, value)

    def _list_named(self, thread: int, args: "Arguments", *, follow: bool) -> Answer:
        if not self._state.records.attributes:
            return CONTINUE
        location = self._paths.named(thread, CWD, args[0])
        return self._list(thread, location, args[1], args[2], follow=follow)

    def _list(
        self, thread: int, location: bytes, address: int, size: int, *, follow: bool
    ) -> Answer:
        status = self._state.files.status(location, follow=follow)
        record = self._state.records.find(status)
        if record is None or not record.xattrs:
            return CONTINUE
        names = [os.fsencode(n) for n in os.listxattr(location, follow_symlinks=follow)]
        shown = self._sees_trusted(thread)
        names += [
            name
            for name in record.xattrs
            if name not in names and (shown or not name.startswith(TRUSTED))
        ]
        return self._hand_over(thread, address, size, b"".join(name + b"\0" for name in names))

    def _remove(self, thread: int, location: bytes, name: bytes, *, follow: bool) -> Answer:
        state = self._state
        status = state.files.status(location, follow=follow)
        who = state.tags.credentials(thread)
        state.listener.confirm()
        if name in ACLS:
            refusal = acl_refusal(status, name, who, state.owner(status)[0], is_removal=True)
            if refusal is not None:
                return refusal
        elif name.startswith(USER):
            record = state.records.find(status)
            return -errno.EPERM if record is not None and record.device_type else CONTINUE
        elif not may_set(who, name):
            return -errno.EPERM
        if self._forget(status, name):
            return 0
        try:
            os.removexattr(location, name, follow_symlinks=follow)
        except OSError as error:
            # What root alone may remove, root alone could have set.
            return -errno.ENODATA if error.errno in ROOT_ONLY else -(error.errno or errno.EIO)
        return 0

    def _hand_over(self, thread: int, address: int, size: int, value: bytes) -> int:
        """Write ``value`` as getxattr(2) does; return its length or a negated errno."""
        if size == 0:
            return len(value)
        if size < len(value):
            return -errno.ERANGE
        self._state.listener.confirm()
        return self._state.memory.write(thread, address, value) or len(value)

    def _sees_trusted(self, thread: int) -> bool:
        return self._state.tags.credentials(thread).can(CAP_SYS_ADMIN)

    def _record(self, status: Status, name: bytes, value: bytes) -> int:
        record = self._state.records.find(status)
        xattrs = {**(record.xattrs or {} if record else {}), name: value}
        if sum(len(key) + len(data) for key, data in xattrs.items()) > XATTR_SIZE_MAX:
            return -errno.ENOSPC
        self._keep(status, record, xattrs)
        return 0

    def _forget(self, status: Status, name: bytes) -> bool:
        """Drop the recorded attribute ``name``; return whether there was one."""
        record = self._state.records.find(status)
        if record is None or not record.xattrs or name not in record.xattrs:
            return False
        xattrs = {key: value for key, value in record.xattrs.items() if key != name}
        self._keep(status, record, xattrs)
        return True

    def _keep(self, status: Status, known: Record | None, xattrs: dict[bytes, bytes]) -> None:
        """Record ``xattrs`` of a file, besides what is known, as a change of it."""
        after = status.changed()
        record = self._state.records.make(after)
        if known is not None and record is not known:
            record.copy_from(known)
        record.xattrs = xattrs
        self._state.records.keep(after, record)


def shown_value(record: Record, name: bytes, mode: int) -> bytes:
    """Return the recorded attribute ``name`` of a file whose inode has ``mode``."""
    value = (record.xattrs or {})[name]
    if name != ACL_ACCESS:
        return value
    return pack_acl(with_mode(stored_acl(value), record.emulated_mode(mode)))
