"""Builds and imports: the same Dockerfiles and tarballs for every tool."""

from __future__ import annotations

import re
import statistics
from contextlib import ExitStack
from typing import TYPE_CHECKING

from scripts.place import WorkshopError

from bench import inputs
from bench.file_system import ext4
from bench.measure import Cost, content, disk
from bench.report import Row, Table, figure, ratio
from bench.tools import Sundog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.measure import Bench
    from bench.report import Results
    from bench.tools import Tool

ROUNDS = 3
PEERS = ("charliecloud", "buildah")
AGAIN = 5
FILES = 50
MEGABYTE = 1e6


def builds(bench: Bench, tools: Sequence[Tool], tarball: Path, results: Results) -> None:
    """Build five instructions cold, cached and with the last line changed, in fresh storage."""
    costs: dict[str, dict[str, list[Cost]]] = {tool.name: {} for tool in tools}
    spaces: dict[str, list[int]] = {tool.name: [] for tool in tools}
    context = bench.directory("context")
    bench.directory("context/files")
    for number in range(FILES):
        (context / "files" / f"{number}").write_bytes(b"%d\n" % number * 500)

    for turn in range(ROUNDS):
        for kind in tools:
            tool = type(kind)(kind.name, bench, bench.place / f"storage-{kind.name}-{turn}")

            def timed(stage: str, argv: Sequence[str], tool: Tool = tool, rounds: int = 1) -> None:
                cost = bench.time([argv], rounds=rounds, env=tool.environment)[0]
                costs[tool.name].setdefault(stage, []).append(cost)

            dockerfile = context / f"Dockerfile.{tool.name}"
            dockerfile.write_text(inputs.DOCKERFILE.format(base=tool.base, last=""))
            timed("import of the base", tool.importing(tarball))
            timed("cold build", tool.building(dockerfile))
            spaces[tool.name].append(disk(tool.storage))
            timed("cached rebuild", tool.building(dockerfile), rounds=AGAIN)
            for change in range(AGAIN):
                dockerfile.write_text(inputs.DOCKERFILE.format(base=tool.base, last=f"{change}"))
                timed("last line changed", tool.building(dockerfile))
            dockerfile.write_text(inputs.INSTALL.format(base=tool.base))
            timed("install, no cache", tool.building(dockerfile, cache=False))

    names = [tool.name for tool in tools]
    condensed = {
        name: {stage: Cost.median(runs) for stage, runs in row.items()}
        for name, row in costs.items()
    }
    median = {
        name: {stage: cost.wall for stage, cost in row.items()} for name, row in condensed.items()
    }
    failed = [
        f" {name}, {stage}{cost.remark}."
        for name, row in condensed.items()
        for stage, cost in row.items()
        if cost.remark
    ]
    space = {name: statistics.median(values) for name, values in spaces.items()}
    rows = [
        _beside(stage, {name: median[name][stage] for name in names}, ".2f")
        for stage in next(iter(median.values()))
    ]
    megabytes = {name: value / MEGABYTE for name, value in space.items()}
    rows.append(_beside("disk after the cold build, MB", megabytes, ".0f"))
    examples = [" ".join(tool.building(context / f"Dockerfile.{tool.name}")) for tool in tools]
    results.tables.append(
        Table(
            "Build",
            f"`apt-get install {inputs.PACKAGES}` from a repository in the image, COPY of {FILES}"
            f" files, two more RUN; seconds of wall time, medians of {ROUNDS} rounds"
            f" ({ROUNDS * AGAIN} of those that change little), each in fresh storage."
            + "".join(failed),
            ("stage", *names, *(f"÷ {peer}'s" for peer in PEERS)),
            rows,
            commands=examples,
        )
    )
    own, peers = median["sundog"], median
    results.target("cached rebuild, s", own["cached rebuild"], 0.15)
    results.target("last line changed, s", own["last line changed"], 0.25)
    for peer, limit in (("buildah", 0.8), ("charliecloud", 0.35)):
        ratio = own["cold build"] / peers[peer]["cold build"]
        results.target(f"cold build ÷ {peer}'s", ratio, limit)
    results.target("disk ÷ buildah's", space["sundog"] / space["buildah"], 1.0)


