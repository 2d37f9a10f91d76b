"""Enter a container: its user and mount namespaces, and the directory that becomes its root.

One user namespace with one uid and one gid mapped, so that no helper is needed
(user_namespaces(7)).  All mounts are made on top of the host's "/", which is there on every
machine and covers nothing: the process's own root stays below, and only the lookup of ".." in it
arrives at the topmost mount.  So neither the host's /tmp nor /srv nor an empty directory is needed,
and until ``change_root`` all of the host's paths stay as they are.

Floor 0.
"""

import errno
import os
import sys

from sundog.container.paths import OPEN_DIRECTORY
from sundog.errors import KernelError
from sundog.kernel.mounts import (
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
from sundog.kernel.namespaces import CLONE_NEWNS, CLONE_NEWUSER, unshare, write_id_maps

SCRATCH_SIZE = b"1m"


def enter_namespaces(uid: int, gid: int, more: int = 0) -> None:
    """Move this process into a new user and a new mount namespace, and those of ``more``.

    Its effective IDs become ``uid`` and ``gid`` there.  File descriptors opened before cannot be
    mounted from any more, because they belong to the old mount namespace.
    """
    outside_uid, outside_gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | CLONE_NEWNS | more)
    write_id_maps(uid, gid, outside_uid, outside_gid)


def lock_mounts(more: int = 0) -> None:
    """Move this process into another user and mount namespace, below those where all is mounted.

    And into those of ``more`` (CLONE_NEW*), over which it is root, then.
    There it has the same IDs, and what it has inherited of mounts is one whole: it can unmount none
    of them, and make none writable that is read-only (mount_namespaces(7), "Restrictions on mount
    namespaces").  What is not needed by programs without capabilities, which can do neither anyway.
    """
    enter_namespaces(os.geteuid(), os.getegid(), more)


def mount_scratch(size: bytes = SCRATCH_SIZE) -> int:
    """Mount a tmpfs that this mount namespace alone sees; return its directory.

    ``size`` is that of tmpfs(5): bytes with a suffix, or a percentage of the memory.
    """
    mount(b"sundog", b"/", b"tmpfs", MS_NOSUID | MS_NODEV, b"mode=755,size=" + size)
    return topmost_mount()


def copy_tree(path: bytes, *, writable: bool) -> int:
    """Return a detached copy of the mount of ``path`` and of all below, to be attached later."""
    tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | AT_RECURSIVE)
    if not writable:
        mount_setattr(tree, b"", AT_EMPTY_PATH | AT_RECURSIVE, MOUNT_ATTR_RDONLY)
    return tree


def cover_root(tree: int) -> None:
    """Attach a detached mount on top of all others at "/"."""
    move_mount(tree, b"", AT_FDCWD, b"/", MOVE_MOUNT_F_EMPTY_PATH)


def topmost_mount() -> int:
    """Return the root directory of the mount that lies on top of all others at "/"."""
    return os.open(b"/..", OPEN_DIRECTORY)


def forbid_imports() -> None:
    """Let this process find no module any more but those that are built into the interpreter.

    Where its root is a container's, a module would come from the image.
    """
    sys.meta_path[:] = [
        finder for finder in sys.meta_path if finder.__module__ == "_frozen_importlib"
    ]


def change_root(directory: int) -> None:
    """Make ``directory``, the topmost mount, this process's root and working directory.

    The host's goes out of reach, and so does the scratch tmpfs; what was mounted from it remains.
    Nothing can be imported from then on.
    """
    forbid_imports()
    os.fchdir(directory)
    try:
        pivot_root(b".", b".")
    except KernelError as error:
        if error.errno != errno.EINVAL:
            raise
        # The initial ramfs cannot be moved: pivot_root(2).  It stays below, out of reach.
        os.chroot(b".")
    else:
        # The scratch tmpfs lies on the host's root, which lies on the new one.
        umount2(b".", MNT_DETACH)
        umount2(b".", MNT_DETACH)
