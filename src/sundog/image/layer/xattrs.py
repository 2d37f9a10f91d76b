"""Extended attributes: which of them inodes carry, which the manifest, and which are dropped.

An ordinary user can set ``user.*`` on own files and, in a user namespace, ``security.capability``.
The manifest keeps the rest (SELinux labels, access control lists with foreign ids, ``trusted.*``,
anything on a symlink), so that an archive of the layer has it.  overlayfs's own attributes are
dropped: in an archive they are forged, and on an upper directory they concern only the kernel.

Specification: xattr(7), capabilities(7) "Extended attributes"; Documentation/filesystems/
overlayfs.rst, "User xattr".
"""

from __future__ import annotations

import errno
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

Pairs = tuple[tuple[bytes, bytes], ...]

CAPABILITY = b"security.capability"
OVERLAY = b"user.overlay."
OVERLAY_OPAQUE = b"user.overlay.opaque"
OVERLAY_ORIGIN = b"user.overlay.origin"
_FORGED = (OVERLAY, b"trusted.overlay.")
_USER = b"user."

_XATTR_NAME_LIMIT, _XATTR_SIZE_LIMIT = 255, 65536  # XATTR_NAME_MAX, XATTR_SIZE_MAX

_REVISION_MASK = 0xFF000000
_REVISION_2 = 0x02000000
_REVISION_3 = 0x03000000
_CAPABILITY_2 = struct.Struct("<5I")  # struct vfs_cap_data
_CAPABILITY_3 = struct.Struct("<6I")  # struct vfs_ns_cap_data: the same and the root's uid

# Errors that say: the user may not set it, or it is malformed, too large, or not possible there.
_REFUSED = frozenset(
    {
        errno.EPERM,
        errno.EACCES,
        errno.EOPNOTSUPP,
        errno.EINVAL,
        errno.E2BIG,
        errno.ERANGE,
        errno.ENOSPC,
        errno.EDQUOT,
    }
)


def set_xattrs(fd: int, xattrs: Iterable[tuple[bytes, bytes]]) -> Pairs:
    """Set the attributes that the inode of ``fd`` can carry; return those for the manifest."""
    left = []
    for name, value in recordable(xattrs):
        if name.startswith(_USER) or name == CAPABILITY:
            try:
                os.setxattr(fd, name, value)
                continue
            except OSError as error:
                if error.errno not in _REFUSED:
                    raise
        left.append((name, value))
    return tuple(left)


def recordable(xattrs: Iterable[tuple[bytes, bytes]]) -> Pairs:
    """Return ``xattrs`` without those of overlayfs."""
    return tuple(pair for pair in xattrs if not pair[0].startswith(_FORGED))


def get_xattrs(file: int | bytes) -> Pairs:
    """Return the image's attributes on the inode of a file or directory, in order of name.

    Capabilities are returned in revision 2, the only one that means the same outside this
    namespace.  A symlink at a path is not followed.
    """
    pairs = []
    for name in sorted(_names(file)):
        if (name.startswith(_USER) and not name.startswith(OVERLAY)) or name == CAPABILITY:
            value = _value(file, name)
            pairs.append((name, portable_capability(value) if name == CAPABILITY else value))
    return tuple(pairs)


def overlay_xattrs(file: int | bytes) -> dict[bytes, bytes]:
    """Return overlayfs's attributes on a file or directory.  A symlink is not followed."""
    return {name: _value(file, name) for name in _names(file) if name.startswith(OVERLAY)}


def is_of_inode(name: bytes, value: bytes) -> bool:
    """Tell whether an inode of any file system can carry an attribute that is ``recordable``."""
    if name == CAPABILITY:
        return len(value) == _CAPABILITY_2.size and (
            _CAPABILITY_2.unpack(value)[0] & _REVISION_MASK == _REVISION_2
        )
    return (
        name.startswith(_USER)
        and len(_USER) < len(name) <= _XATTR_NAME_LIMIT
        and len(value) <= _XATTR_SIZE_LIMIT
    )


def remove_xattrs(file: int | bytes, names: Iterable[bytes]) -> None:
    """Remove the attributes ``names`` from a file or directory.  A symlink is not followed."""
    for name in names:
        os.removexattr(file, name, follow_symlinks=isinstance(file, int))


def entry_path(fd: int, path: bytes) -> bytes:
    """Return one path for ``path`` in the directory ``fd``, since no call of xattr(7) takes both.

    Those of Linux 6.13 do.
    """
    return b"/proc/self/fd/%d/%s" % (fd, path)


def portable_capability(value: bytes) -> bytes:
    """Return file capabilities of revision 3 in revision 2; return others unchanged.

    Revision 3 names the root of a user namespace.  Inside that namespace the kernel converts it
    itself.
    """
    if len(value) != _CAPABILITY_3.size:
        return value
    magic, *sets, _root = _CAPABILITY_3.unpack(value)
    if magic & _REVISION_MASK != _REVISION_3:
        return value
    return _CAPABILITY_2.pack(magic & ~_REVISION_MASK | _REVISION_2, *sets)


def _names(file: int | bytes) -> list[bytes]:
    follow = isinstance(file, int)
    try:
        return [os.fsencode(name) for name in os.listxattr(file, follow_symlinks=follow)]
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:  # a file system without attributes
            raise
        return []


def _value(file: int | bytes, name: bytes) -> bytes:
    return os.getxattr(file, name, follow_symlinks=isinstance(file, int))
