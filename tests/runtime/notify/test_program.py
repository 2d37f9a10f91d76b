"""The filter's verdict about every call, from an interpreter that has no table of calls."""

from __future__ import annotations

import copy
import fcntl
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.base.kernel.descriptors import MSG_CONFIRM
from sundog.base.kernel.namespaces import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER
from sundog.base.kernel.numbers import process_abi
from sundog.runtime.emulation.bpf import SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
from sundog.runtime.emulation.filter import fake_root_program
from sundog.runtime.emulation.notify.handlers.forms import SOCKET_CALLS, handlers_of
from sundog.runtime.emulation.notify.handlers.rare import RareHandlers
from sundog.runtime.emulation.notify.identity.credentials import superuser
from sundog.runtime.emulation.notify.identity.tags import Tags
from sundog.runtime.emulation.notify.seccomp.listener import NotificationSource
from sundog.runtime.emulation.notify.seccomp.program import (
    ABSENT,
    FAKED,
    NOTIFIED,
    OPENING,
    READING,
    SECCOMP_RET_USER_NOTIF,
    conditional_calls,
    notify_program,
)
from sundog.runtime.emulation.notify.state.state import State
from sundog.runtime.emulation.notify.supervisor import FAMILIES
from sundog.runtime.emulation.notify.tracee.abi import NOTIFY_ABIS, NOTIFY_X86_64, YOUNG_CALLS
from sundog.runtime.emulation.notify.tracee.call import CONTINUE
from sundog.runtime.emulation.notify.tracee.tag import RLIMIT_LOCKS
from sundog.runtime.emulation.syscalls import SYSCALL_ABIS
from tests.runtime.emulation.bpf_interpreter import Program, SeccompData

if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.tracee.abi import NotifyAbi
    from sundog.runtime.emulation.notify.tracee.call import Handler
    from sundog.runtime.emulation.syscalls import Abi

PROGRAM = Program(notify_program(NOTIFY_X86_64))
NATIVE = next(abi for abi in SYSCALL_ABIS if abi.name == NOTIFY_X86_64.name)
ENOSYS = SECCOMP_RET_ERRNO | 38
SUPERVISED = [(abi, native) for native in NOTIFY_ABIS.values() for abi in native.supervised()]


def verdict(program: Program, number: int, *args: int, abi: Abi = NATIVE) -> int:
    padded = (*args, *(0,) * (6 - len(args)))
    order = "big" if abi.big_endian else "little"
    return program.run(SeccompData(number, abi.arch, padded, byteorder=order)).verdict  # type: ignore[arg-type]


@pytest.mark.parametrize(("abi", "native"), SUPERVISED, ids=lambda abi: abi.name)
def test_every_number(abi: NotifyAbi, native: NotifyAbi) -> None:
    program = Program(notify_program(native))
    strict = Program(notify_program(native, strict=True))
    seen = next(each for each in SYSCALL_ABIS if each.name == abi.name)
    names = {number: abi.call(name) for name, number in abi.numbers.items()}
    for number in range(600):
        name = names.get(number, "")
        if name in NOTIFIED or name in READING or name == "sendmsg":
            expected = SECCOMP_RET_USER_NOTIF
        elif name in ABSENT:
            expected = ENOSYS
        elif name == "kexec_load":
            expected = SECCOMP_RET_ERRNO
        else:
            expected = SECCOMP_RET_ALLOW  # with all arguments zero
        assert verdict(program, number, abi=seen) == expected, (number, name)
        if name in OPENING:
            expected = SECCOMP_RET_USER_NOTIF
        assert verdict(strict, number, abi=seen) == expected, (number, name)


