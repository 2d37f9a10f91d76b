"""The page by which the supervisor tells a fast path inside the tracees what it knows.

The library of the fast path (``native/fast_path``) is a file of the container's own.  A part of the
file is words and a set of inode numbers.  The supervisor has that part mapped, shared, and writes
it.  Each program that loads the library maps the file, too, and sees what the supervisor writes.
The container has no other way to the file than a read-only mount.

The set is a Bloom filter: a number that is not in it has no record.  The supervisor adds a number
before the record exists, so before the call is answered that makes the record.  The word SEQUENCE
is odd while a handler may make a record.  A program that finds it odd, or changed after its look,
asks the supervisor.

Behind the set is a table of what stat(2) shows of recorded files.  It has the records that were
made or shown last, and two places for each; a program that finds none asks the supervisor.  A file
that got the inode number of an earlier one has another birth, as in ``Records.find``.

The library has no other knowledge, so a program that can't load it gets the same answers, later.
"""

from __future__ import annotations

import errno
import os

from sundog.base.cpython import Array, Struct, sizeof
from sundog.base.kernel.libc import syscall
from sundog.base.kernel.modes import MODE_MASK, S_IFMT
from sundog.runtime.emulation.notify.state.record import INODE_DECIDES, Record
from sundog.runtime.emulation.notify.tracee.memory import Byte

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# The layout of the part, which begins with PAGE_MAGIC and a page of words.  native/fast_path/page.h
# has it, too; the numbers come from here.
PAGE_MAGIC = b"SUNDOG-FAST-PATH"
_STATE, _SEQUENCE, _DEVICE_COUNT = 0, 1, 2  # words of 32 bits, which follow the magic
DEVICES_PLACE = 256  # the place of the device numbers, which have 64 bits
DEVICE_LIMIT = 64
WORDS_SIZE = 4096
SET_BITS = 20  # the number of bits of the set is 2 to the power of this
_SET_END = WORDS_SIZE + (1 << SET_BITS) // 8
RECORD_BITS = 14  # the number of records of the table is 2 to the power of this
# Inode and birth; the lower half of device, user, group, and of a device's own number; the bits of
# the inode's mode that show, and the others; signs.
_RECORD = Struct("=QQIIIIHHI")
RECORD_SIZE = 40
SAYS_MODE = 1  # signs: the inode's mode is not the file's,
SAYS_ATTRIBUTES = 2  # or it lacks some extended attributes
PAGE_SIZE = _SET_END + RECORD_SIZE * (1 << RECORD_BITS)
# Two hashes of an inode number are the two upper groups of SET_BITS bits of its product with this,
# and the upper RECORD_BITS are the first of its places in the table; the second is beside that.
SET_FACTOR = 0x9E3779B97F4A7C15

# Bits of the word STATE.
SERVED = 1  # a supervisor answers, and leaves to the kernel what the other bits don't mention
HAS_USERS = 2  # a process may have another identity than root
HAS_LINKS = 4  # a change of a name may have to be followed
HAS_DEVICES = 8  # a file may stand for a device
MAY_INHERIT = 16  # a directory may pass something on to new files
HAS_LISTED = 32  # a file whose name changes may have to be looked at
HAS_ATTRIBUTES = 64  # a record may have extended attributes

_ALL_BITS, _WORD = (1 << 64) - 1, 0xFFFFFFFF
_RECORD_WORDS = RECORD_SIZE // 8
# mmap(2): its number by machine, and linux/mman.h.
_MMAP = {"x86_64": 9}
_PROT_READ, _PROT_WRITE, _MAP_SHARED = 1, 2, 1


class _Mapping(Array[Byte]):
    """The part of the file as memory."""

    _type_ = Byte
    _length_ = PAGE_SIZE


