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

from tests.runtime.notify.conftest import PRELOAD, WAYS
from tests.runtime.notify.record import EXPECTED, permissions_script

if TYPE_CHECKING:
    from tests.runtime.notify.conftest import Container

RECORDED = sorted(Path(os.environ.get("SUNDOG_RECORDED", EXPECTED)).glob("permissions-*.xz"))
CASES = [
    (path, way, fast)
    for path in RECORDED
    for way, fast in WAYS.items()
    if not fast or "strict" not in path.stem  # there is no fast path then
]


@pytest.mark.parametrize(
    ("recorded", "fast"),
    [(path, fast) for path, _, fast in CASES],
    ids=[f"{path.stem}-{way}" for path, way, _ in CASES],
)
def test_random_users_get_the_answers_of_the_kernel(
    request: pytest.FixtureRequest, recorded: Path, *, fast: bool
) -> None:
    busybox: Container = request.getfixturevalue("dynamic_busybox" if fast else "busybox")
    _, seed, *modes = recorded.stem.split("-")
    mode = "".join(modes)
    script = (PRELOAD if fast else "") + permissions_script(int(seed), mode)
    with lzma.open(recorded, "rt") as file:
        expected = file.read().splitlines()
    assert sum(line.endswith("= Permission denied") for line in expected) > 20
    options = ("--fast" if fast else "--no-fast", *(("--strict",) if mode else ()))
    assert busybox.sh(script, *options).splitlines() == expected
