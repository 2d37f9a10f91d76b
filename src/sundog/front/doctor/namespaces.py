"""Each step to a container, tried by itself: namespaces, mounts, the change of root, the filter."""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.mounts import MOVE_MOUNT_F_EMPTY_PATH, move_mount
from sundog.base.kernel.namespaces import CLONE_NEWUSER, unshare, write_id_maps
from sundog.base.kernel.process import PR_SET_NO_NEW_PRIVS, set_no_new_privs
from sundog.base.kernel.refusal import LINUX_NEEDED
from sundog.errors import SundogError
from sundog.front.doctor.outcome import Check
from sundog.runtime.container.enter import (
    change_root,
    copy_tree,
    cover_root,
    enter_namespaces,
    lock_mounts,
    mount_scratch,
)
from sundog.runtime.container.features import try_seccomp


def _kernel() -> str:
    release = os.uname().release
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if numbers < LINUX_NEEDED:
        raise SundogError(
            f"Linux {release} is too old",
            f"Linux {'.'.join(map(str, LINUX_NEEDED))} or newer is needed",
        )
    return f"Linux {release} {os.uname().machine}"


def _proc() -> str:
    if not os.path.exists("/proc/self/status"):
        raise SundogError("/proc is not mounted here", "mount it: mount -t proc proc /proc")
    return ""


def _user_namespace() -> str:
    unshare(CLONE_NEWUSER)
    return ""


def _id_maps() -> str:
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER)
    write_id_maps(uid, gid, uid, gid)
    return ""


def _mount_namespace() -> str:
    _enter()
    return ""


def _tmpfs() -> str:
    _enter()
    mount_scratch()
    return ""


def _bind() -> str:
    _enter()
    scratch = mount_scratch()
    os.mkdir(b"bind", dir_fd=scratch)
    tree = copy_tree(b"/dev", writable=False)
    move_mount(tree, b"", scratch, b"bind", MOVE_MOUNT_F_EMPTY_PATH)
    try:
        os.mkdir(b"bind/sundog", dir_fd=scratch)
    except OSError as error:
        if error.errno == errno.EROFS:
            return ""
    raise SundogError("a read-only bind mount is writable")


def _pivot_root() -> str:
    _enter()
    tree = copy_tree(b"/", writable=False)
    mount_scratch()
    cover_root(tree)
    change_root(tree)
    if not os.statvfs(b"/").f_flag & os.ST_RDONLY:
        raise SundogError("pivot_root(2) did not change the root directory")
    return ""


def _locked_mounts() -> str:
    _enter()
    lock_mounts()
    return ""


def _no_new_privs() -> str:
    set_no_new_privs()
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        if "NoNewPrivs:\t1" not in file.read().split("\n"):
            raise SundogError(f"prctl({PR_SET_NO_NEW_PRIVS}) has no effect")
    return ""


def _seccomp() -> str:
    try_seccomp()
    os.chown(b"/", 1, 1)  # the filter answers this
    return ""


def _enter() -> None:
    enter_namespaces(os.geteuid(), os.getegid())


# In the order in which ch-run needs them: the first that fails explains the others.
STEPS = (
    Check("kernel", _kernel, is_required=True),
    Check("/proc", _proc, is_required=True),
    Check("user namespace", _user_namespace, is_required=True),
    Check("ID maps", _id_maps, is_required=True),
    Check("mount namespace", _mount_namespace, is_required=True),
    Check("tmpfs", _tmpfs, is_required=True),
    Check("bind mount", _bind, is_required=True),
    Check("pivot_root", _pivot_root, is_required=True),
    Check("second user namespace", _locked_mounts, is_required=True),
    Check("no_new_privs", _no_new_privs, is_required=True),
)
ROOT_EMULATION = (Check("seccomp filter (--force=seccomp)", _seccomp),)
