"""A random program gets the same answers under notify as real root got when it was recorded.

``python -m tests.runtime.notify.record`` records the answers again, as root.
"""

from __future__ import annotations

import lzma
import os
from typing import TYPE_CHECKING

import pytest

from sundog.runtime.emulation.notify.seccomp.fast_path import MACHINES
from tests.runtime.notify.conftest import PRELOAD
from tests.runtime.notify.record import EXPECTED, SEEDS, STEPS, differ_script

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.notify.conftest import Container


@pytest.mark.parametrize("seed", SEEDS)
def test_random_steps_end_as_for_real_root(busybox: Container, seed: int) -> None:
    assert busybox.sh(differ_script(seed)).splitlines() == expected(seed)


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_random_steps_end_as_for_real_root_on_an_overlay(
    busybox: Container, tmp_path: Path, seed: int
) -> None:
    overlay = busybox.on_overlay(tmp_path / "overlay")
    assert overlay.sh(differ_script(seed)).splitlines() == expected(seed)


@pytest.mark.skipif(os.uname().machine not in MACHINES, reason="the machine has no fast path")
@pytest.mark.parametrize("seed", SEEDS[3:9])
def test_random_steps_end_as_for_real_root_on_the_fast_path(
    dynamic_busybox: Container, seed: int
) -> None:
    script = PRELOAD + differ_script(seed)
    assert dynamic_busybox.sh(script, "--fast").splitlines() == expected(seed)


def expected(seed: int) -> list[str]:
    """Return the program's output for real root."""
    with lzma.open(EXPECTED / f"differ-{seed}.xz", "rt") as file:
        lines = file.read().splitlines()
    assert len(lines) > STEPS
    return lines