class SharedPage:
    """The part of the library's file that the supervisor writes."""

    __slots__ = (
        *("_bits", "_devices", "_inodes", "_known", "_records", "_served", "_state", "_words"),
    )

    def __init__(self, fd: int, offset: int) -> None:
        """Map the part of the file ``fd``, which begins at ``offset``.  Raises OSError."""
        protection = _PROT_READ | _PROT_WRITE
        number = _MMAP[os.uname().machine]
        found = syscall(number, 0, sizeof(_Mapping), protection, _MAP_SHARED, fd, offset)
        if -4096 < found < 0:
            raise OSError(-found, os.strerror(-found))
        view = memoryview(_Mapping.from_address(found)).cast("B")
        if view[: len(PAGE_MAGIC)] != PAGE_MAGIC:
            raise OSError(errno.EINVAL, "no library of the fast path")
        self._words = view[len(PAGE_MAGIC) : DEVICES_PLACE].cast("I")
        self._devices = view[DEVICES_PLACE : DEVICES_PLACE + 8 * DEVICE_LIMIT].cast("Q")
        self._bits = view[WORDS_SIZE:_SET_END]
        self._records = view[_SET_END:]
        self._inodes = self._records.cast("Q")
        self._served = SERVED
        self._state = 0
        self._known: frozenset[int] = frozenset()

    def begin(self) -> None:
        """Tell that from now on records may be made."""
        if not self._words[_SEQUENCE] & 1:
            self._words[_SEQUENCE] = (self._words[_SEQUENCE] + 1) & _WORD

    def end(self) -> None:
        """Tell that from now on the supervisor answers all calls itself."""
        self._served = 0

    def add(self, inode: int) -> None:
        """Tell that the inode number may get a record."""
        product = inode * SET_FACTOR & _ALL_BITS
        for shift in (64 - SET_BITS, 64 - 2 * SET_BITS):
            place = product >> shift & (1 << SET_BITS) - 1
            self._bits[place >> 3] |= 1 << (place & 7)

    def tell(self, inode: int, record: Record) -> None:
        """Tell what stat(2) shows of a file, once ``publish`` has told of a supervisor."""
        if not self._state or record.rdev > _WORD:
            self.forget(inode)
            return
        first, second = self._places(inode)
        inodes = self._inodes
        self.begin()
        place = second if inodes[second] == inode or inodes[first] not in (0, inode) else first
        kept, more, signs = 0xFFFF, 0, 0
        if record.device_type:
            kept, more, signs = MODE_MASK, record.device_type, SAYS_MODE
        if record.permissions != INODE_DECIDES:
            kept, more, signs = kept & S_IFMT, more | record.permissions, SAYS_MODE
        if record.xattrs:
            signs |= SAYS_ATTRIBUTES
        _RECORD.pack_into(
            *(self._records, 8 * place, inode, _ALL_BITS if record.birth < 0 else record.birth),
            *(record.device & _WORD, record.uid, record.gid, record.rdev & _WORD),
            *(kept, more, signs),
        )

    def knows(self, inode: int) -> bool:
        """Tell whether the table has a file of this number."""
        return inode in [self._inodes[place] for place in self._places(inode)]

    def forget(self, inode: int) -> None:
        """Tell nothing of a file any more."""
        inodes = self._inodes
        for place in self._places(inode):
            if inodes[place] == inode:
                self.begin()
                inodes[place] = 0

    def _places(self, inode: int) -> tuple[int, int]:
        """Return the two places of a number in the table."""
        place = (inode * SET_FACTOR & _ALL_BITS) >> (64 - RECORD_BITS)
        return place * _RECORD_WORDS, (place ^ 1) * _RECORD_WORDS

    def publish(self, state: int, others: set[int], *, has_users: bool) -> None:
        """Tell what is known now; it ends what ``begin`` began.

        ``state`` is what ``Records.signs`` says.  ``others`` are the numbers of devices that are
        no /proc.  ``has_users``: see HAS_USERS.
        """
        state |= self._served | (HAS_USERS if has_users else 0)
        words = self._words
        if others != self._known:
            self._tell_devices(others)
        if state != self._state:
            words[_STATE] = self._state = state
        if words[_SEQUENCE] & 1:
            words[_SEQUENCE] = (words[_SEQUENCE] + 1) & _WORD

    def _tell_devices(self, others: Iterable[int]) -> None:
        self._known = frozenset(others)
        self._words[_DEVICE_COUNT] = 0
        told = [device for device in self._known if device][:DEVICE_LIMIT]
        for place, device in enumerate(told):
            self._devices[place] = device
        self._words[_DEVICE_COUNT] = len(told)


class ToldNumbers(dict[int, Record]):
    """Records by inode number, of which a page hears before they are there."""

    def __init__(self, page: SharedPage) -> None:
        super().__init__()
        self._page = page

    def __setitem__(self, inode: int, record: Record) -> None:
        self._page.add(inode)
        super().__setitem__(inode, record)

    def setdefault(self, inode: int, record: Record) -> Record:
        """Do what dict.setdefault does."""
        self._page.add(inode)
        return super().setdefault(inode, record)

    def update(self, more: dict[int, Record]) -> None:  # type: ignore[override]
        """Do what dict.update does."""
        for inode in more:
            self._page.add(inode)
        super().update(more)
