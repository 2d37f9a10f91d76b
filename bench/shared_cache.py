"""Rebuilds on empty storage from a cache in a registry on this machine, beside buildah's."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench import inputs
from bench.measure import Cost
from bench.registry import compressed, put, registry
from bench.report import Row, Table, figure
from bench.tools import Buildah, Sundog

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.measure import Bench
    from bench.report import Results
    from bench.tools import Tool

ROUNDS = 5
_TOOLS: Mapping[str, type[Tool]] = {"sundog": Sundog, "buildah": Buildah}
_LIMIT = 0.6  # of buildah's CPU time
# Six stages, of which two are only copied from, and one only begins others.
_DOCKERFILE = """\
FROM {base} AS common
ENV MODE=fast
RUN head -c 20000000 /dev/urandom >/tools
FROM common AS one
RUN head -c 10000000 /dev/urandom >/one.o
WORKDIR /src
RUN echo one >/one
FROM common AS two
RUN head -c 10000000 /dev/urandom >/two.o
RUN echo two >/two
FROM {base} AS data
COPY list /list
FROM data AS checked
RUN test -s /list && echo good >/good
FROM {base}
COPY --from=one /one /one
COPY --from=two /two /two
COPY --from=checked /list /good /
RUN cat /one /two >/both
CMD ["cat", "/both"]
"""
# A line of docker-registry's access log: the method, and how many bytes went.
_ANSWER = re.compile(r'"(GET|HEAD|POST|PUT|PATCH) /v2/\S+ HTTP/1\.1" \d+ (\d+) ')


@dataclass
class _Rebuilds:
    """What the rebuilds of one tool cost, and what its last one asked for."""

    costs: list[Cost] = field(default_factory=list)
    requests: int = 0
    size: int = 0


def measure(bench: Bench, results: Results) -> None:
    """Fill the cache by each tool, then rebuild in fresh storage, in turns."""
    log, context = bench.place / "access.log", bench.directory("context")
    (context / "list").write_text("list\n")
    found = {name: _Rebuilds() for name in _TOOLS}
    commands = []
    with registry(bench, bench.directory("registry"), access=log) as host:
        put(host, "base", [compressed(bench, inputs.debian())])
        dockerfile = context / "Dockerfile"
        dockerfile.write_text(_DOCKERFILE.format(base=f"{host}/base:latest"))
        for turn in range(ROUNDS + 1):
            for name, kind in _TOOLS.items():
                tool = kind(name, bench, bench.place / f"storage-{name}-{turn}")
                option = "--cache-from" if turn else "--cache-to"
                options = [option, f"{host}/cache/{name}"]
                options += ["--tls-verify=false"] if name == "buildah" else []
                argv = tool.building(dockerfile, options=options)
                before = log.stat().st_size
                (cost,) = bench.time([argv], env=tool.environment)
                if turn:
                    found[name].costs.append(cost)
                    found[name].requests, found[name].size = _asked(log, before)
                if turn == 1:
                    commands.append(" ".join(argv))
    rows = []
    for name, each in found.items():
        cost = Cost.median(each.costs)
        label, size = f"{name}{cost.remark}", figure(each.size / 1e6, ".1f")
        figures = figure(cost.wall, ".2f"), figure(cost.cpu, ".2f")
        rows.append(Row((label, *figures, str(each.requests), size)))
    results.tables.append(
        Table(
            "Rebuild from a shared cache",
            "A Dockerfile of six stages on debian, all of whose results are in a registry on this"
            f" machine, in fresh storage: medians of {ROUNDS} rounds in turns, CPU time of all"
            " processes, MB of 10^6 bytes that the registry sent.",
            ("by", "wall, s", "CPU, s", "requests", "received, MB"),
            rows,
            commands=commands,
        )
    )
    own, peer = found["sundog"], found["buildah"]
    quotient = Cost.median(own.costs).cpu / Cost.median(peer.costs).cpu
    results.target("rebuild from a shared cache: CPU ÷ buildah's", quotient, _LIMIT)
    for what, one, other in (
        ("requests", own.requests, peer.requests),
        ("bytes", own.size, peer.size),
    ):
        results.target(f"rebuild from a shared cache: {what} ÷ buildah's", one / other, 1)


def _asked(log: Path, start: int) -> tuple[int, int]:
    """Return how many requests there are since ``start``, and the bytes of their answers."""
    with log.open("rb") as file:
        file.seek(start)
        answers = _ANSWER.findall(file.read().decode("utf-8", "replace"))
    return len(answers), sum(int(size) for _, size in answers)
