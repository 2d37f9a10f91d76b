"""The memory of a million records; and the supervisor forgets files that are gone."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sundog.runtime.emulation.notify.state.records import ATTRIBUTE_BYTES_LIMIT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.notify.conftest import Container

LIMIT = 300  # bytes per record
COUNT = 1_000_000

MEASURE = f"""
import os
from sundog.runtime.emulation.notify.state.records import Records

class Known:
    # What `Status` is, of a file that exists only here.
    device, mode, uid, gid, links = 2053, 0o100644, 0, 0, 1
    def __init__(self, inode):
        self.inode = inode
    def birth(self):
        return 1_700_000_000_000_000_000 + self.inode * 977

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

records = Records()
before = resident()
for inode in range(10_000_000_000, 10_000_000_000 + {COUNT}):
    status = Known(inode)
    record = records.make(status)
    record.uid, record.gid = 100_000 + inode % 5000, 1000
    records.keep(status, record)
assert len(records) == {COUNT}
print((resident() - before) // {COUNT})
"""


@pytest.mark.slow
def test_million_records() -> None:
    command = [sys.executable, "-c", MEASURE]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) <= LIMIT


# Rounds of `churn`.  Each kind makes more records or identities than may remain in the end.
CHURN = {
    "files": 3000,
    "batches": 8600,
    "devices": 3000,
    "directories": 2000,
    "attributes": 3000,
    "lists": 3000,
    "sockets": 3000,
    "identities": 10_000,
    "groups": 2000,
    "processes": 6000,
}
UNWATCHED = 500
LIMITS = {"records": 1500, "identities": 4200}
LIMITS_OF_GROUPS = {"records": 1500, "identities": 700}  # each identity has a hundred groups


def count(stderr: str, what: str) -> int:
    """Return the sandbox's count of ``what``."""
    found = re.search(rf"^notify: (?:grew by )?([0-9]+) {what}$", stderr, re.MULTILINE)
    assert found, stderr
    return int(found[1])


@pytest.mark.parametrize("what", CHURN)
def test_what_is_gone_is_forgotten(busybox: Container, what: str) -> None:
    """The test runs on a tmpfs, because a tmpfs uses no inode number twice."""
    script = f"mkdir s; mount -t tmpfs s s; cd s; exec churn {what} {CHURN[what]}"
    done = busybox.run("sh", "-c", script, options=("--stats", f"--unwatched={UNWATCHED}"))
    limits = LIMITS_OF_GROUPS if what == "groups" else LIMITS
    for limited, limit in limits.items():
        assert count(done.stderr, limited) < limit, done.stderr


@pytest.mark.parametrize("place", ["in place", "on an overlay"])
def test_what_is_gone_is_forgotten_on_disk(busybox: Container, tmp_path: Path, place: str) -> None:
    container = busybox if place == "in place" else busybox.on_overlay(tmp_path / "overlay")
    options = ("--stats", f"--unwatched={UNWATCHED}")
    done = container.run("sh", "-c", "mkdir s; cd s; exec churn batches 8600", options=options)
    assert count(done.stderr, "records") < LIMITS["records"], done.stderr


@pytest.mark.slow
def test_supervisor_does_not_grow(busybox: Container) -> None:
    """The supervisor keeps the first few thousand records.  A million rounds may take 20 MB."""
    script = "mkdir s; mount -t tmpfs s s; cd s; exec churn files 60000"
    done = busybox.run("sh", "-c", script, options=("--stats",))
    assert count(done.stderr, "bytes") < 14_000_000, done.stderr


def test_recorded_attributes_have_a_total(busybox: Container) -> None:
    script = "mkdir s; mount -t tmpfs s s; cd s; exec fill"
    done = busybox.run("sh", "-c", script, options=("--stats",))
    # Beside them, there is the list of a directory.
    assert 0 < ATTRIBUTE_BYTES_LIMIT - int(done.stdout) * 60_000 < 120_000
    assert count(done.stderr, "bytes") < 2 * ATTRIBUTE_BYTES_LIMIT, done.stderr
