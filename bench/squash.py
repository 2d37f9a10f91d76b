"""Images that are one file: their start, and the first and the second read of a large tree."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from scripts.bases import makers
from scripts.place import WorkshopError

from bench import inputs
from bench.report import Row, Table, figure, ratio
from bench.tools import Sundog

if TYPE_CHECKING:
    from pathlib import Path

    from bench.measure import Bench
    from bench.report import Results

ROUNDS = 40
READS = 5
MILLION = 1000  # directories, of as many symbolic links
COMPRESS = ("-comp", "zstd", "-Xcompression-level", "3", "-noappend", "-quiet", "-no-progress")
# GNU tar does not read for /dev/null.
READ_TWICE = """
now() { read seconds rest </proc/uptime; echo $seconds; }
read_all() { tar -cf - /usr 2>/dev/null | wc -c; }
now; read_all; now; read_all; now
"""
SUNDOG = "sundog"
CHARLIECLOUD = "charliecloud"
DIRECTORY = "sundog, the directory"
LARGE = "sundog, a million inodes"


def measure(bench: Bench, results: Results) -> None:
    """Take all measurements of one-file images."""
    tree = bench.directory("one-file")
    bench.run(["tar", "-C", str(tree), "-xf", str(makers.base("busybox"))])
    small = _file(bench, tree, "small.sqfs")
    pseudo = bench.place / "million"
    with pseudo.open("w") as lines:
        for directory in range(MILLION):
            lines.write(f"srv/d{directory} d 755 0 0\n")
            lines.writelines(f"srv/d{directory}/l{link} s 777 0 0 x\n" for link in range(MILLION))
    pseudo.chmod(0o644)
    large = _file(bench, tree, "million.sqfs", "-pf", str(pseudo))
    _starts(bench, {"small": small, "large": large, "tree": tree}, results)
    bench.run(["tar", "-C", str(tree), "-xzf", str(inputs.big())])
    _reads(bench, tree, _file(bench, tree, "big.sqfs"), results)


def _file(bench: Bench, tree: Path, name: str, *options: str) -> Path:
    file = bench.place / name
    bench.run(["mksquashfs", str(tree), str(file), *COMPRESS, *options])
    return file


def _starts(bench: Bench, images: dict[str, Path], results: Results) -> None:
    """Start `true`; the CPU time of the server counts, as that of every process of a start.

    There is a storage directory, as where images are built: ch-run notes the user's account there.
    """
    sundog = Sundog("sundog", bench, bench.place / "storage-one-file")
    bench.run(sundog.importing(makers.base("busybox"), "busybox"), sundog.environment)
    commands = {
        SUNDOG: [f"{bench.programs}/ch-run", str(images["small"]), "--", "true"],
        LARGE: [f"{bench.programs}/ch-run", str(images["large"]), "--", "true"],
        DIRECTORY: [f"{bench.programs}/ch-run", str(images["tree"]), "--", "true"],
        CHARLIECLOUD: ["/usr/bin/ch-run", str(images["small"]), "--", "true"],
    }
    costs = bench.time(list(commands.values()), rounds=ROUNDS, env=sundog.environment)
    cost = dict(zip(commands, costs, strict=True))
    results.tables.append(
        Table(
            "Start of an image that is one file",
            f"Medians of {ROUNDS} rounds. CPU time is that of all processes.",
            ("command", "wall, ms", "CPU, ms"),
            [
                Row((label, figure(one.wall * 1e3, ".2f"), figure(one.cpu * 1e3, ".2f")))
                for label, one in cost.items()
            ],
            commands=[" ".join(argv) for argv in commands.values()],
        )
    )
    results.target(
        "start of SquashFS: CPU ÷ charliecloud's", cost[SUNDOG].cpu / cost[CHARLIECLOUD].cpu, 1.5
    )
    results.target(
        "start of SquashFS: wall of 1e6 inodes ÷ of few", cost[LARGE].wall / cost[SUNDOG].wall, 1.1
    )


def _reads(bench: Bench, tree: Path, file: Path, results: Results) -> None:
    """Read the tree twice in one container, which tells how long each read took."""
    commands = {
        SUNDOG: [f"{bench.programs}/ch-run", str(file)],
        CHARLIECLOUD: ["/usr/bin/ch-run", str(file)],
        DIRECTORY: [f"{bench.programs}/ch-run", str(tree)],
    }
    reads: dict[str, list[tuple[float, float]]] = {label: [] for label in commands}
    sizes = set()
    for _ in range(READS):
        for label, start in commands.items():
            told = bench.run([*start, "--", "sh", "-c", READ_TWICE])
            begin, size, middle, again, end = map(float, told.split())
            sizes |= {size, again}
            reads[label].append((middle - begin, end - middle))
    if len(sizes) != 1:
        raise WorkshopError(f"tar read different numbers of bytes: {sorted(sizes)}")
    first = {label: statistics.median(one for one, _ in found) for label, found in reads.items()}
    second = {label: statistics.median(two for _, two in found) for label, found in reads.items()}
    results.tables.append(
        Table(
            "Reading an image that is one file",
            f"`tar` of a large tree in the image, to a pipe, twice in one container; medians of"
            f" {READS} rounds. The page cache has the image, but nothing of its mount.",
            ("command", "first read, s", "second read, s", "ratio: first", "second"),
            [
                Row((
                    label,
                    figure(first[label], ".2f"),
                    figure(second[label], ".2f"),
                    ratio(first[SUNDOG], first[label]),
                    ratio(second[SUNDOG], second[label]),
                ))
                for label in first
            ],
        )
    )  # fmt: skip
    results.target(
        "SquashFS: first read ÷ charliecloud's", first[SUNDOG] / first[CHARLIECLOUD], 1.1
    )
    results.target("SquashFS: second read ÷ a directory's", second[SUNDOG] / second[DIRECTORY], 1.2)
