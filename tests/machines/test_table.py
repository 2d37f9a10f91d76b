"""Rows of the table of notify, and random programs, on another architecture.

Real root runs each of them in the same machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scripts.vm.foreign_files import COMPILED

from tests.runtime.notify.record import (
    PERMISSION_SEEDS,
    SEEDS,
    STEPS,
    differ_script,
    permissions_script,
)
from tests.runtime.notify.table import ROWS, row_script

if TYPE_CHECKING:
    from tests.machines.conftest import Guest
    from tests.runtime.notify.table import Row

# i386 programs run on x86-64 alone.  The others start hundreds of processes for rules that compare
# numbers, which no architecture can change.
LEFT_OUT = (
    "32-bit-programs",
    "32-bit-set-id-programs",
    "System-V-objects-of-i386",
    "inodes-used-again",
    "many-owners",
    "owners-of-set-id-files",
    "set-id-files-of-a-user-who-writes",
    "set-id-files-that-root-writes",
)
TAKEN = [row for row in ROWS if row.base == "busybox" and row.name not in LEFT_OUT]
STRICT = ("--strict",)


@pytest.mark.parametrize("row", TAKEN, ids=[row.name for row in TAKEN])
def test_prints_what_it_prints_for_real_root(guest: Guest, row: Row) -> None:
    expected = guest.as_root(row_script(row))
    assert not [name for name in COMPILED if f"sh: {name}: not found" in expected]
    options = STRICT if row.strict else ()
    assert guest.under_notify(row_script(row), *options) == expected


@pytest.mark.parametrize("seed", SEEDS[:4])
def test_random_steps_end_as_for_real_root(guest: Guest, seed: int) -> None:
    expected = guest.as_root(differ_script(seed)).splitlines()
    assert len(expected) > STEPS
    assert guest.under_notify(differ_script(seed)).splitlines() == expected


@pytest.mark.parametrize("mode", ["", "strict"])
def test_random_users_get_the_answers_of_the_kernel(guest: Guest, mode: str) -> None:
    script = permissions_script(PERMISSION_SEEDS[0], mode)
    expected = guest.as_root(script).splitlines()
    assert sum(line.endswith("= Permission denied") for line in expected) > 20
    options = STRICT if mode else ()
    assert guest.under_notify(script, *options).splitlines() == expected


def test_a_child_that_ends_interrupts_no_call(guest: Guest) -> None:
    assert guest.under_notify("exec stress children 300") == "0 interrupted\n"
