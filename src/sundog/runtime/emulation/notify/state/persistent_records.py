"""Records that outlive the run: from a state file, and into one (``record.inode_state``).

A state file knows inodes and no paths.  So these records have to know at the end what else the file
says about an inode: its mode, of which they hear at each change.  And they have to know that the
inode still exists, so they watch the inode of every record (``watches``).

Records that come from a file are many, and programs may never ask for most of these files.  Such an
inode gets its watch when one of its names goes.

The state file of fakeroot(1) has no marks of births.  Such a record waits until a program asks for
the file.  If the file has the right type, it is taken for the same file, as fakeroot does.
"""

from __future__ import annotations

from sundog.base.kernel.modes import MODE_MASK, S_IFBLK, S_IFCHR, S_IFDIR, S_IFMT, S_IFREG
from sundog.base.record.inode_state import InodeEntry
from sundog.runtime.emulation.notify.state.record import INODE_DECIDES, LISTED, Record
from sundog.runtime.emulation.notify.state.records import Records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sundog.base.record.inode_state import InodeKey
    from sundog.runtime.emulation.notify.state.files import Status

_NO_BIRTH_KNOWN = LISTED - 1  # as ``birth``: the record is from a state file without births
_DEVICE_TYPES = (S_IFCHR, S_IFBLK)


class PersistentRecords(Records):
    """The records of a run with a state file."""

    def __init__(self, entries: dict[InodeKey, InodeEntry], *, all_is_roots: bool = True) -> None:
        """Make records of what a state file says."""
        super().__init__(all_is_roots=all_is_roots)
        self._modes: dict[InodeKey, int] = {}
        self.follows_removals = bool(entries)
        for (device, inode), entry in entries.items():
            self._load(device, inode, entry)

    def limit_growth(self) -> None:
        """Begin to watch each inode that gets a record."""
        self.watched_from = 0

    def _load(self, device: int, inode: int, entry: InodeEntry) -> None:
        birth = entry.birth if entry.birth >= 0 else _NO_BIRTH_KNOWN
        record = Record(device, birth, self._share(entry.uid), self._share(entry.gid))
        kind = entry.mode & S_IFMT
        if kind in _DEVICE_TYPES:
            record.device_type, record.rdev = kind, entry.rdev
            self.devices = True
        record.permissions = entry.permissions
        if entry.xattrs:
            record.xattrs = dict(entry.xattrs)
            self.attributes = self.may_inherit = True
        if kind == S_IFDIR and entry.gid:
            self.may_inherit = True
        record.other = self.by_inode.get(inode)
        self.by_inode[inode] = record
        self._modes[device, inode] = self._share(entry.mode)

    def adopts(self, record: Record, status: Status) -> bool:
        """Take the file that ``status`` describes for that of a ``record`` without a birth.

        Returns False if the file has another type.
        """
        if record.birth != _NO_BIRTH_KNOWN:
            return False
        mode = self._modes.get((status.device, status.inode), 0)
        on_disk = S_IFREG if record.device_type else mode & S_IFMT
        if status.mode & S_IFMT != on_disk:
            return False
        record.birth = status.birth()
        if mode & MODE_MASK != status.mode & MODE_MASK:
            record.permissions = mode & MODE_MASK
        return True

    def expect_removal(self, status: Status) -> None:
        """Watch the inode that ``status`` describes, if it has a record: it may go with a name."""
        record = self.find(status)
        if record is not None:
            self._watch(status, record)

    def keep(self, status: Status, record: Record) -> None:
        """Enter a new or changed ``record``, as ``Records.keep`` does, with the inode's mode."""
        super().keep(status, record)
        key = status.device, status.inode
        if record.says_something(self.unrecorded_owner(status)):
            self._modes[key] = self._share(status.mode)
        else:
            self._modes.pop(key, None)

    def note_mode(self, status: Status, mode: int) -> None:
        """Hear that an inode gets the permissions ``mode``."""
        key = status.device, status.inode
        if key in self._modes:
            self._modes[key] = self._share(status.mode & S_IFMT | mode)

    def entries(self) -> Iterator[tuple[InodeKey, InodeEntry]]:
        """Yield what the state file is to say about each inode that has not gone."""
        for inode, record in self.watches.gone():
            self.remove(inode, record)
        for inode, record in self:
            mode = self._modes.get((record.device, inode))
            if mode is not None:
                yield (record.device, inode), _entry_of(record, mode)


def _entry_of(record: Record, mode: int) -> InodeEntry:
    """Return what a state file says about the inode of ``record``; the inode has ``mode``."""
    return InodeEntry(
        record.emulated_mode(mode),
        record.uid,
        record.gid,
        record.rdev,
        birth=-1 if record.birth == _NO_BIRTH_KNOWN else record.birth,
        permissions=-1 if record.permissions == INODE_DECIDES else record.permissions,
        xattrs=record.xattrs,
    )
