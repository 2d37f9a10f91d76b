"""Enter a container: its user and mount namespaces, and the directory that becomes its root.

There is one user namespace with one uid and one gid mapped, so no helper is needed
(user_namespaces(7)).  All mounts go on top of the host's "/".  Every machine has that directory,
and a mount there covers nothing: the process's own root stays below, and only the lookup of ".." in
it arrives at the topmost mount.  So Sundog needs neither the host's /tmp nor /srv nor an empty
directory.  Until ``change_root``, all of the host's paths stay unchanged.
"""

from __future__ import annotations

import errno
import os
import sys

from sundog.base.kernel.files import Closing
from sundog.base.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    MNT_DETACH,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MS_NODEV,
    MS_NOSUID,
    OPEN_TREE_CLONE,
    mount,
    mount_setattr,
    move_mount,
    open_tree,
    pivot_root,
    umount2,
)
from sundog.base.kernel.namespaces import CLONE_NEWNS, CLONE_NEWUSER, unshare, write_id_maps
from sundog.errors import KernelError
from sundog.runtime.container.paths import OPEN_DIRECTORY

SCRATCH_SIZE = b"1m"


def enter_namespaces(uid: int, gid: int, more: int = 0) -> None:
    """Move this process into a new user and a new mount namespace, and those of ``more``.

    Its effective IDs become ``uid`` and ``gid`` there.  Nothing can be mounted any more from file
    descriptors that were opened before, because they belong to the old mount namespace.
    """
    outside_uid, outside_gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | CLONE_NEWNS | more)
    write_id_maps(uid, gid, outside_uid, outside_gid)


def lock_mounts(more: int = 0) -> None:
    """Move this process into another user and mount namespace, below those of the mounts.

    It also enters new namespaces of ``more`` (CLONE_NEW*), and is root over them.  It keeps its
    IDs.  Its inherited mounts are one unit there: it can unmount none of them, and can make no
    read-only one writable (mount_namespaces(7), "Restrictions on mount namespaces").  Programs
    without capabilities do not need this, because they can do neither anyway.
    """
    enter_namespaces(os.geteuid(), os.getegid(), more)


def mount_scratch(size: bytes = SCRATCH_SIZE) -> int:
    """Mount a tmpfs that only this mount namespace sees; return its directory.

    ``size`` has the form of tmpfs(5): bytes with a suffix, or a percentage of the memory.
    """
    mount(b"sundog", b"/", b"tmpfs", MS_NOSUID | MS_NODEV, b"mode=755,size=" + size)
    return topmost_mount()


def copy_tree(path: bytes, *, writable: bool) -> int:
    """Return a detached copy of the mount of ``path`` and of all mounts below it."""
    tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | AT_RECURSIVE)
    if not writable:
        mount_setattr(tree, b"", AT_EMPTY_PATH | AT_RECURSIVE, MOUNT_ATTR_RDONLY)
    return tree


def rootless(path: bytes, *, writable: bool = True) -> int:
    """Return the directory ``path``, open, from which ".." leads nowhere.

    The supervisor works in it while it looks up names that programs of the image have made up.
    Raises KernelError.
    """
    with Closing(copy_tree(path, writable=writable)) as tree:
        return os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)


def cover_root(tree: int) -> None:
    """Attach a detached mount on top of all others at "/"."""
    move_mount(tree, b"", AT_FDCWD, b"/", MOVE_MOUNT_F_EMPTY_PATH)


def topmost_mount() -> int:
    """Return the root directory of the mount that lies on top of all others at "/"."""
    return os.open(b"/..", OPEN_DIRECTORY)


def forbid_imports() -> None:
    """Let this process import only modules that are built into the interpreter.

    If its root is a container's, any other module would come from the image.
    """
    sys.meta_path[:] = [
        finder for finder in sys.meta_path if finder.__module__ == "_frozen_importlib"
    ]


def change_root(directory: int) -> None:
    """Make ``directory``, the topmost mount, this process's root and working directory.

    The host's root goes out of reach, and so does the scratch tmpfs; mounts made from it remain.
    From then on, nothing can be imported.
    """
    forbid_imports()
    os.fchdir(directory)
    try:
        pivot_root(b".", b".")
    except KernelError as error:
        if error.errno != errno.EINVAL:
            raise
        # pivot_root(2) can't move the initial ramfs.  It stays below, out of reach.
        os.chroot(b".")
    else:
        # The scratch tmpfs is on the host's root, which is on the new root.
        umount2(b".", MNT_DETACH)
        umount2(b".", MNT_DETACH)
