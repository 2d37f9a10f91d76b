"""Pulls from a registry on this machine, by every tool that can pull."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.file_system import ext4
from bench.measure import Cost
from bench.report import Row, Table, figure, ratio
from bench.tools import Buildah, Charliecloud, Podman, SkopeoUmoci, Sundog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from bench.measure import Bench
    from bench.registry import Shelf
    from bench.report import Results
    from bench.tools import Tool

ROUNDS = 5
# These take most of the time and run only once.
_ONCE = ("charliecloud", "skopeo + umoci")
_KINDS: dict[str, type[Tool]] = {
    "sundog": Sundog,
    "buildah": Buildah,
    "podman": Podman,
    "skopeo + umoci": SkopeoUmoci,
    "charliecloud": Charliecloud,
}


def pulls(bench: Bench, shelf: Shelf, file_systems: ExitStack, results: Results) -> None:
    """Pull images into fresh storage, then again; they stay until ``file_systems`` is closed."""
    costs: dict[tuple[str, str], list[Cost]] = {}
    commands: dict[str, str] = {}
    for turn in range(ROUNDS):
        for tool in tools(bench, turn).values():
            place = bench.directory(str(tool.storage.parent.relative_to(bench.place)))
            file_systems.enter_context(ext4(place, bench.user))
        unpacked = bench.directory(f"pull-bsdtar-{turn}")
        file_systems.enter_context(ext4(unpacked, bench.user))
        for name, files in shelf.layers.items():
            for kind, tool in tools(bench, turn).items():
                if kind in _ONCE and turn:
                    continue
                host = shelf.secure if kind == "charliecloud" else shelf.host
                argv = tool.pulling(f"{host}/{name}:latest")
                commands[kind] = " ".join(argv)
                for what in (kind, f"{kind} again"):
                    if (
                        what == "skopeo + umoci again"
                    ):  # it has no storage that could tell it that nothing changed
                        continue
                    runs = costs.setdefault((name, what), [])
                    runs.extend(bench.time([argv], env=tool.environment))
            target = bench.directory(f"{unpacked.name}/{name}")
            unpack = " && ".join(f"bsdtar --exclude '*dev/*' -xf {file}" for file in files)
            runs = costs.setdefault((name, "bsdtar -xf"), [])
            runs.extend(bench.time([["sh", "-ec", unpack]], cwd=target))
    median = {key: Cost.median(runs) for key, runs in costs.items()}
    rows = []
    for (name, what), cost in median.items():
        own = median[name, "sundog again" if what.endswith("again") else "sundog"]
        figures = (
            figure(cost.wall, ".2f"),
            figure(cost.cpu, ".2f"),
            figure(cost.resident / 1e6, ".0f"),
        )
        label = f"{what}{cost.remark}"
        rows.append(
            Row((name, label, *figures, ratio(own.wall, cost.wall), ratio(own.cpu, cost.cpu)))
        )
    results.tables.append(
        Table(
            "Pull",
            f"From docker-registry on this machine ({sizes(shelf.layers)}). Medians of {ROUNDS}"
            f" rounds, each in fresh storage on a fresh ext4 ({' and '.join(_ONCE)}: one); CPU time"
            " of all processes of the tool, peak memory of the largest, MB of 10^6 bytes.",
            ("image", "by", "wall, s", "CPU, s", "peak, MB", "ratio: wall", "CPU"),
            rows,
            commands=list(commands.values()),
        )
    )
    for name in shelf.layers:
        own, plain = median[name, "sundog"], median[name, "bsdtar -xf"]
        results.target(f"pull of {name}: CPU ÷ bsdtar's", own.cpu / plain.cpu, 1.3)
        for peer in ("podman", "buildah"):
            quotient = own.wall / median[name, peer].wall
            results.target(f"pull of {name}: wall ÷ {peer}'s", quotient, 0.4)
        again = median[name, "sundog again"].wall
        results.target(f"pull of {name} again, s", again, 0.25)
        quotient = again / median[name, "podman again"].wall
        results.target(f"pull of {name} again: wall ÷ podman's", quotient, 0.8)
        results.target(f"pull of {name}: peak memory, MB", own.resident / 1e6, 200)


def sizes(layers: Mapping[str, Sequence[Path]]) -> str:
    """Describe the images."""
    return ", ".join(
        f"{name}: {len(files)} layer{'s'[: len(files) - 1]} of gzip,"
        f" {sum(file.stat().st_size for file in files) / 1e6:.0f} MB"
        for name, files in layers.items()
    )


def tools(bench: Bench, turn: int) -> dict[str, Tool]:
    """Return the tools, each with its storage of this round."""
    place = bench.directory(f"storage-pull-{turn}")
    return {
        name: kind(name, bench, place / kind.__name__ / "storage") for name, kind in _KINDS.items()
    }
