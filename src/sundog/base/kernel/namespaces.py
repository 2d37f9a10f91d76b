"""Namespaces: unshare(2), setns(2) and the ID maps of user_namespaces(7)."""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import checked, libc_call
from sundog.base.kernel.numbers import IOC_NONE, IOC_READ

CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# Requests of ioctl_ns(2).
NS_GET_USERNS = IOC_NONE | 0xB701
NS_GET_PARENT = IOC_NONE | 0xB702
NS_GET_MNTNS_ID = IOC_READ | 0x8B705  # Linux 6.11

NAMESPACE_NAMES = (
    (CLONE_NEWUSER, "user"),
    (CLONE_NEWNS, "mount"),
    (CLONE_NEWPID, "pid"),
    (CLONE_NEWIPC, "ipc"),
    (CLONE_NEWUTS, "uts"),
    (CLONE_NEWNET, "net"),
    (CLONE_NEWCGROUP, "cgroup"),
    (CLONE_NEWTIME, "time"),
)


def unshare(flags: int) -> None:
    """Move the calling process into new namespaces of the kinds in ``flags`` (CLONE_NEW*).

    CLONE_NEWUSER fails with EINVAL while the process has threads; CLONE_NEWPID takes effect for
    the children only.
    """
    checked(libc_call("unshare", flags), "unshare", namespaces_subject(flags))


def setns(fd: int, flags: int) -> None:
    """Join the namespaces of ``flags`` that ``fd`` refers to: a namespace's file or a pidfd."""
    checked(libc_call("setns", fd, flags), "setns", namespaces_subject(flags))


def own_namespaces() -> tuple[int, int]:
    """Return descriptors of the calling process's user and mount namespace, to join in this order.

    Raises OSError where there is no /proc.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC
    return os.open(b"/proc/self/ns/user", flags), os.open(b"/proc/self/ns/mnt", flags)


def namespaces_subject(flags: int) -> bytes:
    """Name the namespaces that ``flags`` stand for, as in ``user+mount namespaces``."""
    names = [name for flag, name in NAMESPACE_NAMES if flags & flag]
    return ("+".join(names) + (" namespace" if len(names) == 1 else " namespaces")).encode()


def write_id_maps(uid: int, gid: int, outside_uid: int, outside_gid: int) -> None:
    """Map one uid and one gid into the calling process's new user namespace.

    Denies setgroups(2) before the gid, since the kernel demands that of an unprivileged process.
    The outside IDs must be the effective IDs that the process had before unshare.
    """
    _write_map(b"uid_map", b"%d %d 1\n" % (uid, outside_uid))
    _write_map(b"setgroups", b"deny\n")
    _write_map(b"gid_map", b"%d %d 1\n" % (gid, outside_gid))


def _write_map(name: bytes, text: bytes) -> None:
    """Write a file of user_namespaces(7) of this process, in one write(2) as the kernel demands."""
    path = b"/proc/self/" + name
    result = 0
    try:
        with Closing(os.open(path, os.O_WRONLY | os.O_CLOEXEC)) as fd:
            os.write(fd, text)
    except OSError as error:
        result = -(error.errno or 0)
    checked(result, "write", path)
