"""The records of members of an archive: what ``record.owners`` keeps of each."""

from __future__ import annotations

import os

from sundog.base.record.owners import DEVICE_KINDS, OwnerRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.layer.header import Member
    from sundog.image.layer.xattrs import Pairs


class MemberRecords:
    """Makes records of the members of one layer; equal ones are shared."""

    def __init__(self) -> None:
        self._shared: dict[tuple[str, int, int], OwnerRecord] = {}

    def of(self, member: Member, xattrs: Pairs) -> OwnerRecord | None:
        """Return the record of what the inode of ``member`` lacks: owner, device, ``xattrs``.

        None says that it lacks nothing.
        """
        kind, uid, gid = member.kind, member.uid, member.gid
        if xattrs or kind in DEVICE_KINDS:
            rdev = os.makedev(member.major, member.minor) if kind in DEVICE_KINDS else 0
            return OwnerRecord(kind, uid, gid, rdev=rdev, xattrs=xattrs)
        if not uid and not gid:
            return None
        record = self._shared.get((kind, uid, gid))
        if record is None:
            record = self._shared[kind, uid, gid] = OwnerRecord(kind, uid, gid)
        return record
