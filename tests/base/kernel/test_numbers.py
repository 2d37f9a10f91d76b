"""System call numbers agree with libseccomp's."""

from __future__ import annotations

import os
import sys

import pytest

from sundog.base.kernel.numbers import (
    ABIS,
    MOUNT_SETATTR,
    MOVE_MOUNT,
    OPEN_TREE,
    OPENAT2,
    RENAMEAT2,
    process_abi,
)

from . import libseccomp

KNOWN_ABIS = sorted({abi for pair in ABIS.values() for abi in pair if abi})


def test_every_abi_has_a_number_for_renameat2() -> None:
    assert sorted(RENAMEAT2) == KNOWN_ABIS


@pytest.mark.parametrize("abi", KNOWN_ABIS)
def test_numbers(abi: str) -> None:
    assert libseccomp.number("renameat2", abi) == RENAMEAT2[abi]
    assert libseccomp.number("open_tree", abi) == OPEN_TREE
    assert libseccomp.number("move_mount", abi) == MOVE_MOUNT
    assert libseccomp.number("openat2", abi) == OPENAT2
    assert libseccomp.number("mount_setattr", abi) == MOUNT_SETATTR


@pytest.mark.parametrize(
    ("machine", "wide", "abi"),
    [
        ("x86_64", True, "x86_64"),
        ("x86_64", False, "i386"),
        ("i686", True, "x86_64"),  # setarch i686
        ("i686", False, "i386"),
        ("aarch64", True, "aarch64"),
        ("aarch64", False, "arm"),
        ("armv8l", True, "aarch64"),  # setarch armv8l
        ("armv7l", False, "arm"),
        ("ppc64le", True, "ppc64le"),
        ("s390x", True, "s390x"),
        ("s390x", False, ""),
        ("riscv64", True, "riscv64"),
        ("loongarch64", True, "loongarch64"),
        ("alpha", True, ""),
    ],
)
def test_process_abi(machine: str, wide: bool, abi: str) -> None:
    assert process_abi(machine, wide=wide) == abi


def test_process_abi_of_this_process() -> None:
    wide = sys.maxsize > 1 << 32
    assert process_abi() == process_abi(os.uname().machine, wide=wide) != ""
