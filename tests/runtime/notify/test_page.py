"""The table of records in the page of the fast path."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from sundog.base.cpython import Struct
from sundog.base.kernel.files import Closing
from sundog.base.kernel.modes import S_IFCHR
from sundog.runtime.emulation.notify.seccomp.fast_path import MACHINES
from sundog.runtime.emulation.notify.state.page import (
    PAGE_MAGIC,
    PAGE_SIZE,
    RECORD_BITS,
    RECORD_SIZE,
    SAYS_ATTRIBUTES,
    SAYS_MODE,
    SharedPage,
)
from sundog.runtime.emulation.notify.state.record import ANY_BIRTH, LISTED, Record

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    os.uname().machine not in MACHINES, reason="the machine has no fast path"
)

ROOM = 1 << RECORD_BITS
RECORD = Struct("=QQIIIIHHI")
PLAIN = 0xFFFF, 0, 0  # the bits of the inode's mode that show, the others, signs


class Told:
    """A page, and what a program reads of it."""

    def __init__(self, file: int) -> None:
        self._file = file
        self.page = SharedPage(file, 0)
        self.publish()

    def publish(self) -> None:
        self.page.publish(0, set(), has_users=False)

    def is_odd(self) -> bool:
        return bool(os.pread(self._file, 1, len(PAGE_MAGIC) + 4)[0] & 1)

    def records(self) -> dict[int, tuple[int, ...]]:
        """Return what the table says, by inode number."""
        table = os.pread(self._file, ROOM * RECORD_SIZE, PAGE_SIZE - ROOM * RECORD_SIZE)
        found = [RECORD.unpack_from(table, place * RECORD_SIZE) for place in range(ROOM)]
        inodes = [inode for inode, *_ in found if inode]
        assert len(inodes) == len(set(inodes)), "two records of one number"
        return {inode: tuple(rest) for inode, *rest in found if inode}


@pytest.fixture
def told() -> Iterator[Told]:
    with Closing(os.memfd_create("page", os.MFD_CLOEXEC)) as file:
        os.truncate(file, PAGE_SIZE)
        os.pwrite(file, PAGE_MAGIC, 0)
        yield Told(file)


def test_a_full_table_forgets_and_is_never_wrong(told: Told) -> None:
    order = random.Random(24)
    known: dict[int, int] = {}
    for _ in range(3 * ROOM):
        inode, uid = order.randrange(1, 2 * ROOM), order.randrange(1 << 32)
        if order.random() < 0.1:
            told.page.forget(inode)
            known.pop(inode, None)
        else:
            told.page.tell(inode, Record(8, 77, uid, 6))
            known[inode] = uid
    found = told.records()
    assert len(found) > 0.7 * ROOM
    assert found == {inode: (77, 8, known[inode], 6, 0, *PLAIN) for inode in found}
    assert all(told.page.knows(inode) == (inode in found) for inode in range(1, 2 * ROOM))


def test_numbers_in_a_row_find_a_place(told: Told) -> None:
    """As those of files that are made one after the other."""
    for inode in range(1000, 1000 + ROOM // 2):
        told.page.tell(inode, Record(8, 77, 5, 6))
    assert len(told.records()) > 0.99 * ROOM // 2


def test_a_program_sees_no_half_of_a_change(told: Told) -> None:
    assert not told.is_odd()
    told.page.tell(3, Record(8, 77, 5, 6))
    assert told.is_odd()
    told.publish()
    assert not told.is_odd()
    told.page.forget(3)
    assert told.is_odd()


def test_a_record_says_what_stat_shows(told: Told) -> None:
    device, kept, both = (Record(8, birth, 5, 6) for birth in (ANY_BIRTH, LISTED, 77))
    for record in (device, both):
        record.device_type, record.rdev = S_IFCHR, os.makedev(1, 3)
    for record in (kept, both):
        record.permissions = 0o4755
    both.xattrs = {b"user.a": b""}
    for inode, record in enumerate((device, kept, both), start=1):
        told.page.tell(inode, record)
    anything = (1 << 64) - 1
    assert told.records() == {
        1: (anything, 8, 5, 6, 0x103, 0o7777, S_IFCHR, SAYS_MODE),
        2: (anything, 8, 5, 6, 0, 0o170000, 0o4755, SAYS_MODE),
        3: (77, 8, 5, 6, 0x103, 0, S_IFCHR | 0o4755, SAYS_MODE | SAYS_ATTRIBUTES),
    }
    device.rdev = 1 << 32
    told.page.tell(1, device)
    assert 1 not in told.records()
