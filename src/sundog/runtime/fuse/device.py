"""Mount a file system of FUSE in this process's own namespaces, without fusermount3.

The process opens /dev/fuse after it has entered its user namespace: the kernel refuses a device
that was opened in another one (EINVAL).  The user has all rights over mounts there (fuse(4), Linux
4.18).
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.libc import printable
from sundog.base.kernel.mounts import (
    FSCONFIG_CMD_CREATE,
    FSCONFIG_SET_FLAG,
    FSCONFIG_SET_STRING,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    fsconfig,
    fsmount,
    fsopen,
)
from sundog.errors import FuseRefused, KernelError

FUSE_DEVICE = b"/dev/fuse"
# Reasons for which a machine has no FUSE for this user.
_FUSE_FAULTS = {
    errno.ENOENT: "/dev/fuse does not exist here",
    errno.EACCES: "this user may not open /dev/fuse",
    errno.EPERM: "something forbids this user to open or mount FUSE",
    errno.ENODEV: "the kernel has no FUSE",
    errno.ENXIO: "the kernel has no FUSE",
}
_FUSE_HINT = "unpack the image once, and run the directory: ch-convert {} DIR"


def mount_fuse(image: bytes, uid: int, gid: int) -> tuple[int, int]:
    """Return a device of FUSE, and a detached mount of its file system.

    The mount is read-only.  Only processes of this user and this group may use it, and the kernel
    checks permissions by the modes of the files; ``uid`` and ``gid`` are those of the process in
    its user namespace.  ``image`` is the file that it shows.  Raises FuseRefused.
    """
    try:
        device = os.open(FUSE_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise _no_fuse(image, error.errno or 0) from None
    try:
        context = fsopen(b"fuse")
        for key, value in (
            (b"source", b"sundog"),
            (b"fd", b"%d" % device),
            (b"rootmode", b"40000"),  # octal: S_IFDIR
            (b"user_id", b"%d" % uid),
            (b"group_id", b"%d" % gid),
        ):
            fsconfig(context, FSCONFIG_SET_STRING, key, value)
        for key in (b"default_permissions", b"ro"):
            fsconfig(context, FSCONFIG_SET_FLAG, key)
        fsconfig(context, FSCONFIG_CMD_CREATE)
        tree = fsmount(context, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
        os.close(context)
    except KernelError as error:
        raise _no_fuse(image, error.errno or 0) from None
    return device, tree


def _no_fuse(image: bytes, number: int) -> FuseRefused:
    """Return the error that says why the file ``image`` can't be shown."""
    shown = printable(image)
    cause = _FUSE_FAULTS.get(number, "FUSE can't be mounted")
    return FuseRefused(
        f"can't mount {shown}: {cause}: {os.strerror(number)}",
        _FUSE_HINT.format(shown),
        errno=number,
    )
