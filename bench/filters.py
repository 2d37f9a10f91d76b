"""The cost of a system call in a container under the filters of root emulation."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench import inputs
from bench.report import Row, Table, ratio

if TYPE_CHECKING:
    from bench.measure import Bench
    from bench.report import Results

TURNS = 5


def measure(bench: Bench, tree: Path, results: Results) -> None:
    """Add a program to the directory ``tree``, and time getppid(2) in containers of it."""
    ch_run = str(bench.programs / "ch-run")
    program = _program(tree)
    plain = [ch_run, str(tree), "--", program]
    filtered = [ch_run, "--seccomp", str(tree), "--", program]
    commands = {
        "no filter": plain,
        "a filter of one instruction": [*plain, "one"],
        "sundog's filter": filtered,
        "charliecloud's filter": ["/usr/bin/ch-run", "--seccomp", str(tree), "--", program],
    }
    times: dict[str, list[float]] = {label: [] for label in commands}
    for _ in range(TURNS):
        for label, argv in commands.items():
            times[label] += [float(line) for line in bench.run(argv).split()]
    median = {label: statistics.median(values) for label, values in times.items()}
    own, one = median["sundog's filter"], median["a filter of one instruction"]
    results.tables.append(
        Table(
            "A system call that root emulation does not touch",
            f"getppid(2), medians of {len(times['no filter'])} times 500 000 calls, interleaved.",
            ("under", "ns", "ratio"),
            [Row((label, f"{value:.0f}", ratio(own, value))) for label, value in median.items()],
            commands=[" ".join(argv) for argv in commands.values()],
        )
    )
    results.target("system call under the filter ÷ under one instruction", own / one, 1.1)


def _program(tree: Path) -> str:
    """Compile the program that times getppid(2) into a tree."""
    target = tree / "bin/getppid-cost"
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "cost.c")
        source.write_text(inputs.SYSCALLS)
        # musl's headers lack the kernel's; Debian's linux-libc-dev has them.
        include = ["-idirafter", "/usr/include", "-idirafter", f"/usr/include/{_triplet()}"]
        built = Path(directory, "cost")
        subprocess.run(["musl-gcc", "-O2", "-static", *include, "-o", built, source], check=True)
        target.write_bytes(built.read_bytes())
        target.chmod(0o755)
    return "/bin/getppid-cost"


def _triplet() -> str:
    done = subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True, check=True)
    return done.stdout.strip()
