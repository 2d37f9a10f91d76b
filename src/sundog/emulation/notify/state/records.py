"""Inode → what real root would have made of it.

Records are found by inode number.  A hard link and a rename leave the inode alone, so they need no
care.  A file that was removed and whose inode number went to another is told by the mark of its
birth (``files``, ``nursery``).  An overlay keeps the inode number of a file with one link when it
copies it up (``pins``), but not that mark: so what a run records is recorded after the copy-up, and
records loaded for lower layers, whose inodes are never freed, match any mark.  A further link to
such a file has another number, that of the copy: the record is found by both (``twins``).  A file
of several links below is
another inode after the copy-up, and no longer linked with the rest: it gets the record that its
name had below (``linked``), unless that name is another file's by now (``handlers.links``).

The record of a file that is gone goes too (``watches``).  But first a container makes some thousand
records that are not watched: most make no more, and a watch costs as much as a look at the file.
Those with attributes can be large, and always are.

A million records take less than 300 bytes each, as a test measures: hence slots and shared
integers.
"""

import sys

from sundog.emulation.notify.state.acl import ACL_DEFAULT
from sundog.emulation.notify.state.nursery import Nursery
from sundog.emulation.notify.state.pins import NOT_THERE, Pins
from sundog.emulation.notify.state.watches import Watches
from sundog.kernel.modes import MODE_MASK, S_IFDIR, S_IFMT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sundog.emulation.notify.state.files import Name, Status

UNWATCHED = 1 << 15  # so many records a container makes before the next ones are watched
LOOK_EVERY = 1 << 8  # watched records: as often what is gone is forgotten
NEVER = sys.maxsize
MAX_SHARED = 1 << 12

ANY_BIRTH = -1  # as ``birth``: the inode's number is not given to another file
INODE_DECIDES = -1  # as ``permissions``


class Record:
    """What stat(2) and getxattr(2) say about one inode, where the inode says something else.

    device, birth   the file system's device number, and the mark of the inode's birth: with the
                    inode number they identify the inode
    uid, gid        its owner and group
    device_type     S_IFCHR or S_IFBLK if a device is emulated, else 0; ``rdev`` is its number
    permissions     the twelve mode bits, if the inode can't have them, or may lose them
    xattrs          attributes that the inode can't carry
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
        """Return the mode that the file has, if the inode's is ``mode``."""
        if self.device_type:
            mode = mode & MODE_MASK | self.device_type
        if self.permissions != INODE_DECIDES:
            mode = mode & S_IFMT | self.permissions
        return mode

    def copy_from(self, other: "Record") -> None:
        """Take over all that ``other`` says, but not which inode it is about."""
        self.uid = other.uid
        self.gid = other.gid
        self.device_type = other.device_type
        self.rdev = other.rdev
        self.permissions = other.permissions
        self.xattrs = None if other.xattrs is None else dict(other.xattrs)

    def says_something(self, status: "Status") -> bool:
        """Tell whether the record differs from the inode that ``status`` describes."""
        return bool(
            (self.uid, self.gid) != (status.uid, status.gid)
            or self.device_type
            or self.permissions != INODE_DECIDES
            or self.xattrs
        )


