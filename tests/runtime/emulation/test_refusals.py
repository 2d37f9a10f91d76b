"""The filters that refuse: typing into terminals (``terminal``), and the user's keys (``keys``).

One oracle is libseccomp, which knows the name of each number.  The other is the running kernel, on
a terminal.
"""

from __future__ import annotations

import errno
import functools
import os
import platform
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.base.kernel.libc import syscall
from sundog.base.kernel.numbers import ABIS as MACHINES
from sundog.base.kernel.process import set_no_new_privs
from sundog.runtime.emulation.filter import native_abi
from sundog.runtime.emulation.keys import forbid_keys, keys_program
from sundog.runtime.emulation.syscalls import IOCTL, KEY_CALLS, SYSCALL_ABIS, Abi, syscall_numbers
from sundog.runtime.emulation.terminal import (
    TIOCLINUX,
    TIOCSTI,
    forbid_typing,
    typing_is_possible,
    typing_program,
)
from tests.base.kernel import libseccomp
from tests.base.kernel.child import in_child
from tests.runtime.emulation.bpf_interpreter import Program, SeccompData
from tests.runtime.emulation.test_real_kernel import direct_call, results

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["direct_call"]  # a fixture

ALLOW = 0x7FFF0000  # SECCOMP_RET_ALLOW
ERRNO = 0x00050000  # SECCOMP_RET_ERRNO
TCGETS = 0x5401

# Each machine with the ABIs of its processes.  x32 has x86-64's numbers with one more bit.
ON_MACHINES = [
    (machine, abi)
    for machine, names in MACHINES.items()
    if machine not in {"i686", "i586", "i486", "armv7l", "armv6l"}
    for abi in SYSCALL_ABIS
    if abi.name in names or (abi.name == "x32" and "x86_64" in names)
]
EACH = pytest.mark.parametrize(
    ("machine", "abi"), ON_MACHINES, ids=lambda each: each if isinstance(each, str) else each.name
)
NUMBERS = [*range(1024), *range(0x0F0000, 0x0F0010), *range(0xFFFFFFF0, 0x100000000)]
HIGH = 0x7BCDEF01 << 32
KEYS = {"add_key", "keyctl", "request_key"}


@functools.cache
def typing(machine: str) -> Program:
    return Program(typing_program(machine))


@functools.cache
def keys(machine: str) -> Program:
    return Program(keys_program(machine))


def data(abi: Abi, number: int, request: int = 0) -> SeccompData:
    args = (1, request, 2, 3, 4, 5)
    return SeccompData(number, abi.arch, args, byteorder="big" if abi.big_endian else "little")


def number_of(name: str, abi: Abi) -> int:
    number = libseccomp.number(name, abi.name)
    assert number is not None
    return number | abi.number_bit


@pytest.mark.parametrize("abi", SYSCALL_ABIS, ids=lambda abi: abi.name)
@pytest.mark.parametrize("table", [IOCTL, KEY_CALLS])
def test_the_tables(abi: Abi, table: tuple[tuple[str, tuple[int, ...]], ...]) -> None:
    for name, number in syscall_numbers(table, abi).items():
        assert number == number_of(name, abi)


@EACH
def test_two_requests_are_refused(machine: str, abi: Abi) -> None:
    number = number_of("ioctl", abi)
    for request in (TIOCSTI, TIOCLINUX):
        for high in (0, 1 << 32, HIGH):
            verdict = typing(machine).run(data(abi, number, request | high)).verdict
            assert verdict == ERRNO | errno.EPERM
    for request in (TCGETS, TIOCSTI + 1, TIOCSTI - 1, 0, 0xFFFFFFFF, TIOCSTI << 32, HIGH):
        assert typing(machine).run(data(abi, number, request)).verdict == ALLOW


@EACH
def test_other_calls_are_allowed(machine: str, abi: Abi) -> None:
    ioctl = number_of("ioctl", abi)
    numbers = [number | abi.number_bit for number in NUMBERS]
    for number in numbers:
        if number != ioctl:
            assert typing(machine).run(data(abi, number, TIOCSTI)).verdict == ALLOW


@EACH
def test_calls_for_keys_are_not_there(machine: str, abi: Abi) -> None:
    refused = {number_of(name, abi) for name in KEYS}
    for number in (number | abi.number_bit for number in NUMBERS):
        expected = ERRNO | errno.ENOSYS if number in refused else ALLOW
        assert keys(machine).run(data(abi, number)).verdict == expected


