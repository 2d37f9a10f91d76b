"""The cost of being root: installs, loops and single system calls under each emulation.

All emulations get the same directory image on the same file system.  What changes the image gets a
fresh copy.  Real root in a chroot is measured beside them, because emulations pretend to be it.
"""

from __future__ import annotations

import os
import resource
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.place import WorkshopError

from bench import inputs
from bench.measure import Cost
from bench.report import Row, Table, figure, ratio
from bench.tools import BASE, Buildah

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measure import Bench
    from bench.report import Results

ROUNDS = 4
LOOPS = 8
ROOT, NOTIFY = "real root, chroot", "sundog, `ch-run --notify`"
PLAIN = "sundog, `ch-run`"
RECORDED = f"{NOTIFY}, an owner recorded"
OVERLAID, FAST = (f"sundog, `ch-run -W --notify`{how}" for how in ("", ", fast path"))
PROOT = "PRoot, `proot -0`"
ASSENT = "a supervisor in C that leaves all to the kernel"
SUBORDINATE = "buildah, `buildah run --isolation chroot`"
INSTALL = (
    "export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin; apt-get {options}"
    f" update && apt-get {{options}} install -y --no-install-recommends {inputs.SERVICES}"
)
UNSANDBOXED = "-o APT::Sandbox::User=root"
HELLO = r'#include <stdio.h>\nint main(void) { puts("Hello"); }\n'
WORK = {
    "find": "find /mnt -printf %u >/dev/null",
    "gcc": f"cd /tmp; printf '{HELLO}' >x.c; for i in $(seq 100); do gcc -O2 -c x.c; done",
    "exec": "for i in $(seq 3000); do /bin/true; done",
}
CALLS = ("getppid", "geteuid", "fstat", "lstat", "lstat-recorded", "lchown")


@dataclass(frozen=True)
class Emulation:
    """A way to be root in the directory ``tree``.

    command     the words before a shell script; None for real root
    apt         the options that apt needs there
    """

    name: str
    command: tuple[str, ...] | None
    apt: str = ""

    def running(self, script: str, *programs: str) -> list[str]:
        """Return the command line, of a script or, without a shell, of a program."""
        assert self.command is not None
        return [*self.command, *(programs or ("/bin/sh", "-c", script))]


def emulations(bench: Bench, tree: Path) -> list[Emulation]:
    """Return all emulations on ``tree``, which they change; the host's /usr is its /mnt."""
    ours = (str(bench.programs / "ch-run"), "-w", "-b", "/usr:/mnt")
    theirs = ("/usr/bin/ch-run", "-w", "-b", "/usr:/mnt", "-u", "0", "-g", "0")
    root = ("-u", "0", "-g", "0", str(tree), "--")
    fakeroot = ("env", "FAKEROOTDONTTRYCHOWN=1", "fakeroot")
    return [
        Emulation(ROOT, None),
        Emulation(PLAIN, (*ours, *root), UNSANDBOXED),
        Emulation("sundog, `ch-run --seccomp`", (*ours, "--seccomp", *root), UNSANDBOXED),
        Emulation(NOTIFY, (*ours, "--notify", str(tree), "--")),
        *(
            Emulation(name, (f"SUNDOG_FAST_PATH={fast}", ours[0], "-W", *ours[2:], "--notify",
                      str(tree), "--"))
            for name, fast in ((OVERLAID, "no"), (FAST, "yes"))
        ),
        Emulation("charliecloud, `ch-run --seccomp`",
                  (*theirs, "--seccomp", str(tree), "--"), UNSANDBOXED),
        Emulation("fakeroot 1.37 in `ch-run`", (*ours, *root, *fakeroot), UNSANDBOXED),
        Emulation(PROOT, ("/usr/bin/proot", "-0", "-r", str(tree), "-w", "/",
                  "-b", "/proc", "-b", "/dev", "-b", "/usr:/mnt"), UNSANDBOXED),
    ]  # fmt: skip


def measure(bench: Bench, tarball: Path, results: Results) -> None:
    """Take all measurements."""
    trees = Trees(bench, tarball)
    _installs(bench, trees, results)
    tree = trees.fresh("loops")
    ways = [way for way in emulations(bench, tree) if way.command]
    _loops(bench, [*ways, _recorded(bench, trees), _assenting(tree, ways)], results)
    unlike = ("fakeroot", OVERLAID, FAST)  # these have what a static program does not load
    _calls(bench, tree, [way for way in ways if not way.name.startswith(unlike)], results)


