"""Groups of `ch-run --join`: the CPU of a joining process, 64 at once, and copies between two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.bases import makers

from bench.measure import PYTHON
from bench.report import Row, Table, figure, ratio
from bench.start import LAUNCHER

if TYPE_CHECKING:
    from bench.measure import Bench
    from bench.report import Results

ROUNDS = 40
HERE = Path(__file__).parent


def measure(bench: Bench, results: Results) -> None:
    """Take all measurements of groups."""
    tree = bench.directory("busybox")
    bench.run(["tar", "-C", str(tree), "-xf", str(makers.base("busybox"))])
    (bench.place / "peers.py").write_bytes((HERE / "peers.py").read_bytes())
    (bench.place / "peer.c").write_bytes((HERE / "peer.c").read_bytes())
    program = str(tree / "bin/peer")
    bench.run(["gcc", "-O2", "-static", "-o", program, str(bench.place / "peer.c")])
    ch_run, launcher = bench.programs / "ch-run", bench.programs / LAUNCHER
    if not launcher.exists():  # a pure wheel: ch-run is that script
        launcher = ch_run
    storage = {"CH_IMAGE_STORAGE": str(bench.place / "storage-join")}
    argv = [PYTHON, str(bench.place / "peers.py"), str(ch_run), str(launcher), str(tree)]
    found = json.loads(bench.run([*argv, str(ROUNDS)], storage))
    cpu = found["cpu"]
    late = (found["last"] - found["first"]) * 1e3
    results.tables.append(
        Table(
            "Groups of `ch-run --join`",
            f"A directory; `true` in it; medians of {ROUNDS} interleaved rounds. 64 peers: medians"
            " of 5 rounds. Copies: process_vm_readv(2) of 4 MiB, as MPI libraries do it.",
            ("what", "value", "ratio to a start alone"),
            [
                Row(("a start alone, Python: CPU, ms", figure(cpu["alone"] * 1e3, ".2f"), "1.00")),
                *(
                    Row((
                        f"joining, {label}: CPU, ms",
                        figure(cpu[label] * 1e3, ".2f"),
                        ratio(cpu[label], cpu["alone"]),
                    ))
                    for label in ("python", "compiled")
                ),
                Row(("64 peers: start of the first, ms", f"{found['first'] * 1e3:.0f}", "")),
                Row(("64 peers: start of the slowest, ms", f"{found['last'] * 1e3:.0f}", "")),
                Row(("copies between two peers, GB/s", f"{found['bandwidth'] / 1e9:.1f}", "")),
            ],
            commands=["ch-run --join-tag=TAG DIRECTORY -- true"],
        )
    )  # fmt: skip
    results.target("joining in Python: CPU ÷ a start alone", cpu["python"] / cpu["alone"], 1.0)
    results.target("joining, compiled: CPU ÷ a start alone", cpu["compiled"] / cpu["alone"], 0.2)
    results.target("64 peers: the slowest start more than the first, ms", late, 100)
