"""``sundog logs`` and ``sundog top``: what a container prints, and what runs in it."""

from __future__ import annotations

import sys
import time

from sundog.errors import SundogError, UsageError
from sundog.front.cli.output import print_columns
from sundog.front.cli.sundog_context import run_safely
from sundog.front.cli.sundog_scan import scanned, scanned_one
from sundog.front.podman import processes
from sundog.front.podman.container_options import LOGS, TOP
from sundog.front.podman.containers import own_containers
from sundog.front.podman.logs import STDERR, LogReader, selected
from sundog.front.podman.times import parse_moment, written
from sundog.front.stored import storage_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.cli.sundog_context import Context
    from sundog.front.podman.logs import LogLine

_LOOK = 0.2  # seconds between two looks at a log
_ALL = ("all", "-1")
_NARROWEST = 10


def logs(words: Sequence[str], context: Context) -> int:
    """Print the output of a detached container; return the exit status."""
    line = scanned_one("logs", words, LOGS, "CONTAINER")
    if line is None:
        return 0
    tail = _tail(line.last("tail"))
    now = time.time_ns()
    since, until = (
        None if text is None else parse_moment(text, f"--{name}", now)
        for name in ("since", "until")
        for text in [line.last(name)]
    )
    has_times = line.is_set("timestamps")

    def action() -> int:
        containers = own_containers(storage_directory(context.storage))
        container = containers.get(line.operands[0])
        if not container.detached:
            raise SundogError(
                f"{container.name}: its output went to its own terminal",
                "sundog run --detach, or sundog start, keeps a log",
            )
        reader = LogReader(containers.open_log(container))
        for found in selected(reader.lines(), tail=tail, since=since, until=until):
            _print(found, has_times=has_times)
        while line.is_set("follow"):
            # Its record goes, or gets a status, when the log is complete.
            record = containers.recorded(container.name)
            is_over = record is None or record.status is not None
            is_over = is_over or record.process.pid != container.process.pid  # type: ignore[union-attr]
            for found in reader.lines():
                if until is not None and found.when > until:
                    is_over = True
                    break
                _print(found, has_times=has_times)
            if is_over:
                break
            time.sleep(_LOOK)
        reader.close()
        return 0

    return run_safely(action)


def top(words: Sequence[str], context: Context) -> int:
    """Print the processes of a container; return the exit status."""
    line = scanned("top", words, TOP, permute=False)
    if line is None:
        return 0
    if not line.operands:
        raise UsageError("top: no container", "sundog top CONTAINER [COLUMN…]")
    name, *wanted = line.operands
    chosen = processes.columns(wanted)

    def action() -> int:
        containers = own_containers(storage_directory(context.storage))
        container = containers.get(name, running=True)
        container.wait_for_group()
        print_columns(processes.rows(container.process.pid, chosen), narrowest=_NARROWEST)
        return 0

    return run_safely(action)


def _print(line: LogLine, *, has_times: bool) -> None:
    stream = sys.stderr if line.stream == STDERR else sys.stdout
    head = written(line.when).encode() + b" " if has_times else b""
    stream.buffer.write(head + line.text)
    stream.flush()


def _tail(text: str | None) -> int | None:
    if text is None or text in _ALL:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise UsageError(f"--tail {text}: not a number of lines", "--tail 10, or --tail all")
    return int(text)
