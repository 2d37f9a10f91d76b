"""Enter a container: its user and mount namespaces, and its root file system.

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
    MS_RDONLY,
    OPEN_TREE_CLONE,
    mount,
    mount_setattr,
    move_mount,
    open_tree,
    pivot_root,
    umount2,
)
from sundog.kernel.namespaces import CLONE_NEWNS, CLONE_NEWUSER, unshare, write_id_maps
from sundog.kernel.overlay import overlay_data
from sundog.launcher.mountpoint import reserve_mount_point
from sundog.launcher.paths import OPEN_DIRECTORY
from sundog.launcher.root import DirectoryRoot, OverlayRoot

SCRATCH_SIZE = b"1m"

OVERLAY_HINT = (
    "for -W the image must be on a file system that can be overlaid, "
    "and nothing may be mounted inside it"
)


def enter_namespaces(uid: int, gid: int, more: int = 0) -> None:
    """Move this process into a new user and a new mount namespace, and those of ``more``.

    Its effective IDs become ``uid`` and ``gid`` there.  File descriptors opened before cannot be
    mounted from any more, because they belong to the old mount namespace.
    """
    outside_uid, outside_gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | CLONE_NEWNS | more)
    write_id_maps(uid, gid, outside_uid, outside_gid)


def lock_mounts() -> None:
    """Move this process into another user and mount namespace, below those where all is mounted.

    There it has the same IDs, and what it has inherited of mounts is one whole: it can unmount none
    of them, and make none writable that is read-only (mount_namespaces(7), "Restrictions on mount
    namespaces").  What is not needed by programs without capabilities, which can do neither anyway.
    """
    enter_namespaces(os.geteuid(), os.getegid())


def mount_scratch(size: bytes = SCRATCH_SIZE) -> int:
    """Mount a tmpfs that this mount namespace alone sees; return its directory.

    ``size`` is that of tmpfs(5): bytes with a suffix, or a percentage of the memory.
    """
    mount(b"sundog", b"/", b"tmpfs", MS_NOSUID | MS_NODEV, b"mode=755,size=" + size)
    return topmost_mount()


def mount_root(root: DirectoryRoot | OverlayRoot, *, writable: bool = False) -> int:
    """Mount a root file system; return its directory.

    An overlay without an upper is read-only, and a directory is unless it is to be ``writable``:
    with all mounts below it.  The binds of a DirectoryRoot are the plan's business.  Changes the
    working directory.
    """
    if isinstance(root, DirectoryRoot):
        tree = copy_tree(root.path, writable=writable)
        cover_root(tree)
        return tree
    return mount_overlay(root)


def mount_overlay(root: OverlayRoot) -> int:
    """Mount layers on top of all else at "/"; return the directory.

    The working directory is then the base.  Raises KernelError, and OSError if there is no base.
    """
    os.chdir(root.base)
    # xino: inode numbers stay unique when the upper is on another file system.
    xino = root.upper is not None
    data = overlay_data(root.lowers, root.upper, root.work, volatile=root.volatile, xino=xino)
    mount(b"sundog", b"/", b"overlay", 0 if root.upper else MS_RDONLY, data)
    return topmost_mount()


def mount_overlaid(
    root: DirectoryRoot | OverlayRoot, scratch: int, mount_points: list[tuple[bytes, bool]]
) -> int:
    """Mount ``root`` below an upper in the ``scratch`` tmpfs; return the directory.

    The layers of an OverlayRoot are this user's own, where mount points can be made later; in a
    directory they may be not, so ``mount_points`` (path, whether a directory) are made in the upper
    now, as far as they are missing.  Changes the working directory.
    """
    for name in (b"upper", b"work"):
        os.mkdir(name, dir_fd=scratch)
    directory = b"/proc/self/fd/%d/" % scratch
    upper, work = directory + b"upper", directory + b"work"
    if isinstance(root, DirectoryRoot):
        base, lowers = b"/", [root.path]
        lower_fd, upper_fd = os.open(root.path, OPEN_DIRECTORY), os.open(upper, OPEN_DIRECTORY)
        for path, is_directory in dict.fromkeys(mount_points):  # a bind may be named twice
            reserve_mount_point(path, lower_fd, upper_fd, is_directory=is_directory)
        # By a link to /proc/self/fd the image could have the command start above its root.
        os.close(lower_fd)
        os.close(upper_fd)
    else:
        base, lowers = root.base, root.lowers
    os.chdir(base)
    os.chmod(upper, os.stat(lowers[0]).st_mode & 0o7777)
    try:
        return mount_overlay(OverlayRoot(base, lowers, upper, work, volatile=True))
    except KernelError as error:
        if error.errno == errno.EINVAL:
            error.hint = OVERLAY_HINT
        raise


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