class Records:
    """All records of a container.

    by_inode    the first record of each inode number: a number that is not in here has none
    bequests    some directory may pass its group or its default ACL on to what is made in it
    attributes  some record has extended attributes
    devices     some record is a device
    The three before never become false again; they only spare work.
    nursery     keeps young inodes from being freed
    watches     tell which inodes are gone
    watched_from
                how many records there are before further ones are watched; NEVER at the start
    pins        keeps the numbers of inodes
    linked      records of hard links in lower layers that no change has broken
    twins       the other number of a file that shows two
    """

    def __init__(self) -> None:
        self.by_inode: dict[int, Record] = {}
        self.bequests = False
        self.attributes = False
        self.devices = False
        self.nursery = Nursery()
        self.watches = Watches()
        self.watched_from = NEVER
        self.pins = Pins()
        self.linked: dict[Name, Record] = {}
        self.twins: dict[int, int] = {}
        self._shared: dict[int, int] = {}
        self._watched = 0

    def limit_growth(self) -> None:
        """Begin to count: what is recorded from now on may be gone before the container is."""
        self.watched_from = len(self.by_inode) + UNWATCHED

    def __iter__(self) -> "Iterator[tuple[int, Record]]":
        """Return pairs of inode number and record."""
        for inode, first in self.by_inode.items():
            record: Record | None = first
            while record is not None:
                yield inode, record
                record = record.other

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def is_empty(self) -> bool:
        """Tell whether there is no record of any file."""
        return not self.by_inode and not self.linked

    def find(self, status: "Status") -> Record | None:
        """Return the record of the file that ``status`` describes.

        Forgets the record of an inode that was there before under the same number.
        """
        record = self.by_inode.get(status.inode)
        while record is not None:
            if record.device == status.device:
                if record.birth == ANY_BIRTH or record.birth == status.birth():
                    return record
                self._remove(status.inode, record)
                break
            record = record.other
        return self._inherited(status) if self.linked else None

    def _inherited(self, status: "Status") -> Record | None:
        """Return a new record for the copy of a hard link, like its name's below; else None."""
        below = self.linked.pop(status.name(), None)
        if below is None:
            return None
        record = Record(status.device, status.birth(), below.uid, below.gid)
        record.copy_from(below)
        self._insert(status, record)
        return record

    def _insert(self, status: "Status", record: Record) -> None:
        """Put a new ``record`` in its place."""
        if record.birth != ANY_BIRTH:
            self.nursery.take(status)
        if self.pins.upper >= 0 and status.mode & S_IFMT != S_IFDIR:
            self.pins.hold_copy(status)
        record.other = self.by_inode.get(status.inode)
        self.by_inode[status.inode] = record
        if status.inode in self.twins:
            self.by_inode.setdefault(self.twins[status.inode], record)

    def _watch(self, status: "Status", record: Record) -> None:
        """Have ``record`` forgotten when its inode is gone; forget what is."""
        gone = self.watches.add(status, record)
        self._watched += 1
        if self._watched % LOOK_EVERY == 0:
            gone += self.watches.gone()
        for inode, known in gone:
            self._remove(inode, known)

    def expect_link(self, status: "Status") -> None:
        """Have the file that ``status`` describes, and its next name, lead to one record.

        Raises OSError.
        """
        if self.pins.upper < 0 or self.pins.number_above(status) == status.inode:
            return
        status = status.changed()
        number = self.pins.number_above(status)
        if number in (NOT_THERE, status.inode):
            return
        self.pins.hold_copy(status)
        self.twins[status.inode] = number
        self.twins[number] = status.inode
        record = self.find(status)
        if record is not None:
            record.birth = status.birth()  # the copy may be gone before the run is over
            self.by_inode.setdefault(number, record)

    def make(self, status: "Status", *, is_stable: bool = False) -> Record:
        """Return the file's record, or a new one that ``keep`` has to be called for.

        ``is_stable``: while the container runs, no other file gets the inode number.
        """
        found = self.find(status)
        if found is not None:
            return found
        share = self._share
        return Record(
            share(status.device),
            ANY_BIRTH if is_stable else status.birth(),
            share(status.uid),
            share(status.gid),
        )

    def _share(self, number: int) -> int:
        """Return the one object that stands for ``number`` in many records."""
        if len(self._shared) >= MAX_SHARED:
            self._shared.clear()  # a program makes them up
        return self._shared.setdefault(number, number)

    def renew(self, status: "Status", known: Record | None) -> Record:
        """Do as ``make`` for a file that a change may have copied up, and so made another inode.

        ``known`` is the record that it had before.
        """
        record = self.make(status)
        if known is not None and record is not known:
            record.copy_from(known)
        return record

    def keep(self, status: "Status", record: Record) -> None:
        """Put a new or changed ``record`` in its place, or forget it if it says nothing."""
        present = self.find(status)
        if not record.says_something(status):
            if present is not None:
                self._remove(status.inode, record)
            return
        record.uid, record.gid = self._share(record.uid), self._share(record.gid)
        if present is None:
            self._insert(status, record)
        xattrs = record.xattrs
        if (
            (present is None and len(self.by_inode) >= self.watched_from)
            or (xattrs and self.watched_from != NEVER)
        ) and record.birth != ANY_BIRTH:
            self._watch(status, record)
        if status.mode & S_IFMT == S_IFDIR and (record.gid or (xattrs and ACL_DEFAULT in xattrs)):
            self.bequests = True
        self.attributes = self.attributes or bool(xattrs)
        self.devices = self.devices or bool(record.device_type)

    def _remove(self, inode: int, record: Record) -> None:
        """Take ``record`` out of the chain of ``inode``, and of its twin."""
        twin = self.twins.get(inode, -1)
        if self.by_inode.get(twin) is record:
            del self.by_inode[twin]
        previous = self.by_inode.get(inode)
        if previous is None:
            return  # forgotten before
        if previous is record:
            if record.other is None:
                del self.by_inode[inode]
            else:
                self.by_inode[inode] = record.other
            return
        while previous.other is not None and previous.other is not record:
            previous = previous.other
        if previous.other is record:
            previous.other = record.other
