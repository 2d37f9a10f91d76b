"""Steps of Slurm on a cluster of four nodes: their start, and messages between two MPI ranks."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scripts import cluster
from scripts.bases import makers
from scripts.place import WorkshopError

from bench.report import Row, Table, figure, ratio
from bench.tools import Sundog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.measure import Bench
    from bench.report import Results

NEEDS = (*cluster.NEEDS, "mpich", "openmpi-bin", "squashfs-tools")
TASKS = 64
STARTS = 15
START_LIMIT = 1.3
HOST = "the host's `true`"
OURS = "sundog, by name"

MESSAGES = 9
MESSAGE_LIMIT = 1.1
PROGRAM = "/usr/local/bin/ranks"
# The protocol between Slurm and the ranks of each implementation in the image.
PROTOCOLS = {"openmpi": "pmix", "mpich": "pmi2"}
NAMES = {"openmpi": "Open MPI", "mpich": "MPICH"}
# Open MPI 5.0.7 dies here if a message comes while MPI_Init still waits, also without a container.
OPEN_MPI_FAULT = "mca_pml_ob1_recv_frag_callback_match"
ATTEMPTS = 8
# Places of the two ranks, srun's options for them, and those of ch-run.
PLACES = {
    "one node": (("-N1", "-n2"), ("--join",)),
    "two nodes": (("-N2", "-n2", "--ntasks-per-node=1"), ()),
}


@dataclass(frozen=True)
class Size:
    """A size of messages, how many go to and fro, and what is told of them."""

    bytes: int
    count: int
    label: str
    digits: str

    def shown(self, microseconds: float) -> str:
        """Return the time of one message, or how many bytes pass in a second."""
        value = microseconds if self.bytes < 1000 else self.bytes / microseconds / 1e3
        return figure(value, self.digits)


SIZES = (
    Size(8, 5_000, "latency of 8 B, µs", ".2f"),
    Size(4 << 20, 100, "bandwidth of 4 MiB, GB/s", ".2f"),
)


@dataclass(frozen=True)
class Place:
    """A running cluster, and the user's environment there."""

    bench: Bench
    sundog: Sundog
    environment: Mapping[str, str]

    @property
    def ch_run(self) -> str:
        """Return the command of Sundog."""
        return str(self.bench.programs / "ch-run")


def measure(bench: Bench, results: Results) -> None:
    """Start a cluster, and take all measurements there."""
    sundog = Sundog("sundog", bench, bench.place / "storage-cluster")
    for name in ("busybox", "mpi"):
        bench.run(sundog.importing(makers.base(name), name), sundog.environment)
    with _running() as configuration:
        # Each node has a /tmp of its own, where MPI libraries put their sockets.
        environment = {**sundog.environment, "SLURM_CONF": configuration, "TMPDIR": "/tmp"}
        place = Place(bench, sundog, environment)
        _starts(place, results)
        _messages(place, results)


@contextlib.contextmanager
def _running() -> Iterator[str]:
    """Run a cluster; give the path of its slurm.conf."""
    if lack := cluster.lacking():
        raise WorkshopError(f"a cluster of Slurm needs more: {lack}")
    try:
        running = cluster.Cluster.start({}, 0)
    except ValueError as error:
        raise WorkshopError(str(error)) from error
    try:
        yield str(running.configuration)
    finally:
        running.stop()