def _beside(stage: str, values: Mapping[str, float], form: str) -> Row:
    """Return a row with each tool's value, and Sundog's ratios to its peers."""
    ratios = [ratio(values["sundog"], values[peer]) for peer in PEERS]
    return Row((stage, *(figure(value, form) for value in values.values()), *ratios))


def imports(bench: Bench, tools: Sequence[Tool], tarball: Path, results: Results) -> None:
    """Import a big compressed tarball, beside plain unpacking by bsdtar and GNU tar."""
    with ExitStack() as file_systems:
        costs = _timed_imports(bench, tools, tarball, file_systems)
        unpacked = content(bench.place / "big-bsdtar-0")
        _from_big(bench, results)
    median = {name: Cost.median(runs) for name, runs in costs.items()}
    own = median["sundog"]
    rows = [
        Row((
            f"{name}{cost.remark}",
            figure(cost.wall, ".1f"),
            figure(cost.cpu, ".1f"),
            figure(cost.resident / MEGABYTE, ".0f"),
            ratio(own.wall, cost.wall),
            ratio(own.cpu, cost.cpu),
            ratio(own.resident, cost.resident),
        ))
        for name, cost in median.items()
    ]  # fmt: skip
    results.tables.append(
        Table(
            "Import of a big image",
            f"{tarball.stat().st_size / MEGABYTE:.0f} MB of tar.gz, {unpacked / MEGABYTE:.0f} MB"
            f" unpacked: this machine's own /usr. Medians of {ROUNDS} rounds, each in fresh"
            " storage on a fresh ext4; CPU time of all processes, peak memory of the largest"
            " process, MB of 10^6 bytes.",
            ("by", "wall, s", "CPU, s", "peak, MB", "ratio: wall", "CPU", "peak"),
            rows,
            commands=[" ".join(tool.importing(tarball, "big")) for tool in tools]
            + [f"bsdtar -xf {tarball}", f"tar -xf {tarball}"],
        )
    )
    results.target("import: CPU ÷ bsdtar's", own.cpu / median["bsdtar -xf"].cpu, 1.3)
    results.target("import: peak memory of the largest process, MB", own.resident / MEGABYTE, 150)


def _timed_imports(
    bench: Bench, tools: Sequence[Tool], tarball: Path, file_systems: ExitStack
) -> dict[str, list[Cost]]:
    """Return the cost of each import; its files stay until ``file_systems`` is closed."""
    costs: dict[str, list[Cost]] = {}
    for turn in range(ROUNDS):
        for tool in tools:
            place = bench.directory(f"storage-big-{tool.name}-{turn}")
            file_systems.enter_context(ext4(place, bench.user))
            fresh = type(tool)(tool.name, bench, place / "storage")
            argv = fresh.importing(tarball, "big")
            costs.setdefault(tool.name, []).extend(bench.time([argv], env=fresh.environment))
        for program in ("bsdtar", "tar"):
            target = bench.directory(f"big-{program}-{turn}")
            file_systems.enter_context(ext4(target, bench.user))
            argv = [program, "-C", str(target), "-xf", str(tarball)]
            costs.setdefault(f"{program} -xf", []).extend(bench.time([argv]))
    return costs


def _from_big(bench: Bench, results: Results) -> None:
    """Read the time of FROM with the big image from Sundog's own timer."""
    tool = Sundog("sundog", bench, bench.place / "storage-big-sundog-0/storage")
    context = bench.directory("context")
    dockerfile = context / "Dockerfile.big"
    command = tool.building(dockerfile)
    verbose = [*command[:2], "-v", *command[2:]]
    times = []
    for turn in range(ROUNDS):
        dockerfile.write_text(f"FROM big\nENV NOTHING={turn}\n")
        text = bench.run(["sh", "-c", '"$@" 2>&1', "sh", *verbose], tool.environment)
        found = re.search(r"FROM took ([\d.]+) ms", text)
        if found is None:
            raise WorkshopError(f"no time of FROM in the output of `-v`:\n{text}")
        times.append(float(found.group(1)))
    results.target("FROM of the big image, ms by `-v`", statistics.median(times), 10)
