"""Mounts, by mount(2) and by the calls on file descriptors of Linux 5.2 to 5.12.

Paths are relative to the working directory or to ``dirfd``, as in the man pages.  The functions
return file descriptors that are closed on exec, as Python does.  A failure raises KernelError.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.libc import checked, libc_call, printable, syscall, u64_struct
from sundog.base.kernel.numbers import (
    FSCONFIG,
    FSMOUNT,
    FSOPEN,
    MOUNT_SETATTR,
    MOVE_MOUNT,
    OPEN_TREE,
    OPENAT2,
)

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000

MNT_FORCE = 0x1
MNT_DETACH = 0x2
UMOUNT_NOFOLLOW = 0x8

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_NO_AUTOMOUNT = 0x800
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

OPEN_TREE_CLONE = 0x1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC

MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_SYMLINKS = 0x10
MOVE_MOUNT_T_EMPTY_PATH = 0x40

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

FSOPEN_CLOEXEC = 0x1
FSMOUNT_CLOEXEC = 0x1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10
RESOLVE_CACHED = 0x20

# The number of tries of ``openat2``: a rename elsewhere can disturb a scoped resolution.
OPENAT2_ATTEMPTS = 100


def mount(
    source: bytes | None, target: bytes, fstype: bytes | None, flags: int, data: bytes | None
) -> None:
    """Mount ``source`` on ``target``, or change a mount: mount(2)."""
    what = fstype or source or b""
    action = f"mount {printable(what)} on {printable(target)}" if what else ""
    checked(libc_call("mount", source, target, fstype, flags, data), "mount", target, action)


def umount2(target: bytes, flags: int) -> None:
    """Unmount the topmost mount on ``target``: umount2(2)."""
    checked(libc_call("umount2", target, flags), "umount2", target)


def pivot_root(new: bytes, old: bytes) -> None:
    """Make ``new`` the root mount and put the old one on ``old``: pivot_root(2)."""
    checked(libc_call("pivot_root", new, old), "pivot_root", new)


def open_tree(dirfd: int, path: bytes, flags: int) -> int:
    """Return a file descriptor of a mount, or with OPEN_TREE_CLONE of a detached copy of it."""
    result = syscall(OPEN_TREE, dirfd, path, flags | _OPEN_TREE_CLOEXEC)
    return checked(result, "open_tree", path)


def move_mount(
    from_dirfd: int, from_path: bytes, to_dirfd: int, to_path: bytes, flags: int
) -> None:
    """Attach or move a mount: move_mount(2).

    Without MOVE_MOUNT_T_SYMLINKS the mount covers a symbolic link itself, not the link's target.
    """
    result = syscall(MOVE_MOUNT, from_dirfd, from_path, to_dirfd, to_path, flags)
    checked(result, "move_mount", to_path or to_dirfd)


def mount_setattr(dirfd: int, path: bytes, flags: int, attr_set: int) -> None:
    """Set MOUNT_ATTR_* of a mount, and with AT_RECURSIVE of all mounts below: mount_setattr(2).

    Unlike a remount, the call keeps all other flags, which a user namespace may not drop.
    """
    attr = u64_struct(attr_set, 0, 0, 0)
    result = syscall(MOUNT_SETATTR, dirfd, path, flags, attr, len(attr))
    checked(result, "mount_setattr", path or dirfd)


def fsopen(fstype: bytes) -> int:
    """Begin a new file system of the type ``fstype``; return its descriptor: fsopen(2)."""
    return checked(syscall(FSOPEN, fstype, FSOPEN_CLOEXEC), "fsopen", fstype)


def fsconfig(context: int, command: int, key: bytes | None = None, value: bytes = b"") -> None:
    """Set a parameter of a file system, or with FSCONFIG_CMD_CREATE make it: fsconfig(2).

    ``context`` is what ``fsopen`` returned.  With FSCONFIG_SET_STRING the kernel takes a ``value``
    of at most 255 bytes.
    """
    text = value if command == FSCONFIG_SET_STRING else None
    result = syscall(FSCONFIG, context, command, key, text, 0)
    checked(result, "fsconfig", value or key or b"file system")


def fsmount(context: int, attributes: int) -> int:
    """Return a detached mount of a file system that fsconfig(2) made: fsmount(2).

    ``attributes`` are MOUNT_ATTR_*.
    """
    return checked(syscall(FSMOUNT, context, FSMOUNT_CLOEXEC, attributes), "fsmount", context)


def openat2(dirfd: int, path: bytes, flags: int, resolve: int, mode: int = 0) -> int:
    """Open ``path`` within the bounds that ``resolve`` (RESOLVE_*) sets: openat2(2).

    ``mode`` must be 0 unless ``flags`` create a file.
    """
    how = u64_struct(flags | os.O_CLOEXEC, mode, resolve)
    result = -errno.EAGAIN
    for _ in range(OPENAT2_ATTEMPTS):
        result = syscall(OPENAT2, dirfd, path, how, len(how))
        if result not in (-errno.EAGAIN, -errno.EINTR):
            break
    return checked(result, "openat2", path)