@pytest.mark.parametrize(
    ("call", "args", "is_notified"),
    [
        ("open", (0, os.O_RDWR, 0), True),
        ("open", (0, os.O_RDONLY | os.O_NOCTTY), True),
        ("open", (0, os.O_RDONLY | os.O_CLOEXEC), False),
        ("openat", (0, 0, os.O_RDONLY), True),
        ("openat", (0, 0, os.O_WRONLY | os.O_CLOEXEC), True),
        ("open", (0, os.O_RDWR | os.O_CREAT, 0), True),
        ("open", (0, os.O_WRONLY | os.O_TRUNC, 0), True),
        ("openat", (0, 0, os.O_WRONLY | os.O_APPEND, 0), True),
        ("openat", (0, 0, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), False),
        ("openat", (0, 0, os.O_TMPFILE | os.O_RDWR), True),
        ("openat", (0, 0, 1 << 32 | os.O_PATH), False),
        ("openat", (0, 0, os.O_RDONLY | os.O_NOATIME | os.O_CLOEXEC), True),
        ("fcntl", (0, fcntl.F_SETLEASE), True),
        ("fcntl", (0, fcntl.F_SETFL), False),
        ("prctl", (3,), True),
        ("prctl", (1,), False),
        ("unshare", (CLONE_NEWUSER,), True),
        ("unshare", (CLONE_NEWNET,), False),
        ("unshare", (0x00020000,), True),
        ("clone", (17,), False),
        ("clone", (0x00020000 | 17,), True),
        ("prctl", (15,), False),
        ("prctl", (38, 1), True),
        ("getsockopt", (3, 1, 17), True),
        ("getsockopt", (3, 6, 17), False),
        ("getsockopt", (3, 1, 4), False),
        ("sendmsg", (3, 0, MSG_CONFIRM), False),
        ("sendmsg", (3, 0, 0x4000), True),
        ("prlimit64", (0, 7), False),
        ("prlimit64", (0, RLIMIT_LOCKS), True),
        ("setrlimit", (RLIMIT_LOCKS | 1 << 32,), True),
    ],
)
def test_verdicts_by_arguments(call: str, args: tuple[int, ...], is_notified: bool) -> None:
    expected = SECCOMP_RET_USER_NOTIF if is_notified else SECCOMP_RET_ALLOW
    assert verdict(PROGRAM, NOTIFY_X86_64.numbers[call], *args) == expected


@pytest.mark.parametrize(
    ("call", "args", "leads"),
    [
        ("connect", (3, 0x1000, 16), True),
        ("connect", (3, 0x1000, 110), False),
        ("sendto", (3, 0x1000, 5, 0, 0, 0), False),
        ("sendto", (3, 0x1000, 5, 0, 0x2000, 28), True),
    ],
)
def test_calls_that_lead_to_ports(call: str, args: tuple[int, ...], leads: bool) -> None:
    number = NOTIFY_X86_64.numbers[call]
    with_ports = Program(notify_program(NOTIFY_X86_64, has_ports=True))
    assert (verdict(with_ports, number, *args) == SECCOMP_RET_USER_NOTIF) == leads
    assert verdict(PROGRAM, number, *args) == SECCOMP_RET_ALLOW


@pytest.mark.parametrize(
    ("abi", "call", "args", "is_notified"),
    [
        ("i386", "socketcall", (2,), True),
        ("i386", "socketcall", (15,), True),
        ("i386", "socketcall", (1,), False),
        ("s390x", "socketcall", (17,), True),
        ("i386", "ugetrlimit", (RLIMIT_LOCKS,), True),
        ("i386", "clone", (CLONE_NEWNS | 17,), True),
        ("ppc64le", "getsockopt", (3, 1, 21), True),
        ("ppc64le", "getsockopt", (3, 1, 17), False),
        ("s390x", "clone", (CLONE_NEWNS, 17), False),
        ("s390x", "clone", (0, CLONE_NEWNS | 17), True),
        ("s390x", "openat", (0, 0, os.O_CREAT), True),
        ("aarch64", "openat", (0, 0, os.O_CREAT), True),
        ("aarch64", "openat", (0, 0, 0o40000), False),
        ("aarch64", "openat", (0, 0, 0o20040000), True),
    ],
)
def test_verdicts_of_other_abis(
    abi: str, call: str, args: tuple[int, ...], is_notified: bool
) -> None:
    supervised, native = next(pair for pair in SUPERVISED if pair[0].name == abi)
    seen = next(each for each in SYSCALL_ABIS if each.name == abi)
    program = Program(notify_program(native))
    expected = SECCOMP_RET_USER_NOTIF if is_notified else SECCOMP_RET_ALLOW
    assert verdict(program, supervised.numbers[call], *args, abi=seen) == expected


