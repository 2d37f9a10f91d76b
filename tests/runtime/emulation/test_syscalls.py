"""The tables agree with libseccomp's, in both directions."""

from __future__ import annotations

import pytest

from sundog.runtime.emulation.syscalls import (
    DEVICE_CALLS,
    FAKED_CALLS,
    SYNC_CALLS,
    SYSCALL_ABIS,
    Abi,
    SyscallTable,
    syscall_numbers,
)
from tests.base.kernel import libseccomp

ABIS = pytest.mark.parametrize("abi", SYSCALL_ABIS, ids=lambda abi: abi.name)


def test_every_abi_is_there() -> None:
    assert {abi.name for abi in SYSCALL_ABIS} == set(libseccomp.TOKENS)


@ABIS
def test_architectures(abi: Abi) -> None:
    # To libseccomp, x32 is x86-64 without the bit that says 64-bit: __AUDIT_ARCH_64BIT.
    token = libseccomp.TOKENS[abi.name]
    assert abi.arch == (token | 0x80000000 if abi.name == "x32" else token)
    # __AUDIT_ARCH_LE
    assert abi.big_endian == (not abi.arch & 0x40000000)


@ABIS
@pytest.mark.parametrize("table", [FAKED_CALLS, DEVICE_CALLS, SYNC_CALLS])
def test_numbers(abi: Abi, table: SyscallTable) -> None:
    # libseccomp has the kernel's older name of this call.
    alias = {"sync_file_range2": "arm_sync_file_range"} if abi.name == "arm" else {}
    expected = {name: libseccomp.number(alias.get(name, name), abi.name) for name, _ in table}
    assert syscall_numbers(table, abi) == {
        name: number for name, number in expected.items() if number is not None
    }
