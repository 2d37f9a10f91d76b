"""What a million records weigh."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIMIT = 300  # bytes per record
COUNT = 1_000_000

MEASURE = f"""
import os
from sundog.emulation.notify.records import Records

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
