"""The structures and arguments of 32-bit programs, without a kernel that has them."""

from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.runtime.emulation.notify.handlers.forms import SOCKET_CALLS, IpcCall, SocketCall
from sundog.runtime.emulation.notify.handlers.narrow import NarrowStatHandlers, wide_id, widened
from sundog.runtime.emulation.notify.identity.credentials import UNCHANGED
from sundog.runtime.emulation.notify.tracee.abi import NOTIFY_I386, NOTIFY_S390X
from sundog.runtime.emulation.notify.tracee.call import KernelAnswers
from sundog.runtime.emulation.notify.tracee.narrow import (
    DIRENT64,
    NARROW_DIRENT,
    OLD_STAT,
    SHORT_STAT,
    STAT64,
    STATX,
    StatForm,
    narrow_entries,
    narrow_offsets,
    new_device,
    short_id,
)

if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.abi import NotifyAbi
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler

LARGE = 1 << 32


def statx(*, links: int = 3, inode: int = 77, size: int = 4711) -> bytes:
    """Return a struct statx in which every other field has a value of its own."""
    times = [1, 2, 3, 4, 5, 6, 7, 8]  # access, birth, change, modification
    head = [0x7FF, 512, 0, links, 70000, 6, 0o100644, inode, size, 8, 0]
    return STATX.pack(*head, *times, 200, 70000, 8, 1)


def test_stat64() -> None:
    packed = STAT64.packed(statx(inode=LARGE + 5, size=LARGE + 6))
    rdev = os.makedev(200, 70000)
    assert struct.unpack("=Q4xIIIIIQ4xqIQ6IQ", packed) == (
        *(os.makedev(8, 1), 5, 0o100644, 3, 70000, 6, rdev, LARGE + 6, 512, 8),
        *(1, 2, 7, 8, 5, 6, LARGE + 5),
    )


def test_stat_with_short_ids() -> None:
    members = struct.unpack("=II4HI3I6I8x", SHORT_STAT.packed(statx()))
    assert members[:7] == (0x801, 77, 0o100644, 3, 65534, 6, new_device(200, 70000))
    assert members[7:] == (4711, 512, 8, 1, 2, 7, 8, 5, 6)


def test_the_oldest_stat() -> None:
    members = struct.unpack("=7H2x4I", OLD_STAT.packed(statx()))
    assert members[:6] == (0x801, 77, 0o100644, 3, 65534, 6)
    assert members[7:] == (4711, 1, 7, 5)


@pytest.mark.parametrize(
    ("form", "limits"),
    [
        (SHORT_STAT, {"inode": 0xFFFFFFFF, "links": 0xFFFF, "size": 0x7FFFFFFF}),
        (OLD_STAT, {"inode": 0xFFFF, "links": 0xFFFF}),
    ],
)
def test_the_kernel_says_what_does_not_fit(form: StatForm, limits: dict[str, int]) -> None:
    for field, largest in limits.items():
        form.packed(statx(**{field: largest}))
        with pytest.raises(KernelAnswers):
            form.packed(statx(**{field: largest + 1}))


@given(st.integers(0, 4095), st.integers(0, (1 << 20) - 1))
def test_devices(major: int, minor: int) -> None:
    assert new_device(major, minor) == os.makedev(major, minor)


NAMES = st.binary(min_size=1, max_size=255).filter(lambda name: b"\0" not in name)
ENTRIES = st.lists(
    st.tuples(st.integers(1, LARGE - 1), st.integers(0, (1 << 63) - 1), st.integers(0, 15), NAMES)
)


@given(ENTRIES)
def test_entries_of_directories(entries: list[tuple[int, int, int, bytes]]) -> None:
    wide = b""
    for inode, offset, kind, name in entries:
        size = (DIRENT64.size + len(name) + 1 + 7) & ~7
        wide += (DIRENT64.pack(inode, offset, size, kind) + name).ljust(size, b"\0")
    narrow = narrow_entries(wide)
    assert len(narrow) <= len(wide)
    found, start = [], 0
    while start < len(narrow):
        inode, offset, size = NARROW_DIRENT.unpack_from(narrow, start)
        name = narrow[start + NARROW_DIRENT.size : start + size - 1].partition(b"\0")[0]
        found.append((inode, offset, narrow[start + size - 1], name))
        start += size
        assert start % 4 == 0
    shortened = [
        (inode, offset if offset < 1 << 31 else offset >> 32, kind, name)
        for inode, offset, kind, name in entries
    ]
    assert found == shortened
    assert narrow_entries(narrow_offsets(wide)) == narrow