class Trees:
    """Directories that hold the image ``tarball``, owned by the user or, for real root, by root."""

    def __init__(self, bench: Bench, tarball: Path) -> None:
        self._bench = bench
        self.tarball = tarball

    def fresh(self, name: str) -> Path:
        """Unpack the image for the user."""
        tree = self._bench.directory(f"tree-{name}")
        made = ["tar", "-C", str(tree), "--no-same-owner", "--exclude=./dev/*", "-xf"]
        self._bench.run([*made, str(self.tarball)])
        self._bench.run(["mkdir", "-p", str(tree / "mnt")])
        return tree

    def roots(self, name: str) -> Path:
        """Unpack the image as root."""
        tree = self._bench.place / f"tree-{name}"
        tree.mkdir()
        subprocess.run(["tar", "-C", tree, "-xpf", self.tarball], check=True)
        return tree


def _recorded(bench: Bench, trees: Trees) -> Emulation:
    """Return NOTIFY on a tree with a file that root does not own."""
    tree = trees.fresh("recorded")
    way = next(way for way in emulations(bench, tree) if way.name == NOTIFY)
    bench.run(way.running("", "/bin/chown", "1:1", "/etc/issue"))
    return replace(way, name=RECORDED)


def _assenting(tree: Path, ways: Sequence[Emulation]) -> Emulation:
    """Return PLAIN under a supervisor that does nothing: the least that any supervisor costs."""
    source = Path(__file__).parent / "assent.c"
    build = ["gcc", "-O2", "-static", "-x", "c", "-o", str(tree / "bin/assent"), "-"]
    subprocess.run(build, input=source.read_bytes(), check=True)
    plain = next(way for way in ways if way.name == PLAIN)
    assert plain.command is not None
    return replace(plain, name=ASSENT, command=(*plain.command, "/bin/assent"))


class Subordinate:
    """buildah with the image.  Other users exist there, because the user has subordinate ids."""

    def __init__(self, bench: Bench, tarball: Path) -> None:
        self._bench = bench
        self._tool = Buildah("buildah", bench, bench.place / "storage-emulation-buildah")
        bench.run(self._tool.importing(tarball))

    def command(self, script: str) -> list[str]:
        """Return the command that runs a script in a fresh container."""
        container = self._bench.run(self._tool.container(BASE)).strip()
        return self._tool.running(container, "/bin/sh", "-c", script)


def _installs(bench: Bench, trees: Trees, results: Results) -> None:
    """Install packages that need root under each emulation, in turn in each round."""
    costs: dict[str, list[Cost]] = {}
    examples: list[str] = []
    buildah = Subordinate(bench, trees.tarball)
    for turn in range(ROUNDS):
        for number, kind in enumerate(emulations(bench, bench.place)):
            if kind.name == PLAIN or _fails(costs.get(kind.name, ())):
                continue
            script = INSTALL.format(options=kind.apt)
            name = f"{turn}-{number}"
            if kind.command is None:
                tree = trees.roots(name)
                os.sync()  # as Bench.time does
                costs.setdefault(kind.name, []).append(as_root(tree, script))
                continue
            argv = emulations(bench, trees.fresh(name))[number].running(script)
            costs.setdefault(kind.name, []).extend(bench.time([argv], may_fail=True))
            if turn == 0:
                examples.append(" ".join(argv))
        argv = buildah.command(INSTALL.format(options=""))
        costs.setdefault(SUBORDINATE, []).extend(bench.time([argv]))
        if turn == 0:
            examples.append(" ".join(argv))
    least = {name: Cost.least(runs) for name, runs in costs.items()}
    real = least[ROOT]
    rows = [
        Row((
            f"{name}{cost.remark}",
            figure(cost.wall, ".1f"),
            figure(cost.cpu, ".1f"),
            ratio(cost.wall, real.wall),
            ratio(cost.cpu, real.cpu),
        ))
        for name, cost in least.items()
    ]  # fmt: skip
    results.tables.append(
        Table(
            "An install that needs root",
            f"`apt-get install {inputs.SERVICES}` from a repository in the image, a directory on"
            " ext4; those of buildah and of `ch-run -W` are on an overlay that has no syncs."
            f" The least of {ROUNDS} rounds, interleaved, each in a fresh copy; CPU time of all"
            " processes, a supervisor's included. Ratios are those to real root.",
            ("as", "wall, s", "CPU, s", "ratio: wall", "CPU"),
            rows,
            commands=examples,
        )
    )
    own = least[NOTIFY]
    results.target("install under notify: CPU ÷ real root's", own.cpu / real.cpu, 1.3)
    results.target("install under notify: wall ÷ real root's", own.wall / real.wall, 1.15)
    fast = least[FAST].cpu / real.cpu
    results.target("install with the fast path: CPU ÷ real root's", fast, 1.2)


