"""Inode → what real root would have made of it.

The supervisor finds records by inode number.  A hard link or a rename does not change the inode, so
it needs no care.  When a program removes a file, another file may get the inode number; the mark of
the birth tells the two apart (``files``, ``nursery``).

When an overlay copies up a file with one link, the file keeps its inode number (``pins``), but not
the mark.  So the supervisor makes a new record after the copy-up.  A record that was loaded for a
lower layer matches any mark, because nothing frees the layer's inodes.  A new link to a copied-up
file has another number, that of the copy; both numbers lead to one record (``second_numbers``).

When an overlay copies up a file with several links, the name gets a new inode, and is no longer
linked with the other names.  It gets the record that the name had in the lower layer (``linked``),
unless the name means another file by now (``handlers.links``).

When a file is gone, its record goes, too (``watches``).  But the first records of a container, some
ten thousand, are not watched: most containers make no more, and a watch costs as much as a look at
the file.  Records with attributes can be large, so they are always watched.

A million records take less than 300 bytes each, as a test measures; slots and shared integers make
that possible.
"""

from __future__ import annotations

import sys

from sundog.base.kernel.modes import S_IFDIR, S_IFMT
from sundog.runtime.emulation.notify.state.acl import ACL_DEFAULT
from sundog.runtime.emulation.notify.state.nursery import Nursery
from sundog.runtime.emulation.notify.state.page import (
    HAS_ATTRIBUTES,
    HAS_DEVICES,
    HAS_LINKS,
    HAS_LISTED,
    MAY_INHERIT,
    ToldNumbers,
)
from sundog.runtime.emulation.notify.state.pins import NOT_THERE, Pins
from sundog.runtime.emulation.notify.state.record import ANY_BIRTH, LISTED, Record
from sundog.runtime.emulation.notify.state.watches import Watches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sundog.runtime.emulation.notify.state.files import Name, Status
    from sundog.runtime.emulation.notify.state.page import SharedPage
    from sundog.runtime.emulation.notify.state.volumes import Volumes

UNWATCHED = 1 << 15  # the records that a container makes before the next ones are watched
_LOOK_EVERY = 1 << 8  # after so many records, forget what is gone
_CALM_AFTER = 1 << 12  # if none of so many watched files goes, others will hardly go, either
_SELECTED = 1 << 4  # then one record of so many is watched
_NEVER = sys.maxsize
_SHARED_LIMIT = 1 << 12

ATTRIBUTE_BYTES_LIMIT = 1 << 26  # of all records: names and values of attributes