@given(st.sampled_from(ON_MACHINES), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_any_call(where: tuple[str, Abi], number: int, request: int) -> None:
    machine, abi = where
    ioctls = {number_of("ioctl", each) for on, each in ON_MACHINES if on == machine}
    is_typing = number in ioctls and request & 0xFFFFFFFF in {TIOCSTI, TIOCLINUX}
    verdict = typing(machine).run(data(abi, number, request)).verdict
    assert verdict == ALLOW or is_typing


def test_another_architecture_is_left_alone() -> None:
    assert typing("x86_64").run(SeccompData(16, 0xC00000B7, (1, TIOCSTI, 0, 0, 0, 0))).verdict == (
        ALLOW
    )


# On the running kernel

ON_X86_64 = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="kernel: this ABI is x86-64's only"
)
NATIVE = native_abi()
ENTRIES = [
    pytest.param("native", "native", id="native"),
    pytest.param("int80", "i386", id="int80", marks=ON_X86_64),
]


def on_a_terminal(function: Callable[[], object]) -> tuple[object, bytes]:
    """Call a function in a process that leads a terminal's session.

    Return the function's result, and the input that was typed into the terminal meanwhile.
    """
    reader, writer = os.pipe()
    pid, master = pty.fork()
    if pid == 0:
        os.write(writer, repr(function()).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        said = pipe.read()
    os.set_blocking(master, False)
    try:
        echoed = os.read(master, 100)
    except OSError:
        echoed = b""
    os.close(master)
    assert os.waitpid(pid, 0)[1] == 0
    return eval(said), echoed


@pytest.mark.parametrize(("entry", "abi"), ENTRIES)
def test_nobody_types(direct_call: Path, entry: str, abi: str) -> None:
    name = NATIVE.name if abi == "native" else abi
    number = libseccomp.number("ioctl", name)
    requests = [TIOCSTI, TIOCLINUX]
    if entry == "native":
        requests += [TIOCSTI | HIGH, TIOCLINUX | HIGH]
    calls = [f"{entry} {number} 2 {request} /typed" for request in requests]

    def unfiltered() -> list[int]:
        return results(direct_call, calls)

    def filtered() -> list[int]:
        set_no_new_privs()
        forbid_typing()
        return results(direct_call, calls)

    found, echoed = on_a_terminal(filtered)
    assert found == [-errno.EPERM] * len(requests)
    assert echoed == b""
    if typing_is_possible():
        found, echoed = on_a_terminal(unfiltered)
        assert isinstance(found, list)
        assert found[0] == 0
        assert echoed == b"/" * found.count(0)


def test_the_terminal_works_otherwise() -> None:
    def use() -> tuple[int, int]:
        set_no_new_privs()
        forbid_typing()
        size = os.get_terminal_size(0)
        os.tcsetpgrp(0, os.getpgrp())
        return size.lines, os.tcgetpgrp(0) == os.getpgrp()

    found, _ = on_a_terminal(use)
    assert found == (0, True)


def speculation() -> str:
    found = re.search(
        r"^Speculation_Store_Bypass:\s*(.*)$", Path("/proc/self/status").read_text(), re.M
    )
    return found[1] if found else ""


@pytest.mark.parametrize("forbid", [forbid_typing, forbid_keys])
def test_no_mitigation_is_switched_on(forbid: Callable[[], object]) -> None:
    def after() -> str:
        set_no_new_privs()
        forbid()
        return speculation()

    assert in_child(after) == speculation()


def test_keys_are_not_there() -> None:
    def inside() -> list[int]:
        set_no_new_privs()
        assert forbid_keys()
        numbers = syscall_numbers(KEY_CALLS, NATIVE).values()
        return [syscall(number, 0, 0, 0, 0, 0) for number in numbers]

    assert in_child(inside) == [-errno.ENOSYS] * 3


@pytest.mark.parametrize(("said", "possible"), [("0\n", False), ("1\n", True), (None, True)])
def test_what_the_kernel_says(tmp_path: Path, said: str | None, possible: bool) -> None:
    sysctl = tmp_path / "legacy_tiocsti"
    if said is not None:
        sysctl.write_text(said)
    assert typing_is_possible(os.fsencode(sysctl)) is possible


def test_no_filter_where_the_kernel_refuses_it_itself(tmp_path: Path) -> None:
    """``ch-run`` has no filter if nobody can type into terminals, and one filter otherwise."""
    script = (
        "import sys\n"
        "from sundog.runtime.launcher import main, request\n"
        "request.typing_is_possible = lambda: sys.argv[1] == '1'\n"
        "main.start(['/', '--', 'grep', 'Seccomp_filters', '/proc/self/status'])\n"
    )
    counts = [
        subprocess.run(
            [sys.executable, "-c", script, possible],
            env={"PATH": "/usr/bin:/bin", "CH_IMAGE_STORAGE": str(tmp_path / "none")},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[1]
        for possible in ("0", "1")
    ]
    before = re.search(r"Seccomp_filters:\s*(\d+)", Path("/proc/self/status").read_text())
    assert before is not None
    assert [int(count) - int(before[1]) for count in counts] == [0, 1]
