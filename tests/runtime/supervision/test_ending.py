"""Threads that wait for FUSE, as the end of a container finds them: in a fake /proc."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sundog.errors import SundogError
from sundog.runtime.supervision import ending, fuse_mounts
from sundog.runtime.supervision.ending import Ending
from sundog.runtime.supervision.fuse_mounts import HostMounts

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

RUNNING, EXITING, KILLED = (0, 0), (0x4, 0), (0, 1 << 8)
MOUNTS = r"""
20 1 8:1 / / rw - ext4 /dev/sda rw
21 20 0:71 / /with\040blank rw - fuse.sshfs mine rw,user_id=0
22 20 0:72 / /host rw shared:1 - fuse theirs rw,user_id=0
"""
HOST = "30 1 0:72 / /home/me/remote rw - fuse theirs rw,user_id=0\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    return tmp_path / "proc"


@pytest.fixture
def connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the directory of fusectl, with the files of three connections."""
    path = tmp_path / "connections"
    for number in (70, 71, 72):
        (path / str(number)).mkdir(parents=True)
        (path / str(number) / "abort").touch()
    monkeypatch.setattr(fuse_mounts, "CONNECTIONS", os.fsencode(path))
    return path


@pytest.fixture
def found(
    proc: Path, tmp_path: Path, connections: Path, monkeypatch: pytest.MonkeyPatch
) -> Generator[Ending]:
    """Read the fake /proc, on a host that has mounted the connection 72."""
    proc.mkdir()
    (tmp_path / "mountinfo").write_text(HOST)
    host = HostMounts()
    real, _ = host.descriptors()
    with (tmp_path / "mountinfo").open("rb") as mounts:
        os.dup2(mounts.fileno(), real)
    assert connections.is_dir()
    opened = os.open(proc, os.O_PATH)
    yield Ending(opened, host)
    for fd in (opened, *host.descriptors()):
        os.close(fd)


def thread(proc: Path, number: int, state: str, bits: tuple[int, int], process: int = 7) -> Path:
    """Make a thread, with the flags and the pending signals ``bits``."""
    path = proc / str(process) / "task" / str(number)
    path.mkdir(parents=True)
    flags, pending = bits
    fields = [state, *["0"] * 5, str(flags), *["0"] * 21, str(pending), *["0"] * 20]
    (path / "stat").write_text(f"{number} (a ) name) {' '.join(fields)}\n")
    (path / "mountinfo").write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("state", "bits", "is_stuck"),
    [
        ("D", EXITING, True),
        ("D", KILLED, True),
        ("D", RUNNING, False),
        ("S", KILLED, False),
        ("Z", EXITING, False),
    ],
)
def test_a_killed_thread_that_waits_is_stuck(
    state: str, bits: tuple[int, int], is_stuck: bool, proc: Path, found: Ending
) -> None:
    thread(proc, 7, "Z", EXITING)
    thread(proc, 8, state, bits)
    assert found.is_stuck(7) == is_stuck
    assert found.living([7, 9]) == ([] if state == "Z" else [7])


def test_what_does_not_end_is_one_line(
    proc: Path, found: Ending, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8, 18):
        thread(proc, number, "D", KILLED)
    monkeypatch.setattr(ending, "KILLING_PATIENCE", 0)
    monkeypatch.setattr(ending, "ENDING_PATIENCE", 0.1)
    with pytest.raises(SundogError) as caught:
        found.end(lambda: False, lambda: [7], lambda _: None)
    assert caught.value.message.startswith("processes of the container do not end: ")
    assert caught.value.message.endswith(", …: they wait for its FUSE file system at /with blank")
    assert caught.value.hint.endswith("echo 1 > /sys/fs/fuse/connections/71/abort")


def test_without_fuse_it_is_a_file_server(proc: Path, found: Ending) -> None:
    (thread(proc, 8, "D", KILLED) / "mountinfo").write_text("")
    assert "file server" in found.failure([7]).hint


def test_fusectl_aborts_all_but_the_hosts(proc: Path, found: Ending, connections: Path) -> None:
    """Those that the thread has mounted, and those whose device it has open."""
    directory = thread(proc, 8, "D", KILLED) / "fdinfo"
    directory.mkdir()
    for fd, number in ((3, 70), (4, 72)):
        (directory / str(fd)).write_text(f"pos:\t0\nfuse_connection:\t{number}\n")
    found.free([7])
    found.free([7])
    written = [path.parent.name for path in connections.glob("*/abort") if path.read_text()]
    assert sorted(written) == ["70", "71"]
