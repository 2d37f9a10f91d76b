"""Random calls, pointers and lengths for the supervisor: every call ends, and no answer is wrong.

``make fuzz`` runs this for ten minutes, with a seed from the clock.  This test runs ten seconds
with a fixed seed: half of them with the fast path.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.runtime.notify.conftest import PRELOAD, WAYS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.notify.conftest import Container

SEED = os.environ.get("SUNDOG_FUZZ_SEED", "20261124")
SECONDS = int(os.environ.get("SUNDOG_FUZZ_SECONDS", "10"))
EACH = max(1, SECONDS // len(WAYS))


@pytest.mark.slow
@pytest.mark.timeout(EACH + 180)
@pytest.mark.parametrize("fast", WAYS.values(), ids=WAYS)
def test_random_calls_leave_the_supervisor_alone(
    request: pytest.FixtureRequest, tmp_path: Path, *, fast: bool
) -> None:
    # The status is 125 after an incident, and 1 after an answer that differs from the kernel's.
    busybox: Container = request.getfixturevalue("dynamic_busybox" if fast else "busybox")
    prepare = "mkdir /fixed; mount -t tmpfs fixed /fixed; : >/fixed/file; mkdir w; cd w"
    start = f"{PRELOAD if fast else ''}exec fuzz {SEED} {EACH}"
    done = busybox.on_overlay(tmp_path / "overlay").run(
        *("sh", "-c", f"{prepare}; {start}"),
        options=("--stats", "--fast" if fast else "--no-fast"),
        check=False,
        timeout=EACH + 120,
    )
    assert done.returncode == 0, f"seed {SEED}\n{done.stderr}"
    assert "notifications" in done.stderr
    assert ("fuzz: with the fast path" in done.stderr) == fast
