"""Run commands round-robin and print what each run cost, as JSON. Standard library only.

The timer reads a JSON object from stdin: `commands` (list of argv, which may begin with
assignments NAME=VALUE), `rounds`, `env`, `cwd`, `log` (a file for all output). It prints a list,
one item a command, of lists, one item a round, of [status, wall seconds, CPU seconds, peak resident
KiB]. It runs as the user that the commands are to run as.

The timer is a subreaper, so that it counts the CPU time of helpers which outlive their command. It
interleaves the commands, so that a change in the machine's load meets all of them.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from typing import Any

PR_SET_CHILD_SUBREAPER = 36


def run(argv: list[str], env: dict[str, str], log: int) -> tuple[int, float, float, int]:
    """Run one command to the end of its last process."""
    actions = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    started = time.monotonic()
    child = os.posix_spawnp(argv[0], argv, env, file_actions=actions)
    status, wall, cpu, resident = -1, 0.0, 0.0, 0
    while True:
        try:
            pid, code, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return status, wall, cpu, resident
        cpu += usage.ru_utime + usage.ru_stime
        resident = max(resident, usage.ru_maxrss)
        if pid == child:
            status, wall = os.waitstatus_to_exitcode(code), time.monotonic() - started


def assigned(words: list[str], env: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return a command without the assignments before it, and the environment with them."""
    count = 0
    while "=" in words[count] and "/" not in words[count].partition("=")[0]:
        count += 1
    return words[count:], env | dict(word.split("=", 1) for word in words[:count])


def main() -> None:
    """Run the commands that stdin names."""
    order: dict[str, Any] = json.load(sys.stdin)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    os.chdir(order["cwd"])
    os.environ["PATH"] = order["env"]["PATH"]
    results: list[list[tuple[int, float, float, int]]] = [[] for _ in order["commands"]]
    commands = [assigned(argv, order["env"]) for argv in order["commands"]]
    for _ in range(order["rounds"]):
        for result, (argv, env) in zip(results, commands, strict=True):
            result.append(run(argv, env, log))
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
