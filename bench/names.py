"""Count the system calls of a container's start that name a file or open one."""

from __future__ import annotations

import re
import statistics
from typing import TYPE_CHECKING

from bench.report import Row, Table, ratio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.measure import Bench
    from bench.report import Results

TRACES = 3


def measure(
    bench: Bench,
    commands: Mapping[str, Sequence[str]],
    env: Mapping[str, str],
    ours: str,
    results: Results,
) -> None:
    """Count the system calls that name a file, and the successful opens among them.

    ``ours`` is the label of the command to which the ratios are.
    """
    strace = ["strace", "-f", "-qq", "-e", "trace=%file", "-e", "signal=none", "-o"]
    log = bench.place / "strace"
    counts: dict[str, tuple[int, int]] = {}
    for label, argv in commands.items():
        rounds = []
        for _ in range(TRACES):
            bench.run([*strace, str(log), *argv], env)
            rounds.append(_count(log.read_text()))
        calls, opens = zip(*rounds, strict=True)
        counts[label] = int(statistics.median(calls)), int(statistics.median(opens))
    own = counts[ours]
    results.tables.append(
        Table(
            "Files named at a container's start",
            "System calls that name a file (openat, readlink, stat, access, mount and the like), as"
            " strace(1) sees them in all processes up to the execve(2) of `true`, and the"
            f" successful opens among them; medians of {TRACES}.",
            ("command", "path system calls", "successful opens", "ratio: calls", "opens"),
            [
                Row((label, f"{calls}", f"{opens}", ratio(own[0], calls), ratio(own[1], opens)))
                for label, (calls, opens) in counts.items()
            ],
            commands=[" ".join([*strace, str(log), *argv]) for argv in commands.values()],
        )
    )
    results.target("start: path system calls", own[0], 55)
    results.target("start: successful opens", own[1], 17)


def _count(trace: str) -> tuple[int, int]:
    """Count a trace's calls, and its successful opens, up to the last program executed."""
    calls = [line.split(" ", 1)[1].strip() for line in trace.splitlines()]
    executed = [at for at, call in enumerate(calls) if re.match(r"execve\(.*\) = 0$", call)]
    # The only program of a trace has started nothing: all of its calls count.
    if len(executed) > 1:
        calls = calls[: executed[-1] + 1]
    opens = [call for call in calls if re.match(r"open(at2?)?\(.*\) = \d+$", call)]
    return len(calls), len(opens)
