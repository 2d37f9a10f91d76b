"""The table of notify, and random programs, on another architecture.

Real root runs each of them in the same machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.notify.record import SEEDS, differ_script
from tests.notify.table import ROWS, row_script

if TYPE_CHECKING:
    from tests.machines.conftest import Guest
    from tests.notify.table import Row

# i386 programs run on x86-64 alone.
NATIVE = [row for row in ROWS if row.base == "busybox" and row.name != "32-bit-programs"]


@pytest.mark.parametrize("row", NATIVE, ids=[row.name for row in NATIVE])
def test_prints_what_it_prints_for_real_root(guest: Guest, row: Row) -> None:
    expected = guest.as_root(row_script(row))
    assert guest.under_notify(row_script(row)) == expected


@pytest.mark.parametrize("seed", SEEDS[:4])
def test_random_steps_end_as_for_real_root(guest: Guest, seed: int) -> None:
    expected = guest.as_root(differ_script(seed))
    assert guest.under_notify(differ_script(seed)).splitlines() == expected.splitlines()
