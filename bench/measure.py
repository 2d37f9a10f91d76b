"""Running commands as the benchmark's user, and what their runs cost."""

from __future__ import annotations

import json
import os
import stat
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import account
from scripts.place import WorkshopError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TIMER = Path(__file__).parent / "timer.py"
PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Cost:
    """Medians over rounds: seconds, CPU seconds, the largest process's peak memory in bytes."""

    wall: float
    cpu: float
    resident: float

    @classmethod
    def of(cls, runs: Sequence[Sequence[float]]) -> Cost:
        """Condense the timer's runs."""
        _, wall, cpu, resident = zip(*runs, strict=True)
        peak = statistics.median(resident) * 1024
        return cls(statistics.median(wall), statistics.median(cpu), peak)

    @classmethod
    def least(cls, costs: Sequence[Cost]) -> Cost:
        """Return the least of each: what other work on the machine adds the least to."""
        return cls(
            min(cost.wall for cost in costs),
            min(cost.cpu for cost in costs),
            min(cost.resident for cost in costs),
        )

    @classmethod
    def median(cls, costs: Sequence[Cost]) -> Cost:
        """Condense costs that were measured one by one."""
        return cls(
            statistics.median(cost.wall for cost in costs),
            statistics.median(cost.cpu for cost in costs),
            statistics.median(cost.resident for cost in costs),
        )


@dataclass(frozen=True)
class Bench:
    """The user, a fresh file system that is his, and the programs under test."""

    user: account.Account
    place: Path
    programs: Path

    @property
    def environment(self) -> dict[str, str]:
        """Return the commands' environment: Debian's peers before all else in PATH."""
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
    ) -> list[Cost]:
        """Run commands round-robin as the user and return what each cost; a failure raises.

        What is yet to be written to disk is written before: a command that syncs would pay for what
        went before, of commands that leave that to whoever comes next.
        """
        os.sync()
        log = self.place / "log"
        order = {
            "commands": [list(argv) for argv in commands],
            "rounds": rounds,
            "env": self.environment | dict(env or {}),
            "cwd": str(cwd or self.place),
            "log": str(log),
        }
        # The timer's text, not its path: the checkout may lie where the user cannot read.
        done = subprocess.run(
            [PYTHON, "-I", "-S", "-c", TIMER.read_text()],
            input=json.dumps(order),
            capture_output=True,
            text=True,
            user=self.user.uid,
            group=self.user.gid,
            extra_groups=self.user.groups,
            cwd=self.place,
            check=False,
        )
        if done.returncode:
            raise WorkshopError(f"the timer failed: {done.stderr}")
        costs = []
        for argv, runs in zip(commands, json.loads(done.stdout), strict=True):
            bad = [status for status, *_ in runs if status]
            if bad:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise WorkshopError(f"{' '.join(argv)}: exit status {bad[0]}\n{tail}")
            costs.append(Cost.of(runs))
        return costs

    def run(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> str:
        """Run a command as the user and return what it printed on stdout."""
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
        if done.returncode:
            raise WorkshopError(
                f"{' '.join(argv)}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout


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
