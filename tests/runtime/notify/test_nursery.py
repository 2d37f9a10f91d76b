"""New inodes that are held open: the next inode with the same number could have the same birth."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from sundog.runtime.emulation.notify.state.nursery import CLOCK_REALTIME_COARSE, HELD_LIMIT, Nursery

if TYPE_CHECKING:
    from pathlib import Path

    from sundog.runtime.emulation.notify.state.files import Status


class Born:
    """A `Status` of a file; the test chooses the birth."""

    def __init__(self, path: Path, birth: int) -> None:
        self._path = path
        self._birth = birth

    def birth(self) -> int:
        return self._birth

    def open(self) -> int:
        return os.open(self._path, os.O_PATH | os.O_CLOEXEC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.touch()
    return path


def held(path: Path) -> int:
    """Return how many descriptors of a file this process has."""
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sum(os.path.lexists(link) and os.readlink(link) == str(path) for link in links)


def born(path: Path, birth: int) -> Status:
    return cast("Status", Born(path, birth))


def now() -> int:
    return time.clock_gettime_ns(CLOCK_REALTIME_COARSE)


def test_old_inode_is_not_held(file: Path) -> None:
    Nursery().take(born(file, now() - 1))
    assert held(file) == 0


def test_young_inode_is_held_until_the_clock_ticks(file: Path) -> None:
    nursery, soon = Nursery(), now() + 100_000_000
    nursery.take(born(file, soon))
    nursery.release()
    assert held(file) == 1
    while now() <= soon:
        pass
    nursery.release()
    assert held(file) == 0


def test_another_young_inode_lets_go_of_what_has_become_old(file: Path) -> None:
    nursery, soon = Nursery(), now() + 100_000_000
    nursery.take(born(file, soon))
    while now() <= soon:
        pass
    nursery.take(born(file, soon))
    assert held(file) == 0


def test_many_young_inodes_take_no_more_descriptors_than_they_may(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, waits = [1], []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock[0] += 1

    stopped = SimpleNamespace(clock_gettime_ns=lambda _: clock[0], sleep=sleep)
    monkeypatch.setattr("sundog.runtime.emulation.notify.state.nursery.time", stopped)
    nursery = Nursery()
    for _ in range(HELD_LIMIT):
        nursery.take(born(file, clock[0]))
    assert (held(file), len(waits)) == (HELD_LIMIT, 0)
    nursery.take(born(file, clock[0]))
    assert (held(file), len(waits)) == (1, 1)
