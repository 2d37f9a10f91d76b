"""The filter's verdict about every call, from an interpreter that has no table of calls."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.emulation.bpf import SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
from sundog.emulation.filter import fake_root_program
from sundog.emulation.notify.seccomp.program import (
    ABSENT,
    CONDITIONAL,
    NAMING,
    NOTIFIED,
    SECCOMP_RET_USER_NOTIF,
    notify_program,
)
from sundog.emulation.notify.supervisor import FAMILIES
from sundog.emulation.notify.tracee.abi import NOTIFY_ABIS, NOTIFY_X86_64
from sundog.emulation.notify.tracee.tag import RLIMIT_LOCKS
from sundog.emulation.syscalls import SYSCALL_ABIS
from tests.emulation.bpf_interpreter import Program, SeccompData

if TYPE_CHECKING:
    from sundog.emulation.syscalls import Abi

PROGRAM = Program(notify_program(NOTIFY_X86_64))
FOLLOWING = Program(notify_program(NOTIFY_X86_64, follow_changes=True))
NATIVE = next(abi for abi in SYSCALL_ABIS if abi.name == NOTIFY_X86_64.name)
NAMES = {number: name for name, number in NOTIFY_X86_64.numbers.items()}
ENOSYS = SECCOMP_RET_ERRNO | 38


def verdict(program: Program, number: int, *args: int, abi: Abi = NATIVE) -> int:
    padded = (*args, *(0,) * (6 - len(args)))
    order = "big" if abi.big_endian else "little"
    return program.run(SeccompData(number, abi.arch, padded, byteorder=order)).verdict  # type: ignore[arg-type]


def test_every_number() -> None:
    for number in range(600):
        name = NAMES.get(number, "")
        if name in NOTIFIED:
            expected = SECCOMP_RET_USER_NOTIF
        elif name in ABSENT:
            expected = ENOSYS
        elif name == "kexec_load":
            expected = SECCOMP_RET_ERRNO
        else:
            expected = SECCOMP_RET_ALLOW  # with all arguments zero
        assert verdict(PROGRAM, number) == expected, (number, name)
        if name in NAMING:
            expected = SECCOMP_RET_USER_NOTIF
        assert verdict(FOLLOWING, number) == expected, (number, name)


@pytest.mark.parametrize(
    ("call", "args", "is_notified"),
    [
        ("open", (0, os.O_RDWR, 0), False),
        ("open", (0, os.O_RDWR | os.O_CREAT, 0), True),
        ("open", (0, os.O_WRONLY | os.O_TRUNC, 0), True),
        ("openat", (0, 0, os.O_WRONLY | os.O_APPEND, 0), False),
        ("openat", (0, 0, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), False),
        ("openat", (0, 0, os.O_TMPFILE | os.O_RDWR), True),
        ("openat", (0, 0, 1 << 32 | os.O_RDWR), False),
        ("statx", (0, 0, 0, 0x7FF), True),
        ("statx", (0, 0, 0, 0x200), False),
        ("unshare", (0x10000000,), False),
        ("unshare", (0x00020000,), True),
        ("clone", (17,), False),
        ("clone", (0x00020000 | 17,), True),
        ("prctl", (15,), False),
        ("prctl", (38, 1), True),
        ("getsockopt", (3, 1, 17), True),
        ("getsockopt", (3, 6, 17), False),
        ("getsockopt", (3, 1, 4), False),
        ("prlimit64", (0, 7), False),
        ("prlimit64", (0, RLIMIT_LOCKS), True),
        ("setrlimit", (RLIMIT_LOCKS | 1 << 32,), True),
    ],
)
def test_verdicts_by_arguments(call: str, args: tuple[int, ...], is_notified: bool) -> None:
    expected = SECCOMP_RET_USER_NOTIF if is_notified else SECCOMP_RET_ALLOW
    assert verdict(PROGRAM, NOTIFY_X86_64.numbers[call], *args) == expected


OTHERS = [abi for abi in SYSCALL_ABIS if abi is not NATIVE]


@given(
    abi=st.sampled_from(OTHERS),
    number=st.integers(0, 600),
    args=st.tuples(*[st.integers(0, (1 << 64) - 1) | st.just(RLIMIT_LOCKS)] * 6),
)
def test_other_abis_get_the_seccomp_mode_and_no_way_around(
    abi: Abi, number: int, args: tuple[int, ...]
) -> None:
    number |= abi.number_bit  # only this bit tells x32 from x86-64
    found = verdict(PROGRAM, number, *args, abi=abi)
    assert found != SECCOMP_RET_USER_NOTIF
    plain = verdict(Program(fake_root_program()), number, *args, abi=abi)
    # The notify filter guards the tag and io_uring, too.
    assert found == plain or (plain == SECCOMP_RET_ALLOW and found in (SECCOMP_RET_ERRNO, ENOSYS))


def test_sync_is_faked_on_request() -> None:
    fsync = 74
    assert verdict(PROGRAM, fsync) == SECCOMP_RET_ALLOW
    assert (
        verdict(Program(notify_program(NOTIFY_X86_64, fake_sync=True)), fsync) == SECCOMP_RET_ERRNO
    )


@pytest.mark.parametrize("abi", NOTIFY_ABIS.values(), ids=list(NOTIFY_ABIS))
def test_every_notified_call_has_a_handler(abi: object) -> None:
    handled: set[str] = set()
    for family in FAMILIES:
        handled |= set(family.calls(family.__new__(family)))  # type: ignore[arg-type]
    assert {*NOTIFIED, *NAMING, *CONDITIONAL, "clone"} <= handled
