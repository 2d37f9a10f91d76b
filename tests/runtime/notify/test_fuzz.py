"""Random calls, pointers and lengths for the supervisor: every call ends, and no answer is wrong.

``make fuzz`` runs this for ten minutes, with a seed from the clock.  This test runs ten seconds
with a fixed seed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.notify.conftest import Container

SEED = os.environ.get("SUNDOG_FUZZ_SEED", "20261124")
SECONDS = int(os.environ.get("SUNDOG_FUZZ_SECONDS", "10"))


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 180)
def test_random_calls_leave_the_supervisor_alone(busybox: Container, tmp_path: Path) -> None:
    # The status is 125 after an incident, and 1 after an answer that differs from the kernel's.
    overlay = busybox.on_overlay(tmp_path / "overlay")
    fixed = "mkdir /fixed; mount -t tmpfs fixed /fixed; : >/fixed/file"
    done = overlay.run(
        *("sh", "-c", f"{fixed}; mkdir w; cd w; exec fuzz {SEED} {SECONDS}"),
        options=("--stats",),
        check=False,
        timeout=SECONDS + 120,
    )
    assert done.returncode == 0, f"seed {SEED}\n{done.stderr}"
    assert "notifications" in done.stderr
