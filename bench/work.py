"""The price of root emulation by kind of work: seccomp, notify, and notify with the fast path.

All run in one image, on an overlay in memory of their own.  What a kind of work needs is prepared
there before, without emulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.emulation import Trees
from bench.measure import Cost
from bench.report import Row, Table, figure, ratio

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.measure import Bench
    from bench.report import Results

ROUNDS = 3
SECCOMP, NOTIFY, FAST = "seccomp", "notify", "with the fast path"
FUNCTIONS = (
    "alarm atexit bcopy bzero clock_gettime dup2 endpwent fchdir fork ftruncate getcwd getgroups"
    " gethostname getpagesize getrlimit gettimeofday isascii localtime_r lstat memchr memmove"
    " memset mkdir mkfifo mmap munmap nanosleep poll putenv qsort realpath regcomp rename"
    " rmdir select setenv sigaction socket stat strcasecmp strchr strdup strerror strtol uname"
)
PREPARE = f"""set -e; mkdir -p /srv/git /srv/conf; cp -r /usr/include /usr/lib/python3* /srv/git
cd /srv/git; git init -q; git add .; cd /srv/conf
printf 'AC_INIT([a],[1])\\nAC_PROG_CC\\nAC_CHECK_FUNCS([%s])\\nAC_OUTPUT\\n' '{FUNCTIONS}' \\
    >configure.ac
autoconf"""


@dataclass(frozen=True)
class Work:
    """A shell script; with the fast path, it may cost ``limit`` times the CPU of ``base``."""

    script: str
    limit: float
    base: str = SECCOMP


def _times(count: int, script: str) -> str:
    return f"for i in $(seq {count}); do {script}; done >/dev/null"


WORKS = {
    "git-status": Work(f"cd /srv/git; {_times(40, 'git status')}", 1.3),
    "find": Work(_times(5, "find /usr -ls"), 1.3),
    "ls": Work(_times(5, "ls -lR /usr"), 1.3),
    "cp-chmod-rm": Work(
        _times(4, "cp -r /usr/share /tmp/c; chmod -R go-rwx /tmp/c; rm -r /tmp/c"), 1.3
    ),
    "chown-ls": Work(
        _times(3, "cp -r /usr/share /tmp/$i; chown -R 1000:1000 /tmp/$i; ls -lR /tmp/$i"), 2
    ),
    "compileall": Work("cp -r /usr/lib/python3 /usr/lib/python3.* /tmp; "
                       "python3 -m compileall -qf /tmp", 1.1),
    "pip": Work("python3 -m venv /tmp/v; wheels=/usr/share/python-wheels; "
                + _times(3, "/tmp/v/bin/pip -q install --no-index --find-links $wheels"
                            " --target /tmp/t$i pip"), 1.1),
    "dpkg-unpack": Work("dpkg --force-all --unpack /aptrepo/*.deb", 1.1),
    "configure": Work("cp -r /srv/conf /tmp; cd /tmp/conf; ./configure", 1.2),
    "exec": Work(_times(1000, "/bin/true"), 1.05, NOTIFY),
}  # fmt: skip


def measure(bench: Bench, tarball: Path, results: Results, names: Sequence[str] = ()) -> None:
    """Measure the works with these names, by default all."""
    tree = Trees(bench, tarball).fresh("work")
    program = str(bench.programs / "ch-run")
    root = ("-u0", "-g0", str(tree), "--")
    bench.run([program, "-w", *root, "/bin/sh", "-c", PREPARE])
    ways: dict[str, tuple[str, ...]] = {
        SECCOMP: (program, "-W", "--private-tmp", "--seccomp", *root),
        NOTIFY: ("SUNDOG_FAST_PATH=no", program, "-W", "--private-tmp", "--notify", *root),
        FAST: ("SUNDOG_FAST_PATH=yes", program, "-W", "--private-tmp", "--notify", *root),
    }
    rows = []
    for name in names or WORKS:
        work = WORKS[name]
        found: dict[str, list[Cost]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            costs = bench.time([[*words, "/bin/sh", "-c", work.script] for words in ways.values()])
            for way, cost in zip(ways, costs, strict=True):
                found[way].append(cost)
        least = {way: Cost.least(costs) for way, costs in found.items()}
        own, base = least[FAST].cpu, least[work.base].cpu
        results.target(f"{name} with the fast path: CPU ÷ {work.base}'s", own / base, work.limit)
        cells = [figure(least[way].cpu, ".2f") for way in ways]
        cells += [ratio(least[way].cpu, least[SECCOMP].cpu) for way in (NOTIFY, FAST)]
        rows.append(Row((name, *cells)))
    results.tables.append(
        Table(
            "Work under root emulation",
            f"CPU time of all processes in s, a supervisor's included, the least of {ROUNDS}"
            " rounds, interleaved, with `ch-run -W`: on an overlay in memory; the ratios are those"
            " to `seccomp`, which gives no answers of its own.",
            ("work", *ways, *(f"ratio: {way}" for way in (NOTIFY, FAST))),
            rows,
            commands=[f"{name}: {WORKS[name].script}" for name in names or WORKS],
        )
    )
