"""`sundog apptainer`: an install in %post, a second build, and the pull of a SIF."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from bench import inputs
from bench.emulation import INSTALL, Trees, as_root
from bench.measure import Cost
from bench.registry import compressed, put, registry
from bench.report import Row, Table, figure, ratio
from bench.tools import Sundog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.measure import Bench
    from bench.report import Results

ROUNDS = 4
ROOT = "the install, real root, chroot"
POST = "`build --disable-cache docker://IMAGE FILE.def`: the install in %post"
SECOND = "the same again, with the build cache"
PULL = "`pull IMAGE.sif docker://IMAGE`"
PLAIN = "`ch-image pull IMAGE`"
MAKE = "`mksquashfs` of its tree"
DEFINITION = """\
Bootstrap: docker
From: services
%post
{install}
"""


def measure(bench: Bench, results: Results) -> None:
    """Take all measurements."""
    costs: dict[str, list[Cost]] = {}
    tarball = inputs.services()
    install = INSTALL.format(options="")
    _builds(bench, tarball, install, costs)
    _pulls(bench, tarball, costs)
    least = {name: Cost.least(runs) for name, runs in costs.items()}
    # What each is compared with.
    base = {POST: least[ROOT], PULL: _sum(least[PLAIN], least[MAKE])}
    results.tables.append(
        Table(
            "Definition files and SIFs",
            f"`apt-get install {inputs.SERVICES}` from a repository in the image; a pull from"
            f" docker-registry on this machine. The least of {ROUNDS} rounds, interleaved, each in"
            " a fresh copy or in fresh storage; CPU time of all processes. A build makes an image"
            " in storage, and no SIF. Ratios are those to real root, and to a pull and mksquashfs.",
            ("what", "wall, s", "CPU, s", "ratio: wall", "CPU"),
            [
                Row((
                    f"{name}{cost.remark}",
                    figure(cost.wall, ".2f"),
                    figure(cost.cpu, ".2f"),
                    ratio(cost.wall, base[name].wall) if name in base else "",
                    ratio(cost.cpu, base[name].cpu) if name in base else "",
                ))
                for name, cost in least.items()
            ],
        )
    )  # fmt: skip
    results.target("%post of an install: CPU ÷ real root's", _cpu(least[POST], base[POST]), 1.3)
    results.target("second build of a definition file, its stages, s", least[SECOND].wall, 1)
    for what, value in (
        ("wall", least[PULL].wall / base[PULL].wall),
        ("CPU", _cpu(least[PULL], base[PULL])),
    ):
        results.target(f"pull of a SIF: {what} ÷ that of a pull and mksquashfs", value, 1.3)


def _cpu(own: Cost, other: Cost) -> float:
    return own.cpu / other.cpu


def _sum(one: Cost, other: Cost) -> Cost:
    resident = max(one.resident, other.resident)
    return Cost(one.wall + other.wall, one.cpu + other.cpu, resident)


def _builds(bench: Bench, tarball: Path, install: str, costs: dict[str, list[Cost]]) -> None:
    """Install as real root and in %post, in turn; then build once more with the cache."""
    trees = Trees(bench, tarball)
    sundog = Sundog("sundog", bench, bench.place / "storage-apptainer")
    bench.run(sundog.importing(tarball, "services"), sundog.environment)
    file = bench.place / "services.def"
    file.write_text(DEFINITION.format(install=install))
    build = [str(bench.programs / "sundog"), "apptainer", "build", "--force"]
    target = ["docker://posted", str(file)]
    for turn in range(ROUNDS):
        tree = trees.roots(f"posted-{turn}")
        os.sync()  # as Bench.time does
        costs.setdefault(ROOT, []).append(as_root(tree, install))
        shutil.rmtree(tree)
        argv = [*build, "--disable-cache", *target]
        costs.setdefault(POST, []).extend(bench.time([argv], env=sundog.environment))
    bench.run([*build, *target], sundog.environment)
    for _ in range(ROUNDS):
        argv = [*build, *target]
        costs.setdefault(SECOND, []).extend(bench.time([argv], env=sundog.environment))


def _pulls(bench: Bench, tarball: Path, costs: dict[str, list[Cost]]) -> None:
    """Pull a SIF, pull an image, and make SquashFS of its tree, in turn."""
    tree = Trees(bench, tarball).fresh("pulled")
    file, squash = str(bench.place / "pulled.sif"), str(bench.place / "pulled.sqfs")
    with registry(bench, bench.directory("registry-apptainer")) as host:
        put(host, "services", [compressed(bench, tarball)])
        name = f"{host}/services:latest"
        for turn in range(ROUNDS):
            commands: dict[str, Callable[[Sundog], list[str]]] = {
                PULL: lambda tool: [
                    str(tool.bench.programs / "sundog"), "apptainer", "pull", "--force", file,
                    f"docker://{name}",
                ],
                PLAIN: lambda tool: tool.pulling(name),
                MAKE: lambda _: [
                    "mksquashfs", str(tree), squash, "-noappend", "-quiet", "-no-progress",
                ],
            }  # fmt: skip
            for number, (what, command) in enumerate(commands.items()):
                place = bench.place / f"storage-apptainer-{turn}-{number}"
                tool = Sundog("sundog", bench, place)
                argv = command(tool)
                costs.setdefault(what, []).extend(bench.time([argv], env=tool.environment))