def _fails(costs: Sequence[Cost]) -> bool:
    """Tell whether an emulation failed each time, so that nobody tries it again."""
    return bool(costs) and all(cost.failures for cost in costs)


def as_root(tree: Path, script: str) -> Cost:
    """Run a script as real root in a chroot, in namespaces that end with it."""
    mounts = 'mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev"'
    command = f'{mounts} && exec chroot "$1" /bin/sh -c "$2"'
    argv = ["unshare", "-m", "-p", "-f", "sh", "-c", command, "sh", str(tree), script]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise WorkshopError(f"real root failed: {done.stderr.decode(errors='replace')[-500:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, 0)


def _loops(bench: Bench, ways: Sequence[Emulation], results: Results) -> None:
    """Run programs that do little but stat(2), compile, or start programs."""
    count = int(bench.run(["sh", "-c", "find /usr 2>/dev/null | wc -l"]))
    script = {**WORK, "find": WORK["find"] + " 2>/dev/null || :"}
    walls: dict[str, dict[str, float]] = {way.name: {} for way in ways}
    for what, text in script.items():
        found: dict[str, list[Cost]] = {}
        for turn in range(LOOPS):
            taken = [way for way in ways if turn == 0 or way.name != PROOT]
            costs = bench.time([way.running(text) for way in taken])
            for way, cost in zip(taken, costs, strict=True):
                found.setdefault(way.name, []).append(cost)
        for name, runs in found.items():
            walls[name][what] = Cost.least(runs).wall
    native = walls[PLAIN]
    results.tables.append(
        Table(
            "Programs that do little else",
            f"`find -printf %u` over {count} files of this machine's /usr, `gcc -O2 -c` of a"
            " program that says hello 100 times,"
            f" `/bin/true` 3000 times; wall time, the least of {LOOPS} rounds, interleaved (PRoot:"
            f" one), and the ratio to no emulation. {ASSENT[0].upper()}{ASSENT[1:]} is"
            " bench/assent.c: it shows the cost of the notifications themselves.",
            ("under", *(f"{what}, s" for what in script), *(f"÷ none: {what}" for what in script)),
            [
                Row((
                    name,
                    *(figure(row[what], ".2f") for what in script),
                    *(ratio(row[what], native[what]) for what in script),
                ))
                for name, row in walls.items()
            ],
            commands=[f"{what}: {text}" for what, text in script.items()],
        )
    )  # fmt: skip
    own = walls[NOTIFY]
    results.target("find under notify ÷ none", own["find"] / native["find"], 4.0)
    for what in ("gcc", "exec"):
        results.target(f"{what} under notify ÷ none", own[what] / native[what], 1.1)


def _calls(bench: Bench, tree: Path, ways: Sequence[Emulation], results: Results) -> None:
    """Measure single system calls with a static program in the image."""
    source = Path(__file__).parent / "calls.c"
    build = ["musl-gcc", "-O2", "-static", "-x", "c", "-o", str(tree / "bin/calls"), "-"]
    subprocess.run(build, input=source.read_bytes(), check=True)
    rows, found = [], {}
    for way in ways:
        lines = bench.run(way.running("", "/bin/calls")).split("\n")
        found[way.name] = {
            name: int(number) for name, number in (line.split() for line in lines if line)
        }
        rows.append(Row((way.name, *(f"{found[way.name][call]}" for call in CALLS))))
    results.tables.append(
        Table(
            "A system call that root emulation answers",
            "Nanoseconds, the least of 50 batches of 2000 calls (bench/calls.c, a static"
            " program, so fakeroot, which works in the C library, is not in the table)."
            " `lstat-recorded` is of a file that was given away.",
            ("under", *CALLS),
            rows,
        )
    )
    own = found[NOTIFY]
    for call, limit in (("geteuid", 7.5), ("fstat", 12), ("lstat", 14)):
        results.target(f"{call} under notify, µs", own[call] / 1000, limit)
