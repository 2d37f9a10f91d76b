"""POSIX access control lists, as extended attributes contain them.

Specification: acl(5), linux/posix_acl_xattr.h; the rules follow fs/posix_acl.c.  A list is a tuple
of (tag, permissions, id) in the kernel's order.
"""

from __future__ import annotations

import errno

from sundog.base.cpython import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.identity.credentials import Credentials

ACL_ACCESS = b"system.posix_acl_access"
ACL_DEFAULT = b"system.posix_acl_default"

_ACL_VERSION = 2
_HEADER = Struct("<I")
_ENTRY = Struct("<HHI")
_NO_ID = 0xFFFFFFFF

_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20

_TAGS = (_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER)

_AclEntry = tuple[int, int, int]
_Acl = tuple[_AclEntry, ...]


def parse_acl(value: bytes) -> _Acl | int:
    """Return the list in ``value``, valid or not, or a negated errno."""
    if len(value) < _HEADER.size:
        return -errno.EINVAL
    if _HEADER.unpack_from(value)[0] != _ACL_VERSION:
        return -errno.EOPNOTSUPP
    if (len(value) - _HEADER.size) % _ENTRY.size:
        return -errno.EINVAL
    acl = tuple(_ENTRY.iter_unpack(value[_HEADER.size :]))
    if any(tag not in _TAGS or (tag in (_USER, _GROUP) and who == _NO_ID) for tag, _, who in acl):
        return -errno.EINVAL
    return acl


def is_valid(acl: _Acl) -> bool:
    """Tell whether ``acl`` has the entries that it must have, in order, and no wrong ones."""
    tags = [tag for tag, _, _ in acl]
    named = _USER in tags or _GROUP in tags
    return (
        tags == sorted(tags)
        and all(tags.count(tag) == 1 for tag in (_USER_OBJ, _GROUP_OBJ, _OTHER))
        and tags.count(_MASK) <= 1
        and (_MASK in tags or not named)
        and all(permissions <= 7 for _, permissions, _ in acl)
    )


def stored_acl(value: bytes) -> _Acl:
    """Return the list in a recorded ``value``, which the supervisor found valid before."""
    acl = parse_acl(value)
    return () if isinstance(acl, int) else acl


def pack_acl(acl: _Acl) -> bytes:
    """Return the attribute value of ``acl``."""
    return _HEADER.pack(_ACL_VERSION) + b"".join([_ENTRY.pack(*entry) for entry in acl])


def named_ids(acl: _Acl) -> set[int]:
    """Return the users and groups that ``acl`` names."""
    return {who for tag, _, who in acl if tag in (_USER, _GROUP)}


def mode_of(acl: _Acl) -> int:
    """Return the nine permission bits of a file with the access list ``acl``."""
    permissions = {tag: bits for tag, bits, _ in acl}
    group = permissions.get(_MASK, permissions[_GROUP_OBJ])
    return permissions[_USER_OBJ] << 6 | group << 3 | permissions[_OTHER]


def with_mode(acl: _Acl, mode: int) -> _Acl:
    """Return ``acl`` after a chmod(2) to ``mode``; a mask gets the group bits."""
    group = _MASK if any(tag == _MASK for tag, _, _ in acl) else _GROUP_OBJ
    bits = {_USER_OBJ: mode >> 6 & 7, group: mode >> 3 & 7, _OTHER: mode & 7}
    return tuple((tag, bits.get(tag, permissions), who) for tag, permissions, who in acl)


def inherited(default: _Acl, mode: int) -> _Acl:
    """Return the access list of a new file of ``mode`` in a directory with the list ``default``.

    The kernel ignores the umask then.
    """
    return with_mode(default, mode_of(default) & mode)


def is_extended(acl: _Acl) -> bool:
    """Tell whether ``acl`` says more than nine permission bits can say."""
    return len(acl) > 3


def acl_allows(acl: _Acl, who: Credentials, group: int, wanted: int) -> bool:
    """Tell whether the list allows ``wanted`` to ``who``, who is not the file's owner.

    ``group`` is the file's, and ``wanted`` as for ``mode_allows`` (fs/posix_acl.c,
    posix_acl_permission).
    """
    mask = next((bits for tag, bits, _ in acl if tag == _MASK), wanted)
    is_listed = False
    for tag, bits, whose in acl:
        if tag == _USER and whose == who.fsuid:
            return not wanted & ~(bits & mask)
        if tag in (_GROUP_OBJ, _GROUP) and who.is_member(group if tag == _GROUP_OBJ else whose):
            is_listed = True
            if not wanted & ~bits:
                return not wanted & ~mask
        if tag == _OTHER:
            return not is_listed and not wanted & ~bits
    return False
