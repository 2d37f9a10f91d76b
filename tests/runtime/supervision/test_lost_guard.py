"""A guard that waits for the kernel: for a disk, or because its container can't end."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from sundog.errors import SundogError
from sundog.runtime.supervision.leash import Leash, announce, take_leave
from sundog.runtime.supervision.lost_guard import Looking
from tests.conftest import children_of, state_of, until

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

LOOKS = 5
# The parent of a child of vfork(2) waits in the state D, as one that waits for a disk.
WAITER = """\
#include <signal.h>
#include <unistd.h>
int main(void) { signal(SIGINT, SIG_IGN); if (vfork() == 0) pause(); return 0; }
"""


@pytest.fixture
def guard(tmp_path: Path) -> Generator[int]:
    """Yield the ID of a process in the state D."""
    program = tmp_path / "waiter"
    subprocess.run(["cc", "-x", "c", "-", "-o", program], input=WAITER, text=True, check=True)
    with subprocess.Popen([program], process_group=0) as process:
        until(lambda: children_of(process.pid) and state_of(process.pid) == "D")
        yield process.pid
        os.killpg(process.pid, 9)


@pytest.mark.parametrize("is_done", [False, True])
def test_a_guard_that_waits(guard: int, *, is_done: bool) -> None:
    """It is lost if its init has ended before it could end all others, and not before that."""
    with Leash() as leash:
        announce(leash.theirs)
        look = Looking(guard, leash)
        for _ in range(LOOKS):
            look()
        assert not leash.is_done()
        if is_done:
            take_leave(leash.theirs)
        leash.give()
        look()
        if is_done:
            for _ in range(LOOKS):
                look()
        else:
            with pytest.raises(SundogError, match="a process that keeps the container was killed"):
                look()


def test_the_leave_of_an_init_whose_builder_has_ended() -> None:
    leash = Leash()
    with leash:
        pass
    take_leave(leash.theirs)
    os.close(leash.theirs)