def test_an_inode_number_that_is_too_long() -> None:
    """The descriptor is past the entries by now, so the kernel would leave them out."""
    entry = DIRENT64.pack(LARGE, 1, 24, 8) + b"name\0"
    with pytest.raises(OverflowError):
        narrow_entries(entry)
    handlers = object.__new__(NarrowStatHandlers)  # this answer needs no state
    assert handlers.write_entries(1, 4096, entry, "getdents") == -errno.EOVERFLOW


def test_short_ids() -> None:
    assert [wide_id(value) for value in (0, 65534, 65535, 0x1FFFF, 0x10005)] == [
        *(0, 65534, UNCHANGED, UNCHANGED, 5)
    ]
    assert [short_id(value) for value in (0, 65535, 65536, 0xFFFFFFFE)] == [0, 65535, 65534, 65534]


def test_only_the_ids_of_a_call_become_wider() -> None:
    seen: list[tuple[int, ...]] = []
    fchown = widened(lambda _thread, args: seen.append(args), 1, 2)
    fchown(1, (0x1FFFF, 65535, 0x20007, 65535, 0, 0))
    assert seen == [(0x1FFFF, UNCHANGED, 7, 65535, 0, 0)]


class FakeState:
    """A state whose memory is one piece of bytes at address 4096."""

    def __init__(self, content: bytes) -> None:
        self.memory = self
        self.content = content

    def read(self, _thread: int, address: int, length: int) -> bytes:
        return self.content[address - 4096 :][:length]


@pytest.mark.parametrize(("abi", "form"), [(NOTIFY_I386, "=5I"), (NOTIFY_S390X, "=5Q")])
def test_arguments_behind_a_pointer(abi: NotifyAbi, form: str) -> None:
    words = (3, 1, 17, 0xFFFF0000, 0xFFFF0004)
    seen: list[tuple[str, tuple[int, ...]]] = []

    def noting(name: str) -> Handler:
        def note(_thread: int, args: Arguments) -> int:
            seen.append((name, args))
            return 0

        return note

    handlers = {name: noting(name) for name, _ in SOCKET_CALLS.values()}
    state = cast("State", FakeState(struct.pack(form, *words)))
    handle = SocketCall(abi, state, handlers).handle
    assert handle(1, (15, 4096, 0, 0, 0, 0)) == 0
    assert handle(1, (1 << 32 | 2, 4096, 0, 0, 0, 0)) == 0
    assert handle(1, (4, 4096, 0, 0, 0, 0)) is None
    assert seen == [("getsockopt", (*words, 0)), ("bind", (3, 1, 17, 0, 0, 0))]


@pytest.mark.parametrize(("abi", "size"), [(NOTIFY_I386, 4), (NOTIFY_S390X, 8)])
def test_arguments_of_ipc(abi: NotifyAbi, size: int) -> None:
    seen: list[tuple[str, Arguments]] = []

    def handler(name: str) -> Handler:
        def handle(_thread: int, args: Arguments) -> int:
            seen.append((name, args))
            return 0

        return handle

    class Memory:
        def read(self, _thread: int, address: int, length: int) -> bytes:
            assert (address, length) == (0x4000, size)
            return (0x5000).to_bytes(length, "little")

    names = ("shmget", "shmctl", "shmat", "semctl", "semop", "msgget")
    state = cast("State", type("OneState", (), {"memory": Memory()})())
    handle = IpcCall(abi, state, {name: handler(name) for name in names}).handle
    calls = {
        (23, 1, 2, 3): ("shmget", (1, 2, 3)),
        (24, 1, 0x102, 9): ("shmctl", (1, 0x102, 0x4000)),
        (1 << 16 | 21, 1, 0o10000, 9): ("shmat", (1, 0x4000, 0o10000)),
        (3, 1, 2, 0x102): ("semctl", (1, 2, 0x102, 0x5000)),
        (1, 1, 2, 9): ("semop", (1, 0x4000, 2)),
        (13, 1, 0o1600, 9): ("msgget", (1, 0o1600)),
    }
    for call in calls:
        assert handle(1, (*call, 0x4000, 0)) == 0
    assert seen == list(calls.values())
    assert handle(1, (22, 1, 2, 3, 0x4000, 0)) is None  # shmdt
    if size == 4:  # structures with short IDs
        assert handle(1, (24, 1, 2, 9, 0x4000, 0)) is None
        assert handle(1, (3, 1, 2, 2, 0x4000, 0)) is None
