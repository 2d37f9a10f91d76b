"""A record: what real root would have made of one inode, where the inode itself differs."""

from __future__ import annotations

from sundog.base.kernel.modes import MODE_MASK, S_IFMT

ANY_BIRTH = -1  # as ``birth``: no other file can get the inode's number
LISTED = -2  # as ``birth``: like ANY_BIRTH; files that no call has met yet share the record
INODE_DECIDES = -1  # as ``permissions``


class Record:
    """The answers of stat(2) and getxattr(2) about one inode, where its own differ.

    device, birth   the file system's device number, and the mark of the inode's birth; with the
                    inode number they identify the inode
    uid, gid        the inode's owner and group
    device_type     S_IFCHR or S_IFBLK if the inode stands for a device, else 0; ``rdev`` is the
                    device's number
    permissions     the twelve mode bits, if the inode can't have them, or may lose them
    xattrs          attributes that the inode can't have
    other           the record of an inode with the same number on another file system
    """

    __slots__ = (
        "birth",
        "device",
        "device_type",
        "gid",
        "other",
        "permissions",
        "rdev",
        "uid",
        "xattrs",
    )

    def __init__(self, device: int, birth: int, uid: int, gid: int) -> None:
        self.device = device
        self.birth = birth
        self.uid = uid
        self.gid = gid
        self.device_type = 0
        self.rdev = 0
        self.permissions = INODE_DECIDES
        self.xattrs: dict[bytes, bytes] | None = None
        self.other: Record | None = None

    def emulated_mode(self, mode: int) -> int:
        """Return the mode of the file, given the ``mode`` of the inode."""
        if self.device_type:
            mode = mode & MODE_MASK | self.device_type
        if self.permissions != INODE_DECIDES:
            mode = mode & S_IFMT | self.permissions
        return mode

    def copy_from(self, other: Record) -> None:
        """Take over all that ``other`` says, but keep the identity of the inode."""
        self.uid = other.uid
        self.gid = other.gid
        self.device_type = other.device_type
        self.rdev = other.rdev
        self.permissions = other.permissions
        self.xattrs = None if other.xattrs is None else dict(other.xattrs)

    def says_something(self, owner: tuple[int, int]) -> bool:
        """Tell whether the file differs from one without a record, which is the ``owner``'s."""
        return bool(
            (self.uid, self.gid) != owner
            or self.device_type
            or self.permissions != INODE_DECIDES
            or self.xattrs
        )
