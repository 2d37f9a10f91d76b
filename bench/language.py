"""Whole Dockerfiles: rebuilds that change nothing, and cold builds.

The Dockerfiles are those of tests/image/dockerfiles that need little of a network and that rootless
buildah can build, which excludes device nodes and RPMs of system services. Sundog and buildah build
them in turn; buildah has subordinate ids and the kernel's overlay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.bases import makers
from scripts.conformance.cases import BASE, cases
from scripts.place import copy_tree

from bench.measure import Cost
from bench.report import Row, Table, figure, ratio
from bench.tools import Buildah, Sundog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.conformance.cases import Case

    from bench.measure import Bench
    from bench.report import Results
    from bench.tools import Tool

COLD = ("heredocs", "nginx", "secrets", "static-scratch")
ROUNDS = 5
REBUILDS = 11
DIRECTORIES, FILES, SIZE = 200, 100, 10_000
STAGES = 6

STAGE = """\
FROM {base} AS stage{number}
ENV NAME=stage{number}
WORKDIR /work/{number}
COPY small/{number} input
RUN cat input >output
"""
LAST = """\
LABEL stages=6
EXPOSE 80
USER 0
STOPSIGNAL SIGTERM
CMD ["true"]
"""


def measure(bench: Bench, results: Results) -> None:
    """Take the measurements."""
    rebuilds(bench, results)
    cold_builds(bench, results)


def rebuilds(bench: Bench, results: Results) -> None:
    """Build unchanged Dockerfiles again: one of many instructions, one of many files."""
    tools = _tools(bench, "busybox")
    context = bench.directory("language")
    bench.directory("language/small")
    for number in range(STAGES):
        (context / "small" / str(number)).write_text(f"{number}\n")
    many = bench.directory("language-files")
    for directory in range(DIRECTORIES):
        place = many / str(directory)
        place.mkdir()
        for number in range(FILES):
            (place / str(number)).write_bytes((b"%d %d\n" % (directory, number) * SIZE)[:SIZE])
    text = _many_instructions()
    (context / "Dockerfile").write_text(text)
    (many / "Dockerfile").write_text(f"FROM {BASE}\nCOPY . /src\nRUN ls /src\n")
    stages = f"{len(text.splitlines())} instructions in {STAGES} stages"
    files = f"COPY of {DIRECTORIES * FILES} files, {DIRECTORIES * FILES * SIZE // 10**6} MB"
    rows = []
    for what, place, limit in ((stages, context, 0.2), (files, many, 1.0)):
        costs = []
        for tool in tools:
            command = tool.building(place / "Dockerfile", options=_never_pull(tool))
            bench.time([command], env=tool.environment)
            again = bench.time([command], rounds=REBUILDS, env=tool.environment)[0]
            costs.append(again)
        walls = [cost.wall for cost in costs]
        label = what + "".join(cost.remark for cost in costs)
        rows.append(Row((label, *(figure(wall, ".2f") for wall in walls), ratio(*walls))))
        results.target(f"cached rebuild, {what}, s", walls[0], limit)
    results.tables.append(
        Table(
            "Rebuild of unchanged Dockerfiles",
            f"Seconds of wall time, medians of {REBUILDS}.",
            ("what", *(tool.name for tool in tools), "ratio"),
            rows,
        )
    )


def cold_builds(bench: Bench, results: Results) -> None:
    """Build whole Dockerfiles from nothing but their base image, in turn."""
    table = {case.name: case for case in cases()}
    rows = []
    for name in COLD:
        case = table[name]
        context = bench.place / f"cold-{name}"
        copy_tree(case.path, context)
        runs: dict[str, list[Cost]] = {}
        for _ in range(ROUNDS):
            for tool in _tools(bench, case.base):
                options = [*_options(tool, case), *case.options_in(context)]
                command = tool.building(context / "Dockerfile", cache=False, options=options)
                runs.setdefault(tool.name, []).extend(bench.time([command], env=tool.environment))
                bench.run(tool.removing(), tool.environment)
        own, other = (Cost.median(costs) for costs in runs.values())
        least = [Cost.least(costs) for costs in runs.values()]
        cells = [
            f"{figure(middle.wall, '.1f')} ({figure(minimum.wall, '.1f')})"
            for middle, minimum in zip((own, other), least, strict=True)
        ]
        label = f"{name}{other.remark}"
        rows.append(Row((label, case.force, *cells, ratio(own.wall, other.wall))))
        results.target(f"cold build of {name} ÷ buildah's", own.wall / other.wall, 1.0)
    results.tables.append(
        Table(
            "Cold builds of whole Dockerfiles",
            f"Seconds of wall time, medians (and minima) of {ROUNDS} in turn, without a build"
            " cache, the base image in storage. Those that install Debian's packages fetch them.",
            ("tests/image/dockerfiles/", "--force", "sundog", "buildah", "ratio"),
            rows,
        )
    )


def _many_instructions() -> str:
    """Return a Dockerfile in which each stage copies from the stage before it."""
    text = ""
    for number in range(STAGES):
        text += STAGE.format(base=BASE, number=number)
        if number:
            text += f"COPY --from=stage{number - 1} /work/{number - 1}/output before\n"
    return text + LAST


def _tools(bench: Bench, base: str) -> Sequence[Tool]:
    """Return Sundog and buildah, each with the base image in its storage."""
    tools: list[Tool] = []
    for name, kind in (("sundog", Sundog), ("buildah", Buildah)):
        tool = kind(name, bench, bench.place / f"storage-language-{name}-{base}")
        if not tool.storage.exists():
            bench.run(tool.importing(makers.base(base), BASE), tool.environment)
        tools.append(tool)
    return tools


def _never_pull(tool: Tool) -> list[str]:
    return ["--pull=never"] if isinstance(tool, Buildah) else []


def _options(tool: Tool, case: Case) -> list[str]:
    return [f"--force={case.force}"] if isinstance(tool, Sundog) else _never_pull(tool)
