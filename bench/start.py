"""How long a container takes to start, and what a system call costs in it."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench import inputs
from bench.report import Row, Table
from bench.tools import Sundog

if TYPE_CHECKING:
    from bench.measure import Bench
    from bench.report import Results

ROUNDS = 60


def measure(bench: Bench, busybox: Path, results: Results) -> None:
    """Start `true` in the same root file system with each tool, and count system calls' cost."""
    tree = bench.directory("busybox")
    bench.run(["tar", "-C", str(tree), "-xf", str(busybox)])
    program = _syscall_program(tree)
    sundog = Sundog("sundog", bench, bench.place / "storage-start")
    bench.run(sundog.importing(busybox, "busybox"), sundog.environment)
    interpreter = str((bench.programs / "python").resolve())
    ch_run = str(bench.programs / "ch-run")
    binds = ["--bind", str(tree), "/", "--dev", "/dev", "--proc", "/proc"]
    commands = {
        "the host's static true": [str(tree / "bin/busybox"), "true"],
        "the interpreter, `python -I -S -E -c pass`": [interpreter, "-I", "-S", "-E", "-c", "pass"],
        "sundog, `ch-run IMAGE -- true`": [ch_run, "busybox", "--", "true"],
        "sundog, `ch-run DIRECTORY -- true`": [ch_run, str(tree), "--", "true"],
        "sundog, `ch-run -W IMAGE -- true`": [ch_run, "-W", "busybox", "--", "true"],
        "charliecloud, `ch-run DIRECTORY -- true`": ["/usr/bin/ch-run", str(tree), "--", "true"],
        "bubblewrap, `bwrap --unshare-user --bind …`": [
            "/usr/bin/bwrap", "--unshare-user", *binds, "true",
        ],
    }  # fmt: skip
    costs = bench.time(list(commands.values()), rounds=ROUNDS, env=sundog.environment)
    named = dict(zip(commands, costs, strict=True))
    pair = [cost for label, cost in named.items() if "interpreter" in label or "IMAGE" in label]
    results.tables.append(
        Table(
            "Container start",
            f"`true` from static BusyBox; medians of {ROUNDS} rounds, the commands interleaved.",
            ("command", "wall, ms", "CPU, ms"),
            [
                Row((label, f"{cost.wall * 1e3:.2f}", f"{cost.cpu * 1e3:.2f}"))
                for label, cost in named.items()
            ],
            commands=[" ".join(argv) for argv in commands.values()],
        )
    )
    results.target(
        "start: CPU of `ch-run IMAGE` ÷ the interpreter's", pair[1].cpu / pair[0].cpu, 1.4
    )
    _syscalls(bench, ch_run, tree, program, results)


def _syscall_program(tree: Path) -> str:
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


def _syscalls(bench: Bench, ch_run: str, tree: Path, program: str, results: Results) -> None:
    plain = [ch_run, str(tree), "--", program]
    filtered = [ch_run, "--seccomp", str(tree), "--", program]
    commands = {
        "no filter": plain,
        "a filter of one instruction": [*plain, "one"],
        "sundog's filter": filtered,
        "charliecloud's filter": ["/usr/bin/ch-run", "--seccomp", str(tree), "--", program],
    }
    best = {
        label: min(float(bench.run(argv)) for _ in range(5)) for label, argv in commands.items()
    }
    results.tables.append(
        Table(
            "A system call that root emulation does not touch",
            "getppid(2), best of 35 times 500 000 calls.",
            ("under", "ns"),
            [Row((label, f"{value:.0f}")) for label, value in best.items()],
            commands=[" ".join(argv) for argv in commands.values()],
        )
    )
    ratio = best["sundog's filter"] / best["a filter of one instruction"]
    results.target("system call under the filter ÷ under one instruction", ratio, 1.1)
