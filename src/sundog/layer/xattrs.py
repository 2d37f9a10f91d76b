"""Extended attributes: which an inode carries, which the manifest does, which nobody may.

An ordinary user can give his files ``user.*`` and, in a user namespace, ``security.capability``.
The rest (SELinux's labels, access control lists with foreign ids, ``trusted.*``, anything on a
symlink) is kept in the manifest for whoever gets the layer next.  What overlayfs keeps on its
layers is neither: coming from an archive it is a forgery, on an upper directory its own business.

Specification: xattr(7), capabilities(7) "Extended attributes"; Documentation/filesystems/
overlayfs.rst, "User xattr".
"""

from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Pairs = tuple[tuple[bytes, bytes], ...]

CAPABILITY = b"security.capability"
OVERLAY = b"user.overlay."
OVERLAY_OPAQUE = b"user.overlay.opaque"
OVERLAY_ORIGIN = b"user.overlay.origin"
_FORGED = (OVERLAY, b"trusted.overlay.")
_USER = b"user."

_REVISION_MASK = 0xFF000000
_REVISION_2 = 0x02000000
_REVISION_3 = 0x03000000
_CAPABILITY_2 = struct.Struct("<5I")  # struct vfs_cap_data
_CAPABILITY_3 = struct.Struct("<6I")  # struct vfs_ns_cap_data: the same and the root's uid

# The inode can't have it: not the user's to give, malformed, too large, or of no use there.
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
    """Give the file or directory ``fd`` what its inode can carry; return what the manifest must."""
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
    """Return ``xattrs`` without overlayfs's own."""
    return tuple(pair for pair in xattrs if not pair[0].startswith(_FORGED))


def get_xattrs(file: int | bytes) -> Pairs:
    """Return what the inode of a file or directory carries for the image, in order of name.

    Capabilities are given as revision 2, the only one that means the same outside this namespace.
    A path is not followed.
    """
    pairs = []
    for name in sorted(_names(file)):
        if (name.startswith(_USER) and not name.startswith(OVERLAY)) or name == CAPABILITY:
            value = _value(file, name)
            pairs.append((name, portable_capability(value) if name == CAPABILITY else value))
    return tuple(pairs)


def overlay_xattrs(file: int | bytes) -> dict[bytes, bytes]:
    """Return what overlayfs keeps on a file or directory.  A path is not followed."""
    return {name: _value(file, name) for name in _names(file) if name.startswith(OVERLAY)}


def remove_xattrs(file: int | bytes, names: Iterable[bytes]) -> None:
    """Take the attributes ``names`` from a file or directory.  A path is not followed."""
    for name in names:
        os.removexattr(file, name, follow_symlinks=isinstance(file, int))


def entry_path(fd: int, path: bytes) -> bytes:
    """Return a path for ``path`` in the directory ``fd``: no xattr call takes the two (xattr(7)).

    The calls of Linux 6.13 would.
    """
    return b"/proc/self/fd/%d/%s" % (fd, path)


def portable_capability(value: bytes) -> bytes:
    """Return file capabilities of revision 3 as revision 2; others as they are.

    Revision 3 names the root of a user namespace; where that namespace is seen from inside, the
    kernel converts it already.
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
        if error.errno != errno.EOPNOTSUPP:  # a file system without any
            raise
        return []


def _value(file: int | bytes, name: bytes) -> bytes:
    return os.getxattr(file, name, follow_symlinks=isinstance(file, int))
