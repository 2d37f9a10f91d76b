"""Independent stages built side by side: ``--jobs``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import inputs
from bench.measure import Cost
from bench.report import Row, Table, figure
from bench.tools import BASE, Sundog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.measure import Bench
    from bench.report import Results

ROUNDS = 3
# Some ten seconds of one processor.
_COMPUTED = "RUN head -c 2000000000 /dev/zero | gzip -6 | sha256sum >/out{number}"
_WRITTEN = "RUN dd if=/dev/zero of=/big bs=1M count=1000 conv=fsync 2>&1 && echo >/out{number}"
_LIMIT = 0.6  # of the wall time of one job
_WRITERS_LIMIT = 0.8  # if the device takes more from two writers than from one
_GAIN = 1.3


def measure(bench: Bench, results: Results) -> None:
    """Build stages that compute, and stages that write, with one job and with two."""
    sundog = Sundog("sundog", bench, bench.place / "storage")
    bench.time([sundog.importing(inputs.debian())], env=sundog.environment)
    works = {
        "six stages of 10 s of CPU each": (6, _COMPUTED),
        "two stages that write 1 GB each": (2, _WRITTEN),
    }
    quotients, rows = [], []
    for what, (count, instruction) in works.items():
        context = bench.directory(f"context-{count}")
        dockerfile = _dockerfile(context, count, instruction)
        lines = [
            sundog.building(dockerfile, cache=False, options=[f"--jobs={jobs}"])
            for jobs in (1, count)
        ]
        one, several = bench.time(lines, rounds=ROUNDS, env=sundog.environment)
        quotients.append(several.wall / one.wall)
        for jobs, cost in ((1, one), (count, several)):
            label = f"{what}, {jobs} at a time{cost.remark}"
            rows.append(Row((label, figure(cost.wall, ".1f"), figure(cost.cpu, ".1f"))))
    gain = _gain(bench)
    results.tables.append(
        Table(
            "Stages side by side",
            f"`--jobs`, {ROUNDS} rounds in turns, without the cache. Two writers beside the builds"
            f" together had {gain:.2f} times the rate of one.",
            ("stages", "wall, s", "CPU, s"),
            rows,
        )
    )
    results.target("six stages at a time: wall ÷ one at a time", quotients[0], _LIMIT)
    limit = _WRITERS_LIMIT if gain >= _GAIN else 1.1
    results.target("two writing stages at a time: wall ÷ one at a time", quotients[1], limit)


def _dockerfile(context: Path, count: int, instruction: str) -> Path:
    """Write a Dockerfile with independent stages, and one that takes a file of each."""
    lines: list[str] = []
    for number in range(count):
        lines += [f"FROM {BASE} AS stage{number}", instruction.format(number=number)]
    lines += [f"FROM {BASE}"]
    lines += [f"COPY --from=stage{number} /out{number} /" for number in range(count)]
    dockerfile = context / "Dockerfile"
    dockerfile.write_text("\n".join(lines) + "\n")
    return dockerfile


def _gain(bench: Bench) -> float:
    """Return the rate of two writers at once ÷ that of one, on the builds' file system."""
    place = bench.directory("written")

    def writing(*names: str) -> Sequence[str]:
        line = "dd if=/dev/zero of={} bs=1M count=1000 conv=fsync & "
        return ["sh", "-c", "".join(line.format(place / name) for name in names) + "wait"]

    costs: list[list[Cost]] = [[], []]
    for _ in range(ROUNDS):
        for found, names in zip(costs, (("a",), ("a", "b")), strict=True):
            bench.run(["rm", "-f", f"{place}/a", f"{place}/b"])
            found.extend(bench.time([writing(*names)]))
    one, two = map(Cost.median, costs)
    return 2 * one.wall / two.wall
