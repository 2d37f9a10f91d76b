"""Run commands as the benchmark's user, and measure what they cost."""

from __future__ import annotations

import json
import math
import os
import stat
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import account
from scripts.place import WorkshopError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

TIMER = Path(__file__).parent / "timer.py"
PYTHON = "/usr/bin/python3"
_TRIES = 3


@dataclass(frozen=True)
class Cost:
    """Medians over rounds: seconds, CPU seconds, the largest process's peak memory in bytes.

    They are NaN if all rounds failed.  ``runs`` counts the rounds, ``failures`` has the last line
    that each failed one printed.
    """

    wall: float
    cpu: float
    resident: float
    runs: int = 1
    failures: tuple[str, ...] = ()

    @classmethod
    def of(cls, runs: Sequence[Sequence[float]], failure: str = "") -> Cost:
        """Condense the timer's runs; ``failure`` is the last line that a failed one printed."""
        good = [run[1:] for run in runs if not run[0]]
        failures = (failure,) * (len(runs) - len(good))
        wall, cpu, resident = zip(*(good or [(math.nan,) * 3]), strict=True)
        peak = statistics.median(resident) * 1024
        medians = statistics.median(wall), statistics.median(cpu)
        return cls(*medians, peak, len(runs), failures)

    @classmethod
    def least(cls, costs: Sequence[Cost]) -> Cost:
        """Return the least of each value: other work on the machine has added the least to it."""
        return cls._condensed(costs, min)

    @classmethod
    def median(cls, costs: Sequence[Cost]) -> Cost:
        """Condense costs that were measured one by one."""
        return cls._condensed(costs, statistics.median)

    @classmethod
    def _condensed(cls, costs: Sequence[Cost], choose: Callable[[list[float]], float]) -> Cost:
        # If none has succeeded, NaN is all there is.
        good = [cost for cost in costs if not math.isnan(cost.wall)] or costs
        return cls(
            choose([cost.wall for cost in good]),
            choose([cost.cpu for cost in good]),
            choose([cost.resident for cost in good]),
            sum(cost.runs for cost in costs),
            tuple(failure for cost in costs for failure in cost.failures),
        )

    @property
    def remark(self) -> str:
        """The words about failed runs for a row's label, "" if none failed."""
        if not self.failures:
            return ""
        return f", {len(self.failures)} of {self.runs} runs failed: `{self.failures[-1]}`"


@dataclass(frozen=True)
class Repeated:
    """Many starts of one command: their number, that of failures, and the seconds of one start."""

    count: int
    failed: int
    wall: float
    cpu: float


@dataclass(frozen=True)
class Bench:
    """The user, his fresh file system, and the programs under test."""

    user: account.Account
    place: Path
    programs: Path

    @property
    def environment(self) -> dict[str, str]:
        """Return the commands' environment: PATH begins with /usr/bin, where Debian's peers are."""
        own = account.environment(self.user, Path("/usr/bin"))
        return own | {"XDG_RUNTIME_DIR": str(self.place / "run"), "TMPDIR": str(self.place / "tmp")}

    def directory(self, name: str) -> Path:
        """Make a directory of the user's."""
        path = self.place / name
        self.run(["mkdir", "-p", str(path)])
        return path

    def time(
        self,
        commands: Sequence[Sequence[str]],
        *,
        rounds: int = 1,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        may_fail: bool = False,
    ) -> list[Cost]:
        """Run commands round-robin as the user and return what each cost.

        A command may begin with assignments, NAME=VALUE, as in a shell.  A failure of Sundog
        raises WorkshopError, unless it ``may_fail``; a failure of another command is in its cost.

        sync(2) comes first.  Otherwise a command that syncs would pay for earlier commands that
        don't.
        """
        os.sync()
        timer = self._timer(commands, rounds, env, cwd)
        costs = []
        for argv, runs in zip(commands, _told(timer), strict=True):
            bad = [status for status, *_ in runs if status]
            tail = self._tail() if bad else []
            if bad and self._is_ours(argv) and not may_fail:
                lines = "\n".join(tail)
                raise WorkshopError(f"{' '.join(argv)}: exit status {bad[0]}\n{lines}")
            costs.append(Cost.of(runs, tail[-1] if tail else ""))
        return costs

    def repeat(
        self, argv: Sequence[str], count: int, *, at_once: int = 1, env: Mapping[str, str]
    ) -> Repeated:
        """Run one command ``count`` times, in ``at_once`` rows side by side, and count failures."""
        os.sync()
        started = time.monotonic()
        timers = [self._timer([argv], count // at_once, env) for _ in range(at_once)]
        runs = [run for timer in timers for run in _told(timer)[0]]
        wall = time.monotonic() - started
        failed = sum(bool(status) for status, *_ in runs)
        return Repeated(
            len(runs), failed, wall / len(runs), sum(run[2] for run in runs) / len(runs)
        )

    def _timer(
        self,
        commands: Sequence[Sequence[str]],
        rounds: int,
        env: Mapping[str, str] | None,
        cwd: Path | None = None,
    ) -> subprocess.Popen[str]:
        """Start bench/timer.py as the user."""
        order = {
            "commands": [list(argv) for argv in commands],
            "rounds": rounds,
            "env": self.environment | dict(env or {}),
            "cwd": str(cwd or self.place),
            "log": str(self._log),
        }
        # As text: the user may not be able to read the checkout.
        timer = subprocess.Popen(
            [PYTHON, "-I", "-S", "-c", TIMER.read_text()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            user=self.user.uid,
            group=self.user.gid,
            extra_groups=self.user.groups,
            cwd=self.place,
        )
        assert timer.stdin is not None
        json.dump(order, timer.stdin)
        timer.stdin.close()
        timer.stdin = None
        return timer

    @property
    def _log(self) -> Path:
        """The file for what timed commands print."""
        return self.place / "log"

    def _tail(self) -> list[str]:
        """Return the last lines that timed commands printed."""
        return self._log.read_text(errors="replace").splitlines()[-15:]

    def _is_ours(self, argv: Sequence[str]) -> bool:
        return any(word.startswith(f"{self.programs}/") for word in argv)

    def run(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> str:
        """Run a command as the user and return what it printed on stdout.

        A command that is not Sundog's may fail twice before WorkshopError is raised.
        """
        tries = 1 if self._is_ours(argv) else _TRIES
        while True:
            done = subprocess.run(
                argv,
                env=self.environment | dict(env or {}),
                cwd=self.place,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                user=self.user.uid,
                group=self.user.gid,
                extra_groups=self.user.groups,
                check=False,
            )
            if not done.returncode:
                return done.stdout
            tries -= 1
            if not tries:
                raise WorkshopError(
                    f"{' '.join(argv)}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
                )


def _told(timer: subprocess.Popen[str]) -> list[list[list[float]]]:
    """Wait for a timer; return what it measured, by command and round."""
    out, err = timer.communicate()
    if timer.returncode:
        raise WorkshopError(f"the timer failed: {err}")
    measured: list[list[list[float]]] = json.loads(out)
    return measured


def content(path: Path) -> int:
    """Return the bytes of a tree's regular files, each inode once."""
    files = [found.lstat() for found in path.rglob("*") if not found.is_symlink()]
    return sum({s.st_ino: s.st_size for s in files if stat.S_ISREG(s.st_mode)}.values())


def disk(path: Path) -> int:
    """Return the bytes that a tree occupies, as root sees it."""
    done = subprocess.run(
        ["du", "-s", "--block-size=1", str(path)], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[0])
