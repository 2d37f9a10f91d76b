"""Whether other nodes may have the same file system."""

import os

from sundog.kernel.refusal import mount_at

# File systems of one node that have no device number of their own, with their numbers in statfs(2).
OF_ONE_NODE = {
    "bcachefs": 0xCA451A4E,
    "btrfs": 0x9123683E,
    "overlay": 0x794C7630,
    "ramfs": 0x858458F6,
    "tmpfs": 0x01021994,
    "ubifs": 0x24051905,
    "zfs": 0x2FC12FC1,
}
# It lies over a directory, which is of this node if the engine was set up as usual.
OF_AN_ENGINE = "fuse.fuse-overlayfs"


def is_shared(path: bytes, status: os.stat_result) -> bool:
    """Tell whether other nodes may have the file system of ``path``: it is not known to be local.

    ``status`` is that of ``path``.  A file system on a device of this node costs no system call.
    """
    if os.major(status.st_dev):
        return False
    mount = mount_at(path)
    return mount is None or mount[2] not in (*OF_ONE_NODE, OF_AN_ENGINE)
