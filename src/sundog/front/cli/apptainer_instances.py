"""``sundog apptainer instance list``, ``stop`` and ``stats``."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress
from fnmatch import fnmatchcase

from sundog.base.kernel.files import Closing
from sundog.errors import SundogError, UsageError
from sundog.front.apptainer.instances import own_instances
from sundog.front.apptainer.messages import INFO
from sundog.front.cli.output import TAB, print_columns, print_json
from sundog.front.cli.sundog_context import run_safely
from sundog.front.podman.stopping import signal_number, whole_number
from sundog.runtime.supervision.members import find_members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.apptainer.instances import Instance
    from sundog.front.apptainer.messages import Messages
    from sundog.front.options import Line

_GAP = "    "
_PATIENCE = 10  # seconds until SIGKILL
_END = 10.0  # seconds after SIGKILL
_BETWEEN = 1.0  # seconds between two looks of stats
_MEMORY = "/proc/meminfo"
_STAT_LIMIT = 4096
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def list_them(line: Line, messages: Messages) -> int:  # noqa: ARG001 - as the others
    """Print the instances that run."""
    pattern = line.operands[0] if line.operands else "*"
    found = [each for each in own_instances().list() if fnmatchcase(each.name, pattern)]

    def action() -> int:
        if line.is_set("json"):
            entries = [
                {
                    "instance": each.name,
                    "pid": each.process.pid,
                    "img": each.image,
                    "ip": "",
                    "logErrPath": each.err,
                    "logOutPath": each.out,
                }
                for each in found
            ]
            print_json({"instances": entries}, indent=TAB)
        elif line.is_set("logs"):
            rows = [["INSTANCE NAME", "PID", "LOGS"]]
            for each in found:
                rows += [[each.name, str(each.process.pid), each.err], ["", "", each.out]]
            print_columns(rows, _GAP)
        else:
            rows = [["INSTANCE NAME", "PID", "IP", "IMAGE"]]
            rows += [[each.name, str(each.process.pid), "", each.image] for each in found]
            print_columns(rows, _GAP)
        return 0

    return run_safely(action)


def stop(line: Line, messages: Messages) -> int:
    """Send signals, and SIGKILL to those that have not ended in time."""
    number = signal_number(line.last("signal") or "INT", "--signal")
    patience = whole_number(line.last("timeout"), "--timeout")
    if not line.operands and not line.is_set("all"):
        raise UsageError("instance stop: no name", "apptainer instance stop NAME, or --all")
    pattern = "*" if line.is_set("all") else line.operands[0]
    instances = own_instances()
    found = [each for each in instances.list() if fnmatchcase(each.name, pattern)]
    if not found:
        raise SundogError("no instance found", "apptainer instance list")
    for each in found:
        pid = each.process.pid
        messages.say(INFO, f"Stopping {each.name} instance of {each.image} (PID={pid})")
        _signal(each, signal.SIGKILL if line.is_set("force") else number)
    due = time.monotonic() + (_PATIENCE if patience is None else patience)
    for each in found:
        if not _wait(each, max(0, due - time.monotonic())):
            _signal(each, signal.SIGKILL)
            _wait(each, _END)
        instances.remove(each)
    return 0


def _signal(instance: Instance, number: int) -> None:
    with suppress(ProcessLookupError), Closing(instance.process.open()) as process:
        signal.pidfd_send_signal(process, number)


def _wait(instance: Instance, seconds: float) -> bool:
    """Wait for the end of an instance; return False if that takes longer."""
    try:
        with Closing(instance.process.open()) as process:
            return bool(select.select([process], [], [], seconds)[0])
    except ProcessLookupError:
        return True


def stats(line: Line, messages: Messages) -> int:
    """Print what the processes of instances use: once, or every second until a signal comes."""
    pattern = line.operands[0] if line.operands else "*"
    found = [each for each in own_instances().list() if fnmatchcase(each.name, pattern)]
    if not found:
        raise SundogError("no instance found", "apptainer instance list")
    if line.is_set("json") and not line.is_set("no-stream"):
        messages.say(INFO, "--json prints one look")
    once = line.is_set("no-stream") or line.is_set("json")

    def action() -> int:
        before = [_Use(each) for each in found]
        while True:
            time.sleep(_BETWEEN)
            uses = [_Use(each) for each in found]
            if line.is_set("json"):
                print_json(
                    {"stats": [use.entry(old) for old, use in zip(before, uses, strict=True)]}, TAB
                )
            else:
                rows = [list(_HEADINGS)]
                rows += [use.row(old) for old, use in zip(before, uses, strict=True)]
                print_columns(rows, _GAP)
            if once or not any(each.process.lives() for each in found):
                return 0
            before = uses

    return run_safely(action)


_HEADINGS = ("INSTANCE NAME", "CPU USAGE", "MEM USAGE / LIMIT", "MEM %", "PIDS")


class _Use:
    """The use of an instance's processes now: CPU time in seconds, memory in bytes."""

    __slots__ = ("_cpu", "_instance", "_limit", "_memory", "_pids", "_when")

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._when = time.monotonic()
        self._limit = _memory_of_machine()
        self._cpu, self._memory, self._pids = 0.0, 0, 0
        for process in _processes(instance):
            with suppress(OSError, ValueError, IndexError):
                with open(f"/proc/{process}/stat", "rb") as file:
                    fields = file.read(_STAT_LIMIT).rpartition(b")")[2].split()
                self._cpu += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                self._memory += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
                self._pids += 1

    def entry(self, before: _Use) -> dict[str, object]:
        """Return the use as an object of JSON; ``before`` is that of an earlier look."""
        return {
            "instance": self._instance.name,
            "cpuPercent": round(self._share(before), 2),
            "memUsage": self._memory,
            "memLimit": self._limit,
            "memPercent": round(100 * self._memory / self._limit, 2),
            "pids": self._pids,
        }

    def row(self, before: _Use) -> list[str]:
        """Return the use as cells of a table."""
        return [
            self._instance.name,
            f"{self._share(before):.2f}%",
            f"{_size(self._memory)} / {_size(self._limit)}",
            f"{100 * self._memory / self._limit:.2f}%",
            str(self._pids),
        ]

    def _share(self, before: _Use) -> float:
        """Return the percentage of one CPU; processes that have ended meanwhile do not count."""
        passed = max(self._when - before._when, 0.001)
        return max(100 * (self._cpu - before._cpu) / passed, 0.0)


def _processes(instance: Instance) -> Sequence[int]:
    """Return the processes of an instance, without those of Sundog."""
    try:
        own = os.stat(f"/proc/{instance.process.pid}/ns/user").st_ino
    except OSError:
        return ()  # it has ended
    if own == os.stat("/proc/self/ns/user").st_ino:
        return ()
    with Closing(os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as proc:
        return find_members(proc, {instance.process.pid}, own=own)


def _memory_of_machine() -> int:
    with open(_MEMORY, encoding="ascii") as file:
        for text in file:
            name, _, value = text.partition(":")
            if name == "MemTotal":
                return int(value.split()[0]) << 10
    return 1


def _size(amount: float) -> str:
    for unit in _UNITS[:-1]:
        if amount < 1024:
            return f"{amount:.4g}{unit}"
        amount /= 1024
    return f"{amount:.4g}{_UNITS[-1]}"
