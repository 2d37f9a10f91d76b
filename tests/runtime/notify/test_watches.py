"""Watches of recorded inodes report the inodes that are gone, and no others."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel.numbers import process_abi
from sundog.runtime.emulation.notify.state import watches as watches_module
from sundog.runtime.emulation.notify.state.files import Files, Status
from sundog.runtime.emulation.notify.state.record import Record
from sundog.runtime.emulation.notify.state.watches import Watches
from sundog.runtime.emulation.notify.tracee.abi import NOTIFY_ABIS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.notify.conftest import Container

REMAINING = (
    *("plain", "renamed", "linked", "open", "sent", "unnamed", "mounted", "symlink"),
    "removed directory",
)
IN_OPEN, IN_CLOSE = 0x20, 0x18
QUEUED = "/proc/sys/fs/inotify/max_queued_events"


@pytest.mark.parametrize("place", ["in place", "on an overlay", "on a tmpfs"])
def test_what_is_not_gone_is_not_forgotten(busybox: Container, tmp_path: Path, place: str) -> None:
    container = busybox.on_overlay(tmp_path / "overlay") if place == "on an overlay" else busybox
    on = "mount -t tmpfs s s" if place == "on a tmpfs" else ":"
    options = ("--unwatched=0", "--stats")
    done = container.run("sh", "-c", f"mkdir s; {on}; cd s; exec remain", options=options)
    assert done.stdout == "".join(f"{what} 5:6\n" for what in REMAINING)
    assert int(done.stderr.rpartition(" records")[0].rpartition(" ")[2]) < 600, done.stderr


class Made:
    """Watched files, and their records."""

    def __init__(self, directory: Path, watches: Watches) -> None:
        self._directory = directory
        self.watches = watches
        self._files = Files(NOTIFY_ABIS[process_abi()])
        self.told: list[Record] = []

    def status(self, name: str) -> Status:
        return self._files.status(bytes(self._directory / name), follow=False)

    def make(self, name: str) -> Record:
        path = self._directory / name
        path.touch()
        record = Record(0, 0, 0, 0)
        self.told += [gone for _, gone in self.watches.add(self.status(name), record)]
        return record

    def remove(self, name: str) -> None:
        (self._directory / name).unlink()

    def gone(self) -> list[Record]:
        told, self.told = self.told, []
        return told + [record for _, record in self.watches.gone()]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.chdir("/proc")
    return Made(tmp_path, Watches())


def test_gone_is_told_once_and_with_its_record(made: Made) -> None:
    records = [made.make(str(number)) for number in range(3)]
    assert made.gone() == []
    made.remove("1")
    assert made.gone() == [records[1]]
    assert made.gone() == []


def test_next_file_of_the_same_number_is_another(made: Made) -> None:
    """A late report has the record of the inode that is gone, not that of the next inode."""
    before = []
    for _ in range(20):
        before.append(made.make("file"))
        made.remove("file")
    last = made.make("file")
    assert made.gone() == before
    made.remove("file")
    assert made.gone() == [last]


def test_inode_watched_twice_has_its_last_record(made: Made) -> None:
    made.make("file")
    last = made.make("file")
    made.remove("file")
    assert made.gone() == [last]


def test_oldest_are_let_go_of(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches_module, "WATCHES_LIMIT", 16)
    records = [made.make(str(number)) for number in range(24)]
    for number in range(24):
        made.remove(str(number))
    told = made.gone()
    assert 8 <= len(told) <= 16
    assert told == records[-len(told) :]


def test_events_that_were_lost(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After lost events the watches report every inode that is gone, and never another one."""
    records = {name: made.make(name) for name in ("gone", "there", "gone too")}
    with open(QUEUED, encoding="ascii") as file:
        queued = int(file.read())
    noise = tmp_path / "noise"
    noise.touch()
    watches = made.watches
    monkeypatch.setattr(watches_module, "IN_UNMOUNT", IN_OPEN | IN_CLOSE)
    made.make("noise")
    monkeypatch.undo()
    monkeypatch.chdir("/proc")
    for _ in range(queued):
        os.close(os.open(noise, os.O_RDONLY))
    made.remove("gone")
    made.remove("gone too")
    assert {id(record) for record in made.gone()} >= {
        id(records["gone"]),
        id(records["gone too"]),
    }
    made.remove("there")
    assert made.gone() == []
    again = made.make("there")
    made.remove("there")
    assert made.gone() == [again]
    assert len(watches) == 0


def test_what_a_race_puts_in_the_place_is_not_watched(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Status, "is_still_there", lambda _: False)
    made.make("file")
    made.remove("file")
    assert made.gone() == []


def test_without_inotify_all_stays(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches_module, "WATCHES_LIMIT", 0)
    for number in range(3):
        made.make(str(number))
        made.remove(str(number))
    assert made.gone() == []
