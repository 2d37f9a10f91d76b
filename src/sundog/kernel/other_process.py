"""Processes besides this one: proc_pid_stat(5).

A number and a start time name a process as long as the machine does not boot again.
"""

import os

from sundog.kernel.files import Closing

START_TIME = 22  # the number of the field, with the first being 1


def start_time(pid: int) -> "int | None":
    """Return when a process started, in clock ticks after the boot; None if it has ended."""
    try:
        with Closing(os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)) as fd:
            fields = os.read(fd, 4096).rpartition(b")")[2].split()
    except OSError:
        return None
    if len(fields) < START_TIME - 2 or fields[0] in (b"Z", b"X"):
        return None
    return int(fields[START_TIME - 3])


def boot_id() -> str:
    """Return the number of this boot, "" without /proc."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read(64).strip()
    except OSError:
        return ""
