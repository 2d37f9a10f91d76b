"""File systems that other nodes may have, too, by their types."""

from __future__ import annotations

import os
import sys

from sundog.base.kernel.libc import address, checked, libc_call
from sundog.base.kernel.refusal import mount_at

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
_FUSE = 0x65735546
# It lies over a directory, which is of this node if the engine was set up as usual.
_OF_AN_ENGINE = "fuse.fuse-overlayfs"
_STATFS_SIZE = 256  # bytes, more than struct statfs has anywhere


def is_shared(path: bytes, status: os.stat_result) -> bool:
    """Tell whether other nodes may have the file system of ``path``: it is not known to be local.

    ``status`` is that of ``path``.  A file system on a device of this node costs no system call.
    Raises KernelError.
    """
    if os.major(status.st_dev):
        return False
    number = _file_system_number(path)
    if number != _FUSE:
        return number not in OF_ONE_NODE.values()
    mount = mount_at(path)
    return mount is None or mount[2] != _OF_AN_ENGINE


def _file_system_number(path: bytes) -> int:
    """Return the number that statfs(2) has for the file system of ``path``; raise KernelError."""
    state = bytearray(_STATFS_SIZE)
    checked(libc_call("statfs", path, address(state)), "statfs", path)
    # The first field has 32 bits or more, and all machines with more are little-endian.
    return int.from_bytes(state[:4], sys.byteorder)
