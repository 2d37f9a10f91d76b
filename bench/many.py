"""The cost of many files under root emulation: a RUN that makes them, and what comes after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import inputs
from bench.measure import Cost
from bench.report import Row, Table, figure, ratio
from bench.tools import Sundog

if TYPE_CHECKING:
    from bench.measure import Bench
    from bench.report import Results

ROUNDS = 3
DIRECTORIES, FILES = 200, 1000  # directories, and files in each
COPIED = 6000
MEGABYTE = 1e6
MAKE = (
    f"mkdir /many && cd /many && for d in $(seq {DIRECTORIES}); do"
    f" mkdir $d && (cd $d && touch $(seq {FILES})); done"
)
CHOWN = "chown -R 1000:1000 /many"
# By the image that they make: the instructions, each on the image before the colon.
BUILDS = {
    "made and given away": f"base:RUN {MAKE} && {CHOWN}",
    "given away over a lower layer": f"plain:RUN {CHOWN}",
    "a RUN after that": "many:RUN true",
    f"COPY of {COPIED} files, and chown -R": "base:COPY copied /many\nRUN " + CHOWN,
}


def measure(bench: Bench, results: Results) -> None:
    """Build under both emulations, and start a container of the image with many records."""
    tool = Sundog("sundog", bench, bench.place / "storage-many")
    context = bench.directory("context")
    copied = bench.directory("context/copied")
    for number in range(COPIED):
        (copied / f"{number}").write_bytes(b"%d\n" % number)
    program = str(bench.programs / "ch-image")

    def building(force: str, name: str, text: str) -> list[str]:
        base, _, instructions = text.partition(":")
        file = context / f"Dockerfile.{name.replace(' ', '-').replace(',', '')}"
        file.write_text(f"FROM {base}\n{instructions}\n")
        return [
            *(program, "build", f"--force={force}", "--no-cache", "-t", "made"),
            *("-f", str(file), str(context)),
        ]

    bench.run([program, "import", str(inputs.debian()), "base"], env=tool.environment)
    for name, text in (("plain", f"base:RUN {MAKE}"), ("many", BUILDS["made and given away"])):
        argv = building("notify", name, text)
        argv[argv.index("made")] = name
        bench.run(argv, env=tool.environment)
    start = str(bench.programs / "ch-run")
    rows: dict[str, tuple[list[str], list[str]]] = {
        name: (building("notify", name, text), building("seccomp", name, text))
        for name, text in BUILDS.items()
    }
    rows["ch-run of that image"] = (
        [start, "--notify", "many", "--", "true"],
        [start, "--seccomp", "many", "--", "true"],
    )
    costs: dict[str, tuple[Cost, Cost]] = {}
    for name, pair in rows.items():
        runs = [bench.time(pair, env=tool.environment) for _ in range(ROUNDS)]
        notify, seccomp = (Cost.least([run[at] for run in runs]) for at in (0, 1))
        costs[name] = notify, seccomp
    results.tables.append(
        Table(
            "Many files under root emulation",
            f"{DIRECTORIES * FILES} files in {DIRECTORIES} directories; CPU time of all processes,"
            f" the least of {ROUNDS} rounds, interleaved; peak memory of the largest process under"
            " `notify`, MB of 10^6 bytes.",
            ("what", "notify: CPU, s", "seccomp: CPU, s", "ratio", "peak, MB"),
            [
                Row((
                    name,
                    figure(notify.cpu, ".2f"),
                    figure(seccomp.cpu, ".2f"),
                    ratio(notify.cpu, seccomp.cpu),
                    figure(notify.resident / MEGABYTE, ".0f"),
                ))
                for name, (notify, seccomp) in costs.items()
            ],
            commands=[" ".join(notify) for notify, _ in rows.values()],
        )
    )  # fmt: skip
    limits = (15, 35, 1, None, 0.5)
    for (name, (notify, seccomp)), limit in zip(costs.items(), limits, strict=True):
        if limit is None:
            results.target(f"{name}: CPU ÷ seccomp's", notify.cpu / seccomp.cpu, 1.25)
        else:
            results.target(f"{name}: CPU, s", notify.cpu, limit)
