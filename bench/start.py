"""How long a container takes to start, and what a system call costs in it."""

from __future__ import annotations

import re
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.place import WorkshopError

from bench import inputs
from bench.report import Row, Table, ratio
from bench.tools import Buildah, Sundog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.measure import Bench
    from bench.report import Results

ROUNDS = 60
TRACES = 3
TURNS = 5
BARE = "the interpreter, `python -I -S -E -c pass`"
OURS = "sundog, `ch-run IMAGE -- true`"


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
    bare = [interpreter, "-I", "-S", "-E", "-c", "pass"]
    image = [ch_run, "busybox", "--", "true"]
    commands = {
        "the host's static true": [str(tree / "bin/busybox"), "true"],
        BARE: bare,
        OURS: image,
        "sundog, `ch-run DIRECTORY -- true`": [ch_run, str(tree), "--", "true"],
        "sundog, `ch-run -W IMAGE -- true`": [ch_run, "-W", "busybox", "--", "true"],
        "charliecloud, `ch-run DIRECTORY -- true`": ["/usr/bin/ch-run", str(tree), "--", "true"],
        "bubblewrap, `bwrap --unshare-user --bind …`": [
            "/usr/bin/bwrap", "--unshare-user", *binds, "true",
        ],
    }  # fmt: skip
    buildah = Buildah("buildah", bench, bench.directory("storage-start-buildah"))
    container, refusal = _container(bench, buildah, busybox)
    if container:
        commands["buildah, `buildah run --isolation chroot …`"] = buildah.running(container, "true")
    costs = bench.time(list(commands.values()), rounds=ROUNDS, env=sundog.environment)
    named = dict(zip(commands, costs, strict=True))
    own = named[OURS]
    results.tables.append(
        Table(
            "Container start",
            f"`true` from static BusyBox; medians of {ROUNDS} rounds, the commands interleaved."
            f" Ratios are those of `ch-run IMAGE -- true` to the row.{refusal}",
            ("command", "wall, ms", "CPU, ms", "ratio: wall", "CPU"),
            [
                Row((
                    label,
                    f"{cost.wall * 1e3:.2f}",
                    f"{cost.cpu * 1e3:.2f}",
                    ratio(own.wall, cost.wall),
                    ratio(own.cpu, cost.cpu),
                ))
                for label, cost in named.items()
            ],
            commands=[" ".join(argv) for argv in commands.values()],
        )
    )  # fmt: skip
    results.target(
        "start: CPU of `ch-run IMAGE` ÷ the interpreter's", own.cpu / named[BARE].cpu, 1.4
    )
    _files(bench, {BARE: bare, OURS: image}, sundog.environment, results)
    _syscalls(bench, ch_run, tree, program, results)


def _container(bench: Bench, buildah: Buildah, tarball: Path) -> tuple[str, str]:
    """Make a working container of buildah's; its name, or else why there is none."""
    try:
        bench.run(buildah.importing(tarball, "start"))
        name = bench.run(buildah.container("start")).strip()
        bench.run(buildah.running(name, "true"))
    except WorkshopError as error:
        return "", f" `buildah run` does not work here: {str(error).splitlines()[-1]}"
    return name, ""


def _files(
    bench: Bench,
    commands: Mapping[str, Sequence[str]],
    env: Mapping[str, str],
    results: Results,
) -> None:
    """Count the system calls that name a file, and the successful opens among them."""
    strace = ["strace", "-f", "-qq", "-e", "trace=%file", "-e", "signal=none", "-o"]
    log = bench.place / "strace"
    counts: dict[str, tuple[int, int]] = {}
    for label, argv in commands.items():
        rounds = []
        for _ in range(TRACES):
            bench.run([*strace, str(log), *argv], env)
            rounds.append(_count(log.read_text()))
        calls, opens = zip(*rounds, strict=True)
        counts[label] = int(statistics.median(calls)), int(statistics.median(opens))
    own = counts[OURS]
    results.tables.append(
        Table(
            "Files named at a container's start",
            "System calls that name a file, as strace(1) sees them in all processes up to the"
            f" execve(2) of `true`, and the successful opens among them; medians of {TRACES}.",
            ("command", "path system calls", "successful opens", "ratio: calls", "opens"),
            [
                Row((label, f"{calls}", f"{opens}", ratio(own[0], calls), ratio(own[1], opens)))
                for label, (calls, opens) in counts.items()
            ],
            commands=[" ".join([*strace, str(log), *argv]) for argv in commands.values()],
        )
    )
    results.target("start: path system calls of `ch-run IMAGE`", own[0], 120)
    results.target("start: successful opens of `ch-run IMAGE`", own[1], 40)


def _count(trace: str) -> tuple[int, int]:
    """Count a trace's calls, and its successful opens, up to the last program executed."""
    calls = [line.split(" ", 1)[1].strip() for line in trace.splitlines()]
    executed = [at for at, call in enumerate(calls) if re.match(r"execve\(.*\) = 0$", call)]
    # What the only program of a trace does is all its own.
    if len(executed) > 1:
        calls = calls[: executed[-1] + 1]
    opens = [call for call in calls if re.match(r"open(at2?)?\(.*\) = \d+$", call)]
    return len(calls), len(opens)


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
