"""The identity of a process: its PID, its start time and the boot.

A process that gets the same PID later, also after a reboot, has another identity.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing

_START_TIME = 22  # field of proc_pid_stat(5)
_DEAD_STATES = (b"Z", b"X")


class Process:
    """A process, with its identity: ``start`` is in clock ticks after the boot."""

    __slots__ = ("boot", "pid", "start")

    def __init__(self, pid: int, start: int, boot: str) -> None:
        self.pid = pid
        self.start = start
        self.boot = boot

    @classmethod
    def of(cls, pid: int) -> Process:
        """Return the process that has this number now.  Raises ProcessLookupError if none has."""
        start = start_time(pid)
        if start is None:
            raise ProcessLookupError
        return cls(pid, start, boot_id())

    def lives(self) -> bool:
        """Tell whether it has not ended; a zombie has."""
        return self.boot == boot_id() and start_time(self.pid) == self.start

    def is_there(self) -> bool:
        """Tell whether it has not ended, or is a zombie: its parent has not reaped it yet."""
        return self.boot == boot_id() and start_time(self.pid, dead=()) == self.start

    def open(self) -> int:
        """Return a pidfd of it.  Raises ProcessLookupError if it has ended."""
        fd = os.pidfd_open(self.pid)
        # The number can have gone to another process before the call, not after it.
        if self.lives():
            return fd
        os.close(fd)
        raise ProcessLookupError


def start_time(pid: int, dead: tuple[bytes, ...] = _DEAD_STATES) -> int | None:
    """Return when a process started, in clock ticks after the boot; None if it has ended.

    It has ended if it is not there, or in one of the states ``dead``.
    """
    try:
        with Closing(os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)) as fd:
            fields = os.read(fd, 4096).rpartition(b")")[2].split()
    except OSError:
        return None
    if len(fields) < _START_TIME - 2 or fields[0] in dead:
        return None
    return int(fields[_START_TIME - 3])


def has_ended(process: int) -> bool:
    """Tell whether the process of a pidfd has ended."""
    from select import POLLIN, poll  # noqa: PLC0415 - most starts need none

    events = poll()
    events.register(process, POLLIN)
    return bool(events.poll(0))


def is_hidden(pid: int) -> bool:
    """Tell whether there is a process that /proc does not show to this one.

    The option hidepid of proc(5) hides processes of the same user, too: those that are not
    dumpable, and those around a container for who is inside.
    """
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass
    except (ProcessLookupError, OverflowError):
        return False
    return not os.path.exists(f"/proc/{pid}/stat")


def boot_id() -> str:
    """Return the number of this boot, "" without /proc."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read(64).strip()
    except OSError:
        return ""
