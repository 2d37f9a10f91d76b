"""The trial notices an outer filter that would keep calls from a supervisor."""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel.numbers import process_abi
from sundog.base.kernel.process import install_seccomp_filter, set_no_new_privs
from sundog.runtime.emulation.bpf import (
    DATA_NR,
    SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO,
    assemble,
    compare,
    label,
    load,
    verdict,
)
from sundog.runtime.emulation.filter import fake_root_program
from sundog.runtime.emulation.notify.seccomp.program import EMULATED, NOTIFIED
from sundog.runtime.emulation.notify.seccomp.trial import FIRST_NEW_CALL, obstacle, tried_calls
from sundog.runtime.emulation.notify.tracee.abi import NOTIFY_ABIS

if TYPE_CHECKING:
    from pathlib import Path

ABI = NOTIFY_ABIS[process_abi()]
NUMBERS = ABI.numbers
TRIED = [name for name, _, _ in tried_calls(ABI)]
FAMILIES = {family: [call for call in calls if call in TRIED] for family, calls in EMULATED.items()}
SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP = 0x80000000, 0, 0x30000


def for_calls(action: int, *calls: str) -> bytes:
    """Return a filter that answers ``calls`` with ``action`` and allows all others."""
    tests = [compare(NUMBERS[call], "those") for call in calls]
    allow = verdict(SECCOMP_RET_ALLOW)
    return assemble([load(DATA_NR), *tests, allow, label("those"), verdict(action)])


def obstacle_within(*programs: bytes, ignoring: int = 0) -> str:
    """Return the trial's result in a process under ``programs`` that ignores a signal."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if ignoring:
                signal.signal(ignoring, signal.SIG_IGN)
            set_no_new_privs()
            for program in programs:
                install_seccomp_filter(program)
            os.write(writing, obstacle().encode())
        except BaseException as error:
            os.write(writing, f"failed: {error!r}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as told:
        reason = told.read()
    os.waitpid(child, 0)
    return reason


def answers(what: str) -> str:
    return f"a filter around this process (ch-run --seccomp, a RUN.S) answers {what}"


def test_without_a_filter() -> None:
    assert obstacle_within() == ""
    assert obstacle_within(for_calls(SECCOMP_RET_ERRNO, "kexec_load")) == ""


def test_every_family_is_tried() -> None:
    for family in EMULATED.values():
        old = [call for call in family if NUMBERS.get(call, FIRST_NEW_CALL) < FIRST_NEW_CALL]
        assert old
        assert {*old} <= {*TRIED}
    assert {*TRIED} <= {*NOTIFIED}


# Without these two no user namespace gets its maps.  Then ch-run reports that.
NEEDED = ("geteuid", "getegid")


@pytest.mark.parametrize("call", [call for call in TRIED if call not in NEEDED])
def test_filter_that_answers_one_call(call: str) -> None:
    assert obstacle_within(for_calls(SECCOMP_RET_ERRNO, call)) == answers(call)


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS])
@pytest.mark.parametrize("family", EMULATED)
def test_filter_that_refuses_a_call_of_a_family(family: str, number: int) -> None:
    first = FAMILIES[family][0]
    assert obstacle_within(for_calls(SECCOMP_RET_ERRNO | number, first)) == answers(first)


def test_filters_that_answer_several_calls() -> None:
    programs = (
        for_calls(SECCOMP_RET_ERRNO, "fchownat"),
        for_calls(SECCOMP_RET_ERRNO, "mknodat", "bind"),
    )
    assert obstacle_within(*programs) == answers("fchownat and 2 more calls")


def test_own_filter() -> None:
    """Sundog's own filter answers mknod only for devices, so the trial does not name mknod."""
    assert obstacle_within(fake_root_program()).startswith(answers("setuid and "))


def test_filter_that_knows_no_new_calls() -> None:
    new = [call for call in NOTIFIED if NUMBERS.get(call, 0) >= FIRST_NEW_CALL]
    assert new
    assert obstacle_within(for_calls(SECCOMP_RET_ERRNO | errno.ENOSYS, *new)) == ""


@pytest.mark.parametrize(
    "action", [SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP]
)
@pytest.mark.parametrize("family", EMULATED)
def test_filter_that_kills(
    action: int, family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, *_, last = FAMILIES[family]
    reason = f"a filter around this process kills a process that makes calls like {first}"
    assert obstacle_within(for_calls(action, last)) == reason
    assert not list(tmp_path.iterdir())  # no core


def test_nobody_waits_for_dead_children() -> None:
    assert obstacle_within(ignoring=signal.SIGCHLD) == ""
    program = for_calls(SECCOMP_RET_KILL_PROCESS, "fchownat")
    reason = obstacle_within(program, ignoring=signal.SIGCHLD)
    assert reason == "a filter around this process kills a process that makes calls like chown"
