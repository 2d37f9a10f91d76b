"""Random users get the same refusals under notify as they got from the kernel under real root.

``tests.runtime.notify.record`` says how to record the kernel's answers.  `make fuzz` records more
of them in the directory ``$SUNDOG_RECORDED``.
"""

from __future__ import annotations

import lzma
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.notify.record import EXPECTED, permissions_script

if TYPE_CHECKING:
    from tests.runtime.notify.conftest import Container

RECORDED = sorted(Path(os.environ.get("SUNDOG_RECORDED", EXPECTED)).glob("permissions-*.xz"))


@pytest.mark.parametrize("recorded", RECORDED, ids=[path.stem for path in RECORDED])
def test_random_users_get_the_answers_of_the_kernel(busybox: Container, recorded: Path) -> None:
    _, seed, *modes = recorded.stem.split("-")
    mode = "".join(modes)
    script = permissions_script(int(seed), mode)
    with lzma.open(recorded, "rt") as file:
        expected = file.read().splitlines()
    assert sum(line.endswith("= Permission denied") for line in expected) > 20
    options = ("--strict",) if mode else ()
    assert busybox.sh(script, *options).splitlines() == expected