def _starts(place: Place, results: Results) -> None:
    """Start `true` as a step of many tasks, without and with containers."""
    bench = place.bench
    tree, file = bench.directory("busybox-cluster"), bench.place / "busybox.sqfs"
    bench.run(["tar", "-C", str(tree), "-xf", str(makers.base("busybox"))])
    bench.run(["mksquashfs", str(tree), str(file), "-noappend", "-quiet", "-no-progress"])
    ours, peer, rest = place.ch_run, "/usr/bin/ch-run", ["--", "true"]
    step = ["srun", f"-n{TASKS}"]
    commands: dict[str, list[str]] = {
        HOST: [*step, "true"],
        OURS: [*step, ours, "busybox", *rest],
        "sundog, by name, `--join`": [*step, ours, "--join", "busybox", *rest],
        "sundog, SquashFS": [*step, ours, str(file), *rest],
        "sundog, SquashFS, `--join`": [*step, ours, "--join", str(file), *rest],
        "charliecloud, a directory": [*step, peer, str(tree), *rest],
        "charliecloud, SquashFS": [*step, peer, str(file), *rest],
    }
    costs = bench.time(list(commands.values()), rounds=STARTS, env=place.environment)
    cost = dict(zip(commands, costs, strict=True))
    host = cost[HOST].wall
    results.tables.append(
        Table(
            f"Steps of {TASKS} tasks",
            f"`srun -n{TASKS}` on four nodes of Slurm, all on this machine; medians of {STARTS}"
            " rounds, the commands interleaved.",
            ("what each task starts", "wall, ms", "ratio to the host's"),
            [
                Row((f"{label}{one.remark}", figure(one.wall * 1e3, ".0f"), ratio(one.wall, host)))
                for label, one in cost.items()
            ],
            commands=[" ".join(argv) for argv in commands.values()],
        )
    )
    results.target(
        f"srun -n{TASKS}: wall ÷ without containers", cost[OURS].wall / host, START_LIMIT
    )


def _messages(place: Place, results: Results) -> None:
    """Send messages between two ranks, in containers and by the same program without one."""
    rows = []
    for name in PROTOCOLS:
        program = _on_the_host(place, f"{PROGRAM}.{name}")
        for where in PLACES:
            for size in SIZES:
                host, inside = _least(place, name, where, size, program)
                label = f"{NAMES[name]}, {where}: {size.label}"
                quotient = inside / host
                rows.append(Row((label, size.shown(host), size.shown(inside), f"{quotient:.2f}")))
                results.target(f"{label}: time ÷ the host's", quotient, MESSAGE_LIMIT)
    results.tables.append(
        Table(
            "Messages between two MPI ranks",
            "Two ranks of `srun` send a message to and fro, in containers and by the same program"
            f" and libraries on the host; the least of {MESSAGES} interleaved rounds. On one node,"
            " the ranks share a container (`--join`).",
            ("what", "host", "in containers", "ratio of times"),
            rows,
        )
    )


def _on_the_host(place: Place, path: str) -> Path:
    """Copy a program out of the image, and return where it is."""
    target = place.bench.place / path.rpartition("/")[2]
    script = f'"$0" mpi -- cat {path} >{target} && chmod 755 {target}'
    place.bench.run(["sh", "-c", script, place.ch_run], place.environment)
    return target


def _least(place: Place, name: str, where: str, size: Size, program: Path) -> tuple[float, float]:
    """Return the least microseconds of a message on the host and in containers.

    Two ranks that wait busily on a machine of two cores give up a core to any other process, so
    that a round takes two or three times as long now and then.
    """
    srun, options = PLACES[where]
    step = ["srun", f"--mpi={PROTOCOLS[name]}", *srun]
    words = ["pingpong", str(size.bytes), str(size.count)]
    commands: Sequence[Sequence[str]] = (
        [*step, str(program), *words],
        [*step, place.ch_run, *options, "mpi", "--", f"{PROGRAM}.{name}", *words],
    )
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(MESSAGES):
        for times, argv in zip(found, commands, strict=True):
            times.append(_microseconds(place, argv))
    return min(found[0]), min(found[1])


def _microseconds(place: Place, argv: Sequence[str]) -> float:
    """Run a step, and return what it measured; repeat what Open MPI's own fault has ended."""
    for _ in range(ATTEMPTS):
        try:
            return float(place.bench.run(argv, place.environment).split()[-1])
        except WorkshopError as error:
            if OPEN_MPI_FAULT not in str(error):
                raise
    raise WorkshopError(f"{' '.join(argv)}: Open MPI failed {ATTEMPTS} times")
