"""How costs grow: each work at three sizes, with the exponent of its growth.

Sizes range from what a user has every day to what nobody has yet.
"""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING

from scripts.bases import makers

from bench import growing_inputs as inputs
from bench.line import MEGABYTE, Line
from bench.measure import Cost
from bench.registry import compressed, put, registry
from bench.report import Table
from bench.tools import Sundog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from bench.measure import Bench
    from bench.report import Results

ROUNDS = 3
IMAGES = (100, 1_000, 10_000)
VARIABLES = (500, 1_000, 2_000)
FILES = (5_000, 50_000, 500_000)
LAYERS = (50, 150, 498)
COPIES = (10, 25, 50)
ENTRIES = (10_000, 100_000, 1_000_000)
LINKS = (1_000, 10_000, 100_000)
BYTES = (40_000_000, 400_000_000, 4_000_000_000)
AT_ONCE = (1, 8, 64)
TOGETHER = 8
FIRST = 10  # number of an image that is deleted
_STEP = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; echo {number} >/number"


class Growth:
    """The lines of one run; sizes are ``divisor`` times smaller than they are to be."""

    def __init__(self, bench: Bench, results: Results, divisor: int) -> None:
        self._bench = bench
        self._results = results
        self._divisor = divisor
        self._lines: dict[str, Line] = {}
        self._program = str(bench.programs / "ch-image")
        self._base = makers.base("busybox")

    def measure(self, works: Iterable[Callable[[Growth], None]]) -> None:
        """Measure the works, one after the other."""
        for work in works:
            work(self)
        self._results.tables.append(
            Table(
                "Growth",
                f"CPU time of all processes at each size, the least of {ROUNDS} rounds, or of one"
                " where it takes long; the exponent of its growth; the peak memory of the largest"
                " process at the largest size.",
                ("what", "sizes", "CPU, s", "exponent", "peak, MB"),
                [line.row for line in self._lines.values()],
            )
        )

    def images(self) -> None:
        """Measure commands beside many images."""
        tool = self._tool("images")
        context = inputs.context(self._bench, "growth-images", ["RUN echo 0 >/number"])
        self._run(tool, "build", "-t", "built", context)
        number = FIRST
        for size in self._sizes(IMAGES, least=50):
            inputs.add_names(self._bench, tool.environment, size)
            self._time(tool, "a cached build", size, "build", "-t", "built", context)
            self._time(tool, "`tag`", size, "tag", "built", "again")
            self._time(tool, "`inspect`", size, "inspect", "built")
            changed, deleted = [], []
            for _ in range(ROUNDS):
                number += 1
                (context / f"{number}").write_text(f"FROM base\nRUN echo {number} >/number\n")
                changed += self._cost(
                    tool, "build", "-t", "built", "-f", context / f"{number}", context
                )
                deleted += self._cost(tool, "delete", f"other{number}")
            self._enter("a build of a changed RUN", size, *changed)
            self._enter("`delete` of one", size, *deleted)
            self._enter("`list -l`, the first", size, *self._cost(tool, "list", "-l"))
            for words in ("list",), ("list", "-l"), ("build-cache",), ("build-cache", "--gc"):
                self._time(tool, f"`{' '.join(words)}`", size, *words)
        for what, limit in (
            *(("a cached build", 1.2), ("`tag`", 1.2), ("`inspect`", 1.2)),
            *(("a build of a changed RUN", 1.5), ("`delete` of one", 1.5)),
        ):
            line = self._lines[what]
            self._target(f"{what}, {self._over(line)} images: CPU", self._ratio(line), limit)
        for what, limit in (
            *(("`list`", 0.3), ("`list -l`, the first", 0.8), ("`list -l`", 0.8)),
            *(("`build-cache`", 0.7), ("`build-cache --gc`", 1.3)),
        ):
            line = self._lines[what]
            self._target(f"{what} of {line.sizes[-1]} images: CPU, s", line.last.cpu, limit)

    def variables(self) -> None:
        """Measure a cached build of many ENV."""
        tool = self._tool("variables")
        what = "a cached build, lines of ENV"
        for size in self._sizes(VARIABLES):
            lines = [f"ENV VARIABLE{number}={number}" for number in range(size)]
            context = inputs.context(self._bench, f"growth-variables-{size}", lines)
            self._run(tool, "build", "-t", "built", context)
            self._time(tool, what, size, "build", "-t", "built", context)
        line = self._lines[what]
        self._target(f"{what}, {self._over(line)}: CPU", self._ratio(line), 4.2)
        self._target(f"{what}, {line.sizes[-1]}: CPU, s", line.last.cpu, 0.5)

    def copy(self) -> None:
        """Measure COPY of many files."""
        tool = self._tool("copy")
        first, cached = "COPY of files", "the same, cached"
        empty = inputs.context(self._bench, "growth-empty", ["COPY files /files"])
        (empty / "files").mkdir()
        self._run(tool, "build", "-t", "empty", empty)
        nothing = self._cost(tool, "build", "-t", "empty", empty, rounds=ROUNDS)
        for size in self._sizes(FILES):
            context = inputs.context(self._bench, "growth-files", ["COPY files /files"])
            (context / "files").mkdir()
            inputs.fill(context / "files", size)
            argv = ("build", "-t", "built", context)
            self._enter(first, size, *self._cost(tool, *argv))
            self._time(tool, cached, size, *argv)
            inputs.forget(context)
        peak = max(self._lines[what].last.resident for what in (first, cached)) / MEGABYTE
        size = self._lines[first].sizes[-1]
        self._target(f"COPY of {size} files: peak, MB", peak, 120)
        more = self._lines[cached].last.cpu - Cost.least(nothing).cpu
        each = more / size * 10_000
        self._target("cached COPY, 10,000 files: CPU more than an empty one's, s", each, 0.15)
        self._exponents(1.1, first, cached)
        inputs.forget(tool.storage)  # the file system has inodes for one work of this size

    def layers(self) -> None:
        """Build images of many layers, and run them."""
        tool = self._tool("layers")
        run = str(self._bench.programs / "ch-run")
        first, cached = "a build, lines of COPY", "the same, cached again"
        start = "`ch-run` of that image"
        for size in self._sizes(LAYERS):
            context = inputs.context(
                self._bench, f"growth-layers-{size}", [f"COPY file /{n}" for n in range(size)]
            )
            (context / "file").write_text("x")
            argv = ("build", "-t", f"of{size}", context)
            self._enter(first, size, *self._cost(tool, *argv))
            self._time(tool, cached, size, *argv)
            words = [run, f"of{size}", "--", "cat", f"/{size - 1}"]
            self._enter(
                start,
                size,
                *self._bench.time([words], rounds=ROUNDS, env=tool.environment, may_fail=True),
            )
        failed = len(self._lines[start].last.failures)
        self._target(f"`ch-run` of {self._lines[start].sizes[-1]} layers: failures", failed, 0)

    def copies(self) -> None:
        """Measure how long trivial steps wait for the device."""
        tool = self._tool("copies")
        what = "a build, lines of COPY, without the cache"
        for size in self._sizes(COPIES):
            context = inputs.context(
                self._bench, f"growth-copies-{size}", [f"COPY file /{n}" for n in range(size)]
            )
            (context / "file").write_text("x")
            self._time(tool, what, size, "build", "--no-cache", "-t", "built", context)
        cost = self._lines[what].last
        self._target(
            f"{self._lines[what].sizes[-1]} times COPY: wall ÷ CPU", cost.wall / cost.cpu, 3
        )

    def entries(self) -> None:
        """Import, list and delete an image of one layer with many entries."""
        self._tars(
            "entries", self._sizes(ENTRIES), inputs.tar_of_entries, listed="`list -l` after it"
        )

    def links(self) -> None:
        """Do the same with hard links, and copy them."""
        self._tars("hard links", self._sizes(LINKS), inputs.tar_of_links, copied="COPY of these")

    def _tars(
        self,
        kind: str,
        sizes: Sequence[int],
        write: Callable[[Path, int], None],
        *,
        listed: str = "",
        copied: str = "",
    ) -> None:
        tool = self._tool(kind.replace(" ", "-"))
        imported, deleted = f"`import`, {kind}", f"`delete`, {kind}"
        for size in sizes:
            tar = self._bench.place / "growth.tar"
            write(tar, size)
            self._enter(imported, size, *self._cost(tool, "import", tar, "grown"))
            if listed:
                self._enter(listed, size, *self._cost(tool, "list", "-l"))
            self._enter(deleted, size, *self._cost(tool, "delete", "grown"))
            if copied:
                context = inputs.context(self._bench, "growth-tar", ["COPY entries /entries"])
                self._bench.run(["tar", "-C", str(context), "-xf", str(tar)])
                self._enter(copied, size, *self._cost(tool, "build", "-t", "built", context))
                inputs.forget(context)
            inputs.forget(tar)
        self._exponents(1.1, *filter(None, (imported, listed, deleted, copied)))

    def large(self) -> None:
        """Copy, import and push a large file."""
        tool = self._tool("large")
        copied, cached, imported = (
            "COPY of a file, bytes",
            "the same, cached, bytes",
            "`import`, bytes",
        )
        pushed = "`push` of that, bytes"
        storage = self._bench.directory("growth-registry")
        with registry(self._bench, storage) as host:
            for size in self._sizes(BYTES):
                context = inputs.context(self._bench, "growth-large", ["COPY large /"])
                inputs.fill_large(context / "large", size)
                argv = ("build", "-t", "built", context)
                self._enter(copied, size, *self._cost(tool, *argv))
                self._enter(cached, size, *self._cost(tool, *argv))
                self._run(tool, "delete", "built")
                self._run(tool, "build-cache", "--reset")
                tar = self._bench.place / "growth.tar"
                inputs.tar_of_file(tar, context / "large")
                inputs.forget(context)
                self._enter(imported, size, *self._cost(tool, "import", tar, "grown"))
                inputs.forget(tar)
                name = f"{host}/grown:{size}"
                self._enter(pushed, size, *self._cost(tool, "push", "grown", name))
                self._run(tool, "delete", "grown")
        self._exponents(1.1, copied, cached, imported, pushed)

    def starts(self) -> None:
        """Start many containers at once."""
        tool = self._tool("starts")
        what = "a start of `ch-run`, so many at once"
        argv = [str(self._bench.programs / "ch-run"), "base", "--", "true"]
        failed = 0
        for at_once in AT_ONCE:
            runs = self._bench.repeat(
                argv, max(10 * at_once, 64), at_once=at_once, env=tool.environment
            )
            failed += runs.failed
            self._line(what).add(at_once, Cost(runs.wall, runs.cpu, math.nan, runs.count))
        self._target(f"{what}, {AT_ONCE[-1]}: failures", failed, 0)

    def together(self) -> None:
        """Build and pull at once in one storage directory, and one after the other."""
        builds = self._tool("builds")
        context = inputs.context(self._bench, "growth-together", [])
        (context / "files").mkdir()
        inputs.fill(context / "files", max(1, 5_000 // self._divisor))
        commands = {}
        for number in range(TOGETHER):
            file = context / f"Dockerfile.{number}"
            step = _STEP.format(number=number)
            file.write_text(f"FROM base\nCOPY files /files\nRUN {step}\n")
            commands[f"built{number}"] = [
                *(self._program, "build", "--no-cache", "-t", f"built{number}"),
                *("-f", str(file), str(context)),
            ]
        self._at_once("builds", builds, commands, 1 / 1.6)
        pulls = self._tool("pulls")
        names = [f"pulled{number}" for number in range(TOGETHER)]
        with registry(self._bench, self._bench.directory("growth-pulls")) as host:
            for name in names:
                put(host, name, [self._layer(name)])
            commands = {name: [self._program, "pull", f"{host}/{name}", name] for name in names}
            # A pull alone, with its registry, keeps 1.4 processors busy.
            self._at_once("pulls", pulls, commands, 0.75)

    def _layer(self, name: str) -> Path:
        tree = self._bench.directory(name)
        inputs.fill(tree, max(1, 4_000 // self._divisor), 8_000)
        tar = self._bench.place / f"{name}.tar"
        self._bench.run(["tar", "-C", str(tree), "-cf", str(tar), "."])
        return compressed(self._bench, tar)

    def _at_once(
        self, what: str, tool: Sundog, commands: Mapping[str, Sequence[str]], limit: float
    ) -> None:
        """Enter the time of commands one by one, and of all at once; their images are the keys."""
        words = [shlex.join(command) for command in commands.values()]
        row = f"set -e; {'; '.join(words)}"
        waits = "; ".join(f"wait $p{number}" for number in range(len(words)))
        begun = " ".join(f"{line} & p{number}=$!;" for number, line in enumerate(words))
        scripts = {"one at a time": row, "at once": f"set -e; {begun} {waits}"}
        delete = [self._program, "delete", *commands]
        costs: dict[str, list[Cost]] = {name: [] for name in scripts}
        for _ in range(ROUNDS):
            for name, script in scripts.items():
                # No round pays for the images of the one before it.
                self._bench.time([delete], env=tool.environment, may_fail=True)
                argv = ["sh", "-c", script]
                costs[name] += self._bench.time([argv], env=tool.environment)
        least = {name: Cost.least(runs) for name, runs in costs.items()}
        for name, cost in least.items():
            self._line(f"{what}, {name}").add(len(commands), cost)
        value = least["at once"].wall / least["one at a time"].wall
        self._target(f"{len(commands)} {what} at once: wall ÷ one at a time", value, limit)

    def _tool(self, name: str) -> Sundog:
        """Return a storage directory of its own, with ``base``."""
        tool = Sundog("sundog", self._bench, self._bench.place / f"storage-growth-{name}")
        self._bench.run(tool.importing(self._base, "base"), tool.environment)
        return tool

    def _sizes(self, sizes: Sequence[int], *, least: int = 1) -> list[int]:
        return [max(least, size // self._divisor) for size in sizes]

    def _line(self, what: str) -> Line:
        return self._lines.setdefault(what, Line(what))

    def _enter(self, what: str, size: int, *costs: Cost) -> None:
        cost = Cost.least(costs)
        self._line(what).add(size, cost)
        print(f"  {what}, {size}: {cost.cpu:.3f} s of CPU{cost.remark}", flush=True)

    def _time(self, tool: Sundog, what: str, size: int, *words: str | Path) -> None:
        """Enter the least cost of a command of ``ch-image`` after a first run."""
        self._enter(what, size, *self._cost(tool, *words, rounds=ROUNDS))

    def _cost(self, tool: Sundog, *words: str | Path, rounds: int = 1) -> list[Cost]:
        argv = [self._program, *map(str, words)]
        return [self._bench.time([argv], env=tool.environment)[0] for _ in range(rounds)]

    def _run(self, tool: Sundog, *words: str | Path) -> None:
        self._bench.run([self._program, *map(str, words)], tool.environment)

    def _over(self, line: Line) -> str:
        return f"{line.sizes[-1]} ÷ {line.sizes[0]}"

    def _ratio(self, line: Line) -> float:
        return line.last.cpu / line.costs[0].cpu

    def _exponents(self, limit: float, *lines: str) -> None:
        for what in lines:
            self._target(f"{what}: exponent", self._lines[what].exponent, limit)

    def _target(self, name: str, value: float, limit: float) -> None:
        self._results.target(name, value, limit)


WORKS = {
    work.__name__: work
    for work in (
        *(Growth.images, Growth.variables, Growth.copy, Growth.layers, Growth.copies),
        *(Growth.entries, Growth.links, Growth.large, Growth.starts, Growth.together),
    )
}


def measure(bench: Bench, results: Results, divisor: int = 1, work: str = "") -> None:
    """Measure how the costs of commands grow: of ``work``, or of all works if it is ""."""
    Growth(bench, results, divisor).measure([WORKS[work]] if work else WORKS.values())
