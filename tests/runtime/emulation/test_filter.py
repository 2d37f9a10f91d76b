"""The verdicts of the installed program, on every architecture.

The oracle is libseccomp, which knows the name of each number.  This module says the right answer
for each name.
"""

from __future__ import annotations

import functools
import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.runtime.emulation.bpf import DATA_ARCH, DATA_NR
from sundog.runtime.emulation.filter import describe_program, fake_root_program
from sundog.runtime.emulation.syscalls import SYSCALL_ABIS, Abi
from tests.base.kernel import libseccomp

from .bpf_interpreter import Program, SeccompData

ALLOW = 0x7FFF0000  # SECCOMP_RET_ALLOW
FAKE = 0x00050000  # SECCOMP_RET_ERRNO, with errno 0

# fmt: off
FAKED = {
    "capset", "chown", "chown32", "fchown", "fchown32", "fchownat", "kexec_load", "lchown",
    "lchown32", "setfsgid", "setfsgid32", "setfsuid", "setfsuid32", "setgid", "setgid32",
    "setgroups", "setgroups32", "setregid", "setregid32", "setresgid", "setresgid32", "setresuid",
    "setresuid32", "setreuid", "setreuid32", "setuid", "setuid32",
}
SYNCS = {
    "fdatasync", "fsync", "sync", "syncfs", "sync_file_range", "sync_file_range2",
    "arm_sync_file_range",
}
# fmt: on
MODE_ARGUMENT = {"mknod": 1, "mknodat": 2}

FILE_TYPES = {
    "S_IFREG": 0o100000,
    "S_IFIFO": 0o010000,
    "S_IFSOCK": 0o140000,
    "S_IFCHR": 0o020000,
    "S_IFBLK": 0o060000,
    "none": 0,
}
DEVICES = {"S_IFCHR", "S_IFBLK"}

# Numbers 0 to 1023, and the other numbers that some architecture uses.
NUMBERS = [*range(1024), *range(0x0F0000, 0x0F0010), *range(0xFFFFFFF0, 0x100000000)]
X32_NUMBERS = [number | 0x40000000 for number in range(1024)]

ABIS = pytest.mark.parametrize("abi", SYSCALL_ABIS, ids=lambda abi: abi.name)
NATIVES = pytest.mark.parametrize("native", SYSCALL_ABIS, ids=lambda abi: f"on {abi.name}")
SYNC = pytest.mark.parametrize("fake_sync", [False, True], ids=["", "fake_sync"])


@functools.cache
def program(native: Abi | None = None, *, fake_sync: bool = False) -> Program:
    return Program(fake_root_program(fake_sync=fake_sync, native=native))


@functools.cache
def call_name(abi: Abi, number: int) -> str | None:
    return libseccomp.name(number - (1 << 32) if number >> 31 else number, abi.name)


def data(abi: Abi, number: int, args: tuple[int, ...] = (0,) * 6) -> SeccompData:
    return SeccompData(number, abi.arch, args, byteorder="big" if abi.big_endian else "little")


def mode_args(name: str, mode: int) -> tuple[int, ...]:
    """Return arguments of mknod or mknodat; all but the mode look like the mode of a device."""
    args = [0o020000] * 6
    args[MODE_ARGUMENT[name]] = mode
    return tuple(args)


def expected(name: str | None, args: tuple[int, ...], *, fake_sync: bool) -> int:
    """Return the verdict that the design demands."""
    if name in MODE_ARGUMENT:
        device = args[MODE_ARGUMENT[name]] & 0o170000 in (0o020000, 0o060000)
        return FAKE if device else ALLOW
    return FAKE if name in FAKED or (fake_sync and name in SYNCS) else ALLOW


@SYNC
@ABIS
def test_every_number(abi: Abi, fake_sync: bool) -> None:
    """All arguments are zero, so mknod's mode is that of a regular file."""
    filter_ = program(fake_sync=fake_sync)
    numbers = X32_NUMBERS if abi.name == "x32" else NUMBERS
    for number in numbers:
        name = call_name(abi, number)
        verdict = filter_.run(data(abi, number)).verdict
        assert verdict == expected(name, (0,) * 6, fake_sync=fake_sync), (number, name)


@ABIS
def test_all_faked_calls_occur(abi: Abi) -> None:
    """The oracle knows these names, so no misspelt name made a verdict above right."""
    numbers = X32_NUMBERS if abi.name == "x32" else NUMBERS
    names = {call_name(abi, number) for number in numbers}
    wide = {name for name in FAKED if name.endswith("32")} if abi.name in ("i386", "arm") else set()
    generic = abi.name in ("aarch64", "riscv64", "loongarch64")
    absent = {"chown", "lchown"} if generic else set()
    assert names & FAKED == {name for name in FAKED if not name.endswith("32")} - absent | wide
    assert names & set(MODE_ARGUMENT) == ({"mknodat"} if generic else {"mknod", "mknodat"})
    assert len(names & SYNCS) == 5


@NATIVES
@ABIS
def test_verdicts_on_other_machines(native: Abi, abi: Abi) -> None:
    """A program from another machine has another order, and the same verdicts."""
    numbers = X32_NUMBERS if abi.name == "x32" else NUMBERS
    for number in numbers:
        name = call_name(abi, number)
        verdict = program(native, fake_sync=True).run(data(abi, number)).verdict
        assert verdict == expected(name, (0,) * 6, fake_sync=True), (number, name)