# The ABIs that a machine runs, and the supervisor does not know.
OTHERS = [
    (abi, Program(notify_program(NOTIFY_ABIS[native])))
    for other, native in (("x32", "x86_64"), ("arm", "aarch64"))
    for abi in SYSCALL_ABIS
    if abi.name == other
]
PLAIN = Program(fake_root_program())


@given(
    other=st.sampled_from(OTHERS),
    number=st.integers(0, 600),
    args=st.tuples(*[st.integers(0, (1 << 64) - 1) | st.just(RLIMIT_LOCKS)] * 6),
)
def test_other_abis_get_the_seccomp_mode_and_no_way_around(
    other: tuple[Abi, Program], number: int, args: tuple[int, ...]
) -> None:
    abi, program = other
    number |= abi.number_bit  # only this bit tells x32 from x86-64
    found = verdict(program, number, *args, abi=abi)
    assert found != SECCOMP_RET_USER_NOTIF
    plain = verdict(PLAIN, number, *args, abi=abi)
    # The notify filter guards the tag and io_uring, too.
    assert found == plain or (plain == SECCOMP_RET_ALLOW and found in (SECCOMP_RET_ERRNO, ENOSYS))


def test_sync_is_faked_on_request() -> None:
    fsync = 74
    assert verdict(PROGRAM, fsync) == SECCOMP_RET_ALLOW
    assert (
        verdict(Program(notify_program(NOTIFY_X86_64, fake_sync=True)), fsync) == SECCOMP_RET_ERRNO
    )


@pytest.mark.parametrize(("abi", "native"), SUPERVISED, ids=lambda abi: abi.name)
def test_every_notified_call_has_a_handler(abi: NotifyAbi, native: NotifyAbi) -> None:
    calls = {*NOTIFIED, *OPENING, *conditional_calls(abi, has_ports=True)}
    notified = {name for name in abi.numbers if abi.call(name) in calls}
    tags = Tags(superuser(1))
    state = State(native, NotificationSource(-1, must_poll=False), tags)
    common = {
        name: handler for family in FAMILIES for name, handler in family(state).calls().items()
    }
    assert notified <= {*RareHandlers(state).of(abi, common)}


def test_every_call_of_the_tables_has_a_number_and_every_handler_is_asked() -> None:
    """On one ABI at least: without a number the filter would let the call pass, and say nothing."""
    numbered = {abi.call(name) for abi, _ in SUPERVISED for name in abi.numbers}
    asked = {*NOTIFIED, *OPENING, *conditional_calls(NOTIFY_X86_64, has_ports=True)}
    assert {*asked, *FAKED, *ABSENT, *READING} <= numbered
    state = State(NOTIFY_X86_64, NotificationSource(-1, must_poll=False), Tags(superuser(1)))
    common = {name for family in FAMILIES for name in family(state).calls()}
    assert common | {*RareHandlers(state).calls} <= asked


@pytest.mark.parametrize("native", NOTIFY_ABIS.values(), ids=lambda abi: abi.name)
def test_the_kernel_refuses_a_young_call_that_it_lacks(native: NotifyAbi) -> None:
    """Nothing answers in its place. The numbers are those of an old call, and of none."""
    state = State(native, NotificationSource(-1, must_poll=False), Tags(superuser(1)))
    common: dict[str, Handler] = {name: lambda _thread, _args: 0 for name in (*NOTIFIED, "bind")}
    common.update({name: common["bind"] for name, _ in SOCKET_CALLS.values()})
    there, lacking = NOTIFY_ABIS[process_abi()].numbers["fchmodat"], 4095
    for name in YOUNG_CALLS:
        for number, answer in ((there, 0), (lacking, CONTINUE)):
            changed = copy.copy(native)
            changed.numbers = {**native.numbers, name: number}
            handler = handlers_of(changed, state, common)[name]
            assert [handler(1, ()), handler(1, ())] == [answer, answer]
