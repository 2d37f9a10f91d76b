"""Measure groups of `ch-run --join` as the benchmark's user; print JSON.

Arguments: ch-run, its launcher in Python, the directory image, and the number of rounds.  The image
has `true` and `peer` (peer.c).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

PEERS = 64


def member(*argv: str) -> subprocess.Popen[bytes]:
    """Start a process that waits for the end of its standard input."""
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def line_of(process: subprocess.Popen[bytes]) -> str:
    """Return the next line that the process prints."""
    assert process.stdout is not None
    return process.stdout.readline().decode()


def processor_time(argv: list[str]) -> float:
    """Run a command and return its CPU seconds."""
    pid = os.posix_spawn(argv[0], argv, os.environ)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(argv)}: wait status {status}")
    return usage.ru_utime + usage.ru_stime


def starts(ch_run: str, launcher: str, image: str, rounds: int) -> dict[str, float]:
    """Return the median CPU seconds of a start, alone and in a group that exists."""
    holder = member(ch_run, "--join-tag=bench", image, "--", "peer", "show")
    line_of(holder)
    rest = [image, "--", "/bin/true"]
    commands = {
        "alone": ["/bin/sh", launcher, *rest],
        "python": ["/bin/sh", launcher, "--join-tag=bench", *rest],
        "compiled": [ch_run, "--join-tag=bench", *rest],
    }
    found: dict[str, list[float]] = {label: [] for label in commands}
    for _ in range(rounds):
        for label, argv in commands.items():
            found[label].append(processor_time(argv))
    holder.communicate()
    return {label: statistics.median(times) for label, times in found.items()}


def at_once(ch_run: str, image: str, round_: int) -> tuple[float, float]:
    """Start many peers; return the seconds that the first one and the slowest one took.

    A peer takes the time from its own start until its command runs.
    """
    tag = f"--join-tag=many{round_}"
    peers = []
    for _ in range(PEERS):
        begin = time.monotonic()
        peers.append((begin, member(ch_run, tag, image, "--", "peer", "stamp")))
    stamps = [(float(line_of(peer)), begin) for begin, peer in peers]
    for _, peer in peers:
        peer.communicate()
    stamp, begin = min(stamps)
    return stamp - begin, max(stamp - begin for stamp, begin in stamps)


def bandwidth(ch_run: str, image: str) -> float:
    """Return the bytes for each second that one peer copies from another one's memory."""
    words = [ch_run, "--join-tag=copy", image, "--", "peer"]
    holder = member(*words, "show")
    copier = subprocess.run(
        [*words, "copy", *line_of(holder).split()], stdout=subprocess.PIPE, check=True
    )
    holder.communicate()
    return float(copier.stdout)


def main() -> None:
    """Measure, and print."""
    ch_run, launcher, image, rounds = sys.argv[1:]
    many = [at_once(ch_run, image, round_) for round_ in range(5)]
    result = {
        "cpu": starts(ch_run, launcher, image, int(rounds)),
        "first": statistics.median(first for first, _ in many),
        "last": statistics.median(last for _, last in many),
        "bandwidth": bandwidth(ch_run, image),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