class Records:
    """All records of a container.

    by_inode    the first record of each inode number; other numbers have no record
    may_inherit a directory may pass its group or its default ACL on to new files
    attributes  a record has extended attributes
    devices     a record is about a device
    The last three never become false again; they only save work.
    nursery     keeps young inodes alive
    watches     tell which inodes are gone
    watched_from
                the number of records before further ones are watched; _NEVER at the start
    pins        keeps the numbers of inodes
    has_listed  files that may change share records; a call that may change one must ``find`` it
    linked      records of hard links in lower layers that no change has broken
    second_numbers
                the other number of a file that shows two
    follows_removals
                expect_removal must hear of each file whose name goes
    """

    follows_removals = False

    def __init__(
        self,
        *,
        all_is_roots: bool = True,
        volumes: Volumes | None = None,
        page: SharedPage | None = None,
    ) -> None:
        """Begin without records.

        ``page`` hears of each inode number before it has a record, and of what a record says.

        ``all_is_roots`` tells that each file without a record is root's, unless it is on one of the
        ``volumes``; else its ``Status`` tells.
        """
        self._all_is_roots = all_is_roots
        self._volumes = volumes
        self.by_inode: dict[int, Record] = {} if page is None else ToldNumbers(page)
        self._page = page
        self.may_inherit = volumes is not None  # what root makes on a volume has a record
        self.attributes = False
        self.devices = False
        self.nursery = Nursery()
        self.watches = Watches()
        self.watched_from = _NEVER
        self.pins = Pins()
        self.has_listed = False
        self.linked: dict[Name, Record] = {}
        self.second_numbers: dict[int, int] = {}
        self._shared: dict[int, int] = {}
        self._attribute_bytes = 0  # at most: what was recorded, and may be gone
        self._watched = 0
        self._patience = self._calm_from = _CALM_AFTER

    def limit_growth(self) -> None:
        """Begin to count records: from now on a file may be gone before the container ends."""
        self.watched_from = len(self.by_inode) + UNWATCHED

    def __iter__(self) -> Iterator[tuple[int, Record]]:
        """Yield pairs of inode number and record."""
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

    def signs(self) -> int:
        """Return the bits of a page's state that tell what records there may be."""
        return (
            (HAS_LINKS if self.linked or self.follows_removals else 0)
            | (HAS_DEVICES if self.devices else 0)
            | (MAY_INHERIT if self.may_inherit else 0)
            | (HAS_LISTED if self.has_listed else 0)
            | (HAS_ATTRIBUTES if self.attributes else 0)
        )

    def find(self, status: Status) -> Record | None:
        """Return the record of the file that ``status`` describes.

        Forgets the record of an earlier inode with the same number.
        """
        record = self.by_inode.get(status.inode)
        while record is not None:
            if record.device == status.device:
                if record.birth == LISTED:
                    return self._own(status, record)
                if (
                    record.birth == ANY_BIRTH
                    or record.birth == status.birth()
                    or self.adopts(record, status)
                ):
                    return record
                self.remove(status.inode, record)
                break
            record = record.other
        return self._inherited(status) if self.linked else None

    def show(self, status: Status) -> Record | None:
        """Return the record of a file, and let the page tell it to later calls."""
        record, page = self.find(status), self._page
        if record is not None and page is not None and not page.knows(status.inode):
            page.tell(status.inode, record)
        return record

    def _tell(self, inode: int, record: Record) -> None:
        """Let the page tell what a new or changed ``record`` says, by both of its numbers."""
        if self._page is not None:
            self._page.tell(inode, record)
            if inode in self.second_numbers:
                self._page.tell(self.second_numbers[inode], record)

    def adopts(self, _record: Record, _status: Status) -> bool:
        """Tell whether a record without a birth becomes a file's.  See ``persistent_records``."""
        return False

    def has_room(self, size: int) -> bool:
        """Tell whether ``size`` more bytes of attributes may be recorded, which then count."""
        self._attribute_bytes += size
        if self._attribute_bytes > ATTRIBUTE_BYTES_LIMIT:
            for inode, gone in self.watches.gone():
                self.remove(inode, gone)
            known = sum(size_of(record.xattrs) for _, record in self if record.xattrs)
            self._attribute_bytes = known + size
            if self._attribute_bytes > ATTRIBUTE_BYTES_LIMIT:
                self._attribute_bytes = known
                return False
        return True

    def note_mode(self, status: Status, mode: int) -> None:
        """Hear that an inode gets the permissions ``mode``.  See ``persistent_records``."""

    def expect_removal(self, status: Status) -> None:
        """Hear that a name of the file ``status`` may go.  See ``persistent_records``."""

    def _own(self, status: Status, shared: Record) -> Record:
        """Give a listed file a record of its own in place of the ``shared`` one; return it.

        From now on the file keeps its inode number, even if the caller's call copies it up.
        """
        record = Record(shared.device, ANY_BIRTH, shared.uid, shared.gid)
        record.copy_from(shared)
        first = self.by_inode[status.inode]
        if first is shared:
            self.by_inode[status.inode] = record
        else:
            while first.other is not None and first.other is not shared:
                first = first.other
            first.other = record
        if self.pins.upper >= 0:
            self.pins.hold(status.open())
        return record

    def _inherited(self, status: Status) -> Record | None:
        """Return a new record for the copy of a hard link, like the name's in the lower layer.

        Returns None for other files.
        """
        below = self.linked.pop(status.name(), None)
        if below is None:
            return None
        record = Record(status.device, status.birth(), below.uid, below.gid)
        record.copy_from(below)
        self._insert(status, record)
        return record

    def _insert(self, status: Status, record: Record) -> None:
        """Enter a new ``record``."""
        if record.birth != ANY_BIRTH:
            self.nursery.take(status)
        self._hold_copy(status)
        record.other = self.by_inode.get(status.inode)
        self.by_inode[status.inode] = record
        if status.inode in self.second_numbers:
            self.by_inode.setdefault(self.second_numbers[status.inode], record)

    def _hold_copy(self, status: Status) -> None:
        """Hold a copied-up file, or else know both of its numbers."""
        if self.pins.upper >= 0 and status.mode & S_IFMT != S_IFDIR:
            number = self.pins.hold_copy(status)
            if number != NOT_THERE:
                self.second_numbers[status.inode] = number
                self.second_numbers[number] = status.inode

    def _watch(self, status: Status, record: Record) -> None:
        """Watch the inode of ``record``; forget the records of inodes that are gone.

        While no inode goes, this watches only some, to learn when inodes begin to go.
        """
        self._watched += 1
        is_calm = self._watched > self._calm_from
        if is_calm and self._watched % _SELECTED and not record.xattrs:
            return
        gone = self.watches.add(status, record)
        if self._watched % _LOOK_EVERY == 0:
            gone += self.watches.gone()
        if gone:
            if is_calm:
                self._patience *= 2
            self._calm_from = self._watched + self._patience
        for inode, known in gone:
            self.remove(inode, known)

    def expect_link(self, status: Status) -> None:
        """Make the file that ``status`` describes and its next name lead to one record.

        Raises OSError.
        """
        if self.pins.upper < 0 or self.pins.number_above(status) == status.inode:
            return
        status = status.changed()
        number = self.pins.number_above(status)
        if number in (NOT_THERE, status.inode):
            return
        self.pins.hold_copy(status)
        self.second_numbers[status.inode] = number
        self.second_numbers[number] = status.inode
        record = self.find(status)
        if record is not None:
            record.birth = status.birth()  # the copy may be gone before the run ends
            self.by_inode.setdefault(number, record)
            self._tell(number, record)

    def make(self, status: Status, *, is_stable: bool = False) -> Record:
        """Return the file's record, or a new one, for which the caller calls ``keep``.

        ``is_stable`` tells that no other file gets the inode number while the container runs.
        """
        found = self.find(status)
        if found is not None:
            return found
        share = self._share
        return Record(
            share(status.device),
            ANY_BIRTH if is_stable else status.birth(),
            *self.unrecorded_owner(status),
        )

    def unrecorded_owner(self, status: Status) -> tuple[int, int]:
        """Return user and group of the file that ``status`` describes, if it has no record."""
        if self._volumes is not None:
            owner = self._volumes.owner(status)
            if owner is not None:
                return owner
        return (0, 0) if self._all_is_roots else (status.uid, status.gid)

    def _share(self, number: int) -> int:
        """Return the object for ``number`` that many records share."""
        if len(self._shared) >= _SHARED_LIMIT:
            self._shared.clear()  # a program makes up numbers
        return self._shared.setdefault(number, number)

    def renew(self, status: Status, known: Record | None) -> Record:
        """Return the file's record, like ``make``, after a change that may have copied the file up.

        ``known`` is the record that the file had before; its new inode gets the same.
        """
        record = self.make(status)
        if known is not None and record is not known:
            record.copy_from(known)
        return record

    def keep(self, status: Status, record: Record) -> None:
        """Enter a new or changed ``record``, or forget it if it says nothing."""
        present = self.find(status)
        if not record.says_something(self.unrecorded_owner(status)):
            if present is not None:
                self.remove(status.inode, record)
            return
        record.uid, record.gid = self._share(record.uid), self._share(record.gid)
        if present is None:
            self._insert(status, record)
        elif not self.pins.has_room():
            self._hold_copy(status)
            if status.inode in self.second_numbers:
                self.by_inode.setdefault(self.second_numbers[status.inode], record)
        xattrs = record.xattrs
        if (
            (present is None and len(self.by_inode) >= self.watched_from)
            or (xattrs and self.watched_from != _NEVER)
        ) and record.birth != ANY_BIRTH:
            self._watch(status, record)
        if status.mode & S_IFMT == S_IFDIR and (record.gid or (xattrs and ACL_DEFAULT in xattrs)):
            self.may_inherit = True
        self.attributes = self.attributes or bool(xattrs)
        self.devices = self.devices or bool(record.device_type)
        self._tell(status.inode, record)

    def remove(self, inode: int, record: Record) -> None:
        """Take ``record`` out of the chain of ``inode``, and out of the chain of its twin."""
        twin = self.second_numbers.get(inode, -1)
        if self._page is not None:
            self._page.forget(inode)
            self._page.forget(twin)
        if self.by_inode.get(twin) is record:
            del self.by_inode[twin]
        previous = self.by_inode.get(inode)
        if previous is None:
            return  # another call forgot it
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


def size_of(xattrs: dict[bytes, bytes]) -> int:
    """Return the number of bytes of attributes."""
    return sum(len(name) + len(value) for name, value in xattrs.items())
