"""The cost of the configuration for a start, and of a log.

The site's files are in an /etc of a mount namespace, which ends with the process that measures.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import subprocess
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.bases import makers

from bench.report import Row, Table
from bench.start import DECLINING, make_true
from bench.tools import Sundog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measure import Bench, Cost
    from bench.report import Results

ROUNDS = 400
LIMIT = 0.05  # ms
CLONE_NEWNS = 0x20000
# A start that is not served as compiled fails.
COMPILED = "SUNDOG_START=compiled"
WITHOUT = "`SUNDOG_CONFIG=none`"
NEITHER = "no configuration"
BOTH = "files of the site and of the user, with their records"
LOGGING = "the same, and `log.place` is a file: the launcher in Python"
LAUNCHER = "the same without a log in the launcher in Python"
FILES = {
    "/etc/sundog/sundog.toml": '[run]\nwrite_fake = "10%"\n[messages]\nhint = "ask hpc"\n',
    "/etc/sundog/sundog.d/part.toml": '[build]\nforce = "auto"\n',
}


@dataclass(frozen=True)
class _Case:
    """Commands by label, as ``Bench.time`` takes them; ``is_there`` tells if the files are."""

    commands: dict[str, Sequence[str]]
    is_there: bool


def measure(bench: Bench, results: Results) -> None:
    """Take all measurements of the configuration."""
    tree = bench.directory("busybox")
    bench.run(["tar", "-C", str(tree), "-xf", str(makers.base("busybox"))])
    make_true(bench, tree / "bin/true")
    tarball = bench.place / "busybox.tar"
    bench.run(["tar", "-C", str(tree), "-cf", str(tarball), "."])
    sundog = Sundog("sundog", bench, bench.place / "storage-configuration")
    bench.run(sundog.importing(tarball, "busybox"), sundog.environment)
    start = [str(bench.programs / "ch-run"), "busybox", "--", "true"]
    bench.run(start, sundog.environment)  # it leaves the accounts for the compiled start
    user = _user_files(bench, "user", '[run]\nwrite_fake = "20%"\n')
    log = _user_files(bench, "logging", f'[log]\nplace = "{bench.place}/log-of-starts"\n')
    bench.run(["touch", str(bench.place / "log-of-starts")])
    none = ["SUNDOG_CONFIG=none", COMPILED, *start]
    cases = (
        _Case(
            {WITHOUT: none, NEITHER: ["XDG_CONFIG_HOME=/nonexistent", COMPILED, *start]},
            is_there=False,
        ),
        _Case(
            {
                WITHOUT: none,
                BOTH: [*user, COMPILED, *start],
                LOGGING: [*log, *start],
                LAUNCHER: [*user, DECLINING, *start],
            },
            is_there=True,
        ),
    )
    rows = []
    for case in cases:
        # A process can't leave a mount namespace, so another one takes these measurements.
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
            costs = pool.submit(_costs, bench, case, sundog.environment).result()
        cost = dict(zip(case.commands, costs, strict=True))
        base = cost[WITHOUT].cpu
        rows += [
            Row((label, f"{one.cpu * 1e3:.3f}", f"{one.wall * 1e3:.3f}", _more(one.cpu - base)))
            for label, one in cost.items()
        ]
        label = BOTH if case.is_there else NEITHER
        results.target(f"start, {label}: CPU more, ms", (cost[label].cpu - base) * 1e3, LIMIT)
    results.tables.append(
        Table(
            "The configuration of a start",
            f"`ch-run IMAGE -- true`, one layer; medians of {ROUNDS} interleaved rounds. The last"
            " column is the CPU more than that of the first row above, which looks for no file.",
            ("start", "CPU, ms", "wall, ms", "more, ms"),
            rows,
            commands=[" ".join(argv) for case in cases for argv in case.commands.values()],
        )
    )


def _more(seconds: float) -> str:
    return f"{seconds * 1e3:+.3f}"


def _user_files(bench: Bench, name: str, text: str) -> list[str]:
    """Make the file of a user in a directory, and return the assignments that lead there."""
    place = bench.directory(name) / "config"
    directory = bench.directory(f"{name}/config/sundog")
    (directory / "sundog.toml").write_text(text)
    os.chown(directory / "sundog.toml", bench.user.uid, bench.user.gid)
    return [f"XDG_CONFIG_HOME={place}", f"XDG_CACHE_HOME={place.parent / 'cache'}"]


def _costs(bench: Bench, case: _Case, environment: dict[str, str]) -> list[Cost]:
    """Time the commands where the files are there, or none is."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    layers = [bench.place / f"etc-{name}-{int(case.is_there)}" for name in ("upper", "work")]
    for layer in layers:
        layer.mkdir(mode=0o755)
    options = f"lowerdir=/etc,upperdir={layers[0]},workdir={layers[1]}"
    for words in (
        ["mount", "--make-rprivate", "/"],
        ["mount", "-t", "overlay", "-o", options, "etc", "/etc"],
        ["rm", "-rf", "/etc/sundog"],
    ):
        subprocess.run(words, check=True)
    if case.is_there:
        write = [str(bench.programs / "sundog"), "config", "--write"]
        for name, text in FILES.items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(text)
        subprocess.run(
            write, env={"PATH": os.environ["PATH"]}, stdout=subprocess.DEVNULL, check=True
        )
        for argv in case.commands.values():
            assigned = dict(word.split("=", 1) for word in argv if word.startswith("XDG_"))
            if assigned:
                bench.run(write, environment | assigned)
    return bench.time(list(case.commands.values()), rounds=ROUNDS, env=environment)
