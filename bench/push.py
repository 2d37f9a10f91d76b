"""Pushes to empty registries on this machine: all of an image, one more layer, nothing new."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.measure import Cost
from bench.pull import ROUNDS, sizes, tools
from bench.registry import registry
from bench.report import Row, Table, figure, ratio
from bench.tools import Buildah

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.measure import Bench
    from bench.registry import Shelf
    from bench.report import Results
    from bench.tools import Tool

_ALL, _CHANGE, _AGAIN = "all of it", "one more layer", "nothing new"
_IMPORTED = "sundog, imported"
_FROM_STORAGE = "skopeo from storage"
# Charliecloud compresses with one thread at gzip's highest level: a large image takes minutes.
_SLOW_IMAGE = "debian"


def pushes(bench: Bench, shelf: Shelf, flat: Mapping[str, Path], results: Results) -> None:
    """Push the images that ``pulls`` pulled from ``shelf``, and images imported from ``flat``."""
    pushing = _Pushing(bench)
    for turn in range(ROUNDS):
        for name in shelf.layers:
            pushing.turn(turn, name, f"{shelf.host}/{name}:latest", flat[name])
    charliecloud = tools(bench, 0)["charliecloud"]
    with pushing.registry("charliecloud", tls=True) as target:
        argv = charliecloud.pushing(f"{shelf.secure}/{_SLOW_IMAGE}:latest", f"{target}/x:latest")
        pushing.time((_SLOW_IMAGE, charliecloud.name, _ALL), charliecloud, argv)

    median = {key: Cost.median(runs) for key, runs in pushing.costs.items()}
    rows = []
    for (name, what, stage), cost in median.items():
        own = median[name, "sundog", stage]
        figures = (
            figure(cost.wall, ".2f"),
            figure(cost.cpu, ".2f"),
            figure(cost.resident / 1e6, ".0f"),
        )
        label = f"{what}{cost.remark}"
        rows.append(Row((name, label, stage, *figures, ratio(own.wall, cost.wall))))
    results.tables.append(
        Table(
            "Push",
            f"To an empty docker-registry on this machine ({sizes(shelf.layers)}): all of a pulled"
            " image, then that image with one COPY more, then the same again. `imported`: the same"
            " files from a tarball, so Sundog has to compress them, as the peers always"
            f" do with their storage. Medians of {ROUNDS} rounds (charliecloud: one), each"
            " to a registry of its own.",
            ("image", "by", "pushed", "wall, s", "CPU, s", "peak, MB", "ratio: wall"),
            rows,
            commands=list(pushing.commands.values()),
        )
    )
    for name in shelf.layers:
        change = median[name, "sundog", _CHANGE].wall
        results.target(f"push of {name} with one more layer, s", change, 1)
        for stage in (_CHANGE, _AGAIN):
            quotient = median[name, "sundog", stage].wall / median[name, "buildah", stage].wall
            results.target(f"push of {name}, {stage}: wall ÷ buildah's", quotient, 1)
        for what in ("sundog", _IMPORTED):
            quotient = median[name, what, _ALL].wall / median[name, _FROM_STORAGE, _ALL].wall
            results.target(f"first push of {name} by {what}: wall ÷ skopeo's", quotient, 1)
        results.target(
            f"first push of {name}: peak memory, MB",
            max(median[name, what, _ALL].resident / 1e6 for what in ("sundog", _IMPORTED)),
            200,
        )


@dataclass
class _Pushing:
    """Pushes: costs by image, tool and stage, and one command of each tool."""

    bench: Bench
    costs: dict[tuple[str, str, str], list[Cost]] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    _registries: int = 0

    def turn(self, turn: int, name: str, pulled: str, tarball: Path) -> None:
        """Push an image once with each tool."""
        there = tools(self.bench, turn)
        sundog, buildah = there["sundog"], there["buildah"]
        imported = f"{name}-imported"
        self.bench.run(sundog.importing(tarball, imported), sundog.environment)
        ways = [("sundog", sundog, pulled), (_IMPORTED, sundog, imported)]
        for what, tool, image in [*ways, ("buildah", buildah, pulled)]:
            dockerfile = self.bench.directory("context-push") / "Dockerfile"
            (dockerfile.parent / "file").write_bytes(b"%d\n" % turn * 100_000)
            dockerfile.write_text(f"FROM {image}\nCOPY file /srv/{what.replace(', ', '-')}\n")
            self.bench.run(tool.building(dockerfile), tool.environment)
            with self.registry(what) as target:
                self.time((name, what, _ALL), tool, tool.pushing(image, f"{target}/x:1"))
                changed = tool.pushing("bench", f"{target}/x:2")
                self.time((name, what, _CHANGE), tool, changed)
                self.time((name, what, _AGAIN), tool, changed)
        assert isinstance(buildah, Buildah)
        layout = tools(self.bench, 0)["skopeo + umoci"].storage / name / "layout"
        for what, argv in (
            (_FROM_STORAGE, buildah.copying(pulled)),
            ("skopeo from a layout", ["skopeo", "copy", "-q", f"oci:{layout}:x"]),
        ):
            with self.registry(what) as target:
                to = ["--dest-tls-verify=false", f"docker://{target}/x:1"]
                self.time((name, what, _ALL), buildah, [*argv, *to])

    @contextmanager
    def registry(self, what: str, *, tls: bool = False) -> Iterator[str]:
        """Run an empty registry, and delete it afterwards; give HOST:PORT."""
        self._registries += 1
        words = what.replace(", ", "-").replace(" ", "-")
        place = self.bench.directory(f"registry-push-{self._registries}-{words}")
        with registry(self.bench, place, tls=tls) as host:
            yield host
        shutil.rmtree(place)

    def time(self, key: tuple[str, str, str], tool: Tool, argv: Sequence[str]) -> None:
        """Run a command and note its cost."""
        self.commands.setdefault(key[1], " ".join(argv))
        self.costs.setdefault(key, []).extend(self.bench.time([argv], env=tool.environment))