@NATIVES
def test_the_native_architecture_comes_first(native: Abi) -> None:
    instructions = program(native).instructions
    assert instructions[1][3] == native.arch


@ABIS
@pytest.mark.parametrize("call", MODE_ARGUMENT)
@pytest.mark.parametrize("file_type", FILE_TYPES)
@pytest.mark.parametrize("high", [0, 0x2000, 0x6000, 0xFFFFFFFF], ids=hex)
@pytest.mark.parametrize("permissions", [0, 0o644, 0o7777], ids=oct)
def test_only_devices_are_faked(
    abi: Abi, call: str, file_type: str, high: int, permissions: int
) -> None:
    """The mode is the low word of its argument, in either byte order.  The high word is unused."""
    number = libseccomp.number(call, abi.name)
    if number is None:
        assert (call, abi.column) == ("mknod", SYSCALL_ABIS[-1].column)
        return
    args = mode_args(call, high << 32 | FILE_TYPES[file_type] | permissions)
    verdict = program().run(data(abi, number, args)).verdict
    assert verdict == (FAKE if file_type in DEVICES else ALLOW)


WORDS = st.one_of(
    st.integers(0, 2**64 - 1),
    st.builds(
        lambda high, kind, mode: high << 32 | kind | mode,
        st.integers(0, 2**32 - 1),
        st.sampled_from(list(FILE_TYPES.values())),
        st.integers(0, 0o7777),
    ),
)


@settings(database=None, max_examples=500)
@given(
    st.sampled_from(SYSCALL_ABIS),
    st.one_of(st.integers(0, 460), st.integers(0, 2**30 - 1)),
    st.tuples(*[WORDS] * 6),
    st.booleans(),
)
def test_any_call(abi: Abi, number: int, args: tuple[int, ...], fake_sync: bool) -> None:
    number |= abi.number_bit
    verdict = program(fake_sync=fake_sync).run(data(abi, number, args)).verdict
    assert verdict == expected(call_name(abi, number), args, fake_sync=fake_sync)


@pytest.mark.parametrize("arch", [0, 0x16, 0x400000F3, 0xC0000102 + 1, 0xFFFFFFFF], ids=hex)
def test_architectures_without_a_table_are_left_alone(arch: int) -> None:
    for number in NUMBERS:
        assert program().run(SeccompData(number, arch)).verdict == ALLOW


@ABIS
def test_unaffected_calls_are_decided_by_their_number(abi: Abi) -> None:
    """Linux 5.11 and newer then need not run the program for these calls at all."""
    numbers = X32_NUMBERS if abi.name == "x32" else NUMBERS
    for number in numbers:
        if call_name(abi, number) not in MODE_ARGUMENT:
            run = program(fake_sync=True).run(data(abi, number))
            assert run.loads == [DATA_ARCH, DATA_NR]


LINE = re.compile(r"(\d+): \{ (load|compare|jump|and|return) k= (\S+) jt= (\d+) jf= (\d+) \}")


def test_describe_program_is_symbolic() -> None:
    lines = describe_program(fake_root_program(native=SYSCALL_ABIS[0]))
    assert lines[:5] == [
        "0: { load k= arch jt= 0 jf= 0 }",
        "1: { compare k= x86_64 jt= 0 jf= 44 }",
        "2: { load k= nr jt= 0 jf= 0 }",
        "3: { compare k= capset jt= 41 jf= 0 }",
        "4: { compare k= chown jt= 40 jf= 0 }",
    ]
    assert lines[38:47] == [
        "38: { load k= args[1] jt= 0 jf= 0 }",
        "39: { jump k= 1 jt= 0 jf= 0 }",
        "40: { load k= args[2] jt= 0 jf= 0 }",
        "41: { and k= S_IFMT jt= 0 jf= 0 }",
        "42: { compare k= S_IFCHR jt= 2 jf= 0 }",
        "43: { compare k= S_IFBLK jt= 1 jf= 0 }",
        "44: { return k= ALLOW jt= 0 jf= 0 }",
        "45: { return k= ERRNO(0) jt= 0 jf= 0 }",
        "46: { compare k= i386 jt= 0 jf= 39 }",
    ]
    assert "20: { compare k= x32:capset jt= 24 jf= 0 }" in lines


@NATIVES
@SYNC
def test_describe_program_names_everything(native: Abi, fake_sync: bool) -> None:
    filter_ = fake_root_program(fake_sync=fake_sync, native=native)
    lines = describe_program(filter_)
    assert len(lines) == len(filter_) // 8
    for index, line in enumerate(lines):
        match = LINE.fullmatch(line)
        assert match, line
        assert int(match[1]) == index
        assert not match[3].startswith("0x"), line


def test_describe_program_of_a_foreign_program() -> None:
    # load args[0]; and 0xff; compare 1; return SECCOMP_RET_KILL_PROCESS
    words = [(0x20, 0, 16), (0x54, 0, 0xFF), (0x15, 0, 1), (0x06, 0, 0x80000000)]
    foreign = b"".join(
        code.to_bytes(2, sys.byteorder) + bytes((jt, 0)) + k.to_bytes(4, sys.byteorder)
        for code, jt, k in words
    )
    assert describe_program(foreign) == [
        "0: { load k= args[0] jt= 0 jf= 0 }",
        "1: { and k= 0xff jt= 0 jf= 0 }",
        "2: { compare k= 0x1 jt= 0 jf= 0 }",
        "3: { return k= 0x80000000 jt= 0 jf= 0 }",
    ]
