"""Capability sets as the kernel computes them: capabilities(7), security/commoncap.c.

A set is an int; bit n stands for capability n.
"""

from __future__ import annotations

from sundog.base.cpython import Struct
from sundog.base.kernel.process import prctl
from sundog.errors import KernelError

CAP_CHOWN = 1 << 0
CAP_DAC_OVERRIDE = 1 << 1
CAP_DAC_READ_SEARCH = 1 << 2
CAP_FOWNER = 1 << 3
CAP_FSETID = 1 << 4
CAP_KILL = 1 << 5
CAP_SETGID = 1 << 6
CAP_SETUID = 1 << 7
CAP_SETPCAP = 1 << 8
CAP_LINUX_IMMUTABLE = 1 << 9
CAP_NET_BIND_SERVICE = 1 << 10
CAP_NET_RAW = 1 << 13
CAP_IPC_LOCK = 1 << 14
CAP_IPC_OWNER = 1 << 15
CAP_SYS_MODULE = 1 << 16
CAP_SYS_CHROOT = 1 << 18
CAP_SYS_PTRACE = 1 << 19
CAP_SYS_ADMIN = 1 << 21
CAP_SYS_NICE = 1 << 23
CAP_SYS_RESOURCE = 1 << 24
CAP_SYS_TIME = 1 << 25
CAP_MKNOD = 1 << 27
CAP_LEASE = 1 << 28
CAP_SETFCAP = 1 << 31
_CAP_MAC_OVERRIDE = 1 << 32

# The capabilities that setfsuid(2) takes away and gives back.
FILE_SYSTEM_SET = (
    CAP_CHOWN
    | CAP_DAC_OVERRIDE
    | CAP_DAC_READ_SEARCH
    | CAP_FOWNER
    | CAP_FSETID
    | CAP_LINUX_IMMUTABLE
    | CAP_MKNOD
    | _CAP_MAC_OVERRIDE
)

_PR_CAPBSET_READ = 23  # linux/prctl.h
_CAPABILITY_BITS = 64

SECURITY_CAPABILITY = b"security.capability"
_VFS_CAP_REVISION_MASK = 0xFF000000
_VFS_CAP_FLAGS_EFFECTIVE = 0x000001
_VFS_CAP_REVISION_1, _VFS_CAP_REVISION_2, _VFS_CAP_REVISION_3 = 0x01000000, 0x02000000, 0x03000000
# magic, then permitted and inheritable, low words first.  Revision 3 adds the root user's ID, but
# the kernel leaves it out if the reader is that root.
_VFS_CAP_DATA_1 = Struct("<III")
_VFS_CAP_DATA_2 = Struct("<IIIII")


def all_capabilities() -> int:
    """Return the set of all capabilities that this kernel knows.

    A supervisor asks, too, when programs of the image have changed its /proc.
    """
    known, unknown = 0, _CAPABILITY_BITS
    while unknown - known > 1:
        middle = (known + unknown) // 2
        try:
            prctl(_PR_CAPBSET_READ, b"PR_CAPBSET_READ", middle)
            known = middle
        except KernelError:  # EINVAL
            unknown = middle
    return (1 << unknown) - 1


class FileCapabilities:
    """The capabilities that the attribute security.capability of a program grants."""

    __slots__ = ("effective", "inheritable", "permitted")

    def __init__(self, *, permitted: int, inheritable: int, effective: bool) -> None:
        self.permitted = permitted
        self.inheritable = inheritable
        self.effective = effective


def parse_file_capabilities(value: bytes) -> FileCapabilities | None:
    """Return the meaning of the attribute ``value``, or None if the value is invalid."""
    if len(value) < _VFS_CAP_DATA_1.size:
        return None
    magic, permitted, inheritable = _VFS_CAP_DATA_1.unpack_from(value)
    revision = magic & _VFS_CAP_REVISION_MASK
    if (
        revision in (_VFS_CAP_REVISION_2, _VFS_CAP_REVISION_3)
        and len(value) >= _VFS_CAP_DATA_2.size
    ):
        _, _, _, high_permitted, high_inheritable = _VFS_CAP_DATA_2.unpack_from(value)
        permitted |= high_permitted << 32
        inheritable |= high_inheritable << 32
    elif revision != _VFS_CAP_REVISION_1:
        return None
    return FileCapabilities(
        permitted=permitted,
        inheritable=inheritable,
        effective=bool(magic & _VFS_CAP_FLAGS_EFFECTIVE),
    )
