"""Builds for another architecture, which QEMU runs: Sundog beside buildah with the same QEMU.

buildah finds no entry of binfmt_misc on this machine: it builds in a user namespace that has an
instance of binfmt_misc (Linux 6.7).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scripts.bases import makers

from bench.measure import Cost
from bench.report import Row, Table, figure
from bench.tools import BASE, Buildah, Sundog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.measure import Bench
    from bench.report import Results
    from bench.tools import Tool

ROUNDS = 3
LIMITS = {"seccomp": 1.1, "notify": 1.15}  # of buildah's CPU
QEMU = "/usr/bin/qemu-aarch64"
# binfmt_misc(5): type M, magic and mask of an ELF header for aarch64; P keeps argv[0], F opens
# the interpreter now.
ENTRY = (
    r":arm64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
    f":{QEMU}:PF"
)
REGISTER = 'mount -t binfmt_misc none "$1" && printf %s "$2" >"$1/register" && shift 2 && "$@"'
CONFIGURED = """\
FROM {base}
RUN {{ apt-get -q update && apt-get install -qy base-passwd; }}
RUN apt-get install -qy '?essential' apt
"""
INSTALL = """\
FROM {base}
RUN apt-get -q update && apt-get install -qy --no-install-recommends openssh-client
"""


@dataclass(frozen=True)
class ForeignBuildah(Buildah):
    """buildah where the kernel gives programs for aarch64 to QEMU."""

    def building(
        self, dockerfile: Path, *, cache: bool = True, options: Sequence[str] = ()
    ) -> list[str]:
        """Register QEMU in a user namespace, and build in it."""
        command = super().building(dockerfile, cache=cache, options=options)
        instance = str(self.bench.directory("binfmt_misc"))
        script = ["sh", "-c", REGISTER, "sh", instance, ENTRY]
        return ["buildah", "unshare", *script, *command]


def measure(bench: Bench, results: Results) -> None:
    """Install a package in Debian for arm64 with each tool in turn."""
    configured = _configured(bench)
    sundog = Sundog("sundog", bench, bench.place / "storage-foreign")
    buildah = ForeignBuildah("buildah", bench, bench.place / "storage-foreign-buildah")
    commands: dict[str, tuple[Tool, list[str]]] = {}
    tools: dict[Tool, tuple[str, ...]] = {sundog: tuple(LIMITS), buildah: ("",)}
    for tool, forces in tools.items():
        bench.run(tool.importing(configured), tool.environment)
        dockerfile = _dockerfile(bench, f"foreign-{tool.name}", INSTALL.format(base=tool.base))
        for force in forces:
            options = [f"--force={force}"] if force else ["--pull=never"]
            line = tool.building(dockerfile, cache=False, options=options)
            commands[f"{tool.name} {force}".strip()] = tool, line
    costs: dict[str, list[Cost]] = {}
    for _ in range(ROUNDS):
        for name, (tool, line) in commands.items():
            costs.setdefault(name, []).extend(bench.time([line], env=tool.environment))
            bench.run(tool.removing(), tool.environment)
    medians = {name: Cost.median(found) for name, found in costs.items()}
    results.tables.append(
        Table(
            "A build for arm64 on this machine",
            "`apt-get update` and `apt-get install openssh-client` in Debian for arm64, with"
            f" Debian's qemu-user; seconds, medians of {ROUNDS} in turn.",
            ("tool", "wall, s", "CPU, s"),
            [
                Row((name + cost.remark, figure(cost.wall, ".1f"), figure(cost.cpu, ".1f")))
                for name, cost in medians.items()
            ],
        )
    )
    for force, limit in LIMITS.items():
        quotient = medians[f"sundog {force}"].cpu / medians["buildah"].cpu
        results.target(f"build for arm64, --force={force}: CPU ÷ buildah's", quotient, limit)


def _configured(bench: Bench) -> Path:
    """Return a tarball of Debian for arm64, its essential packages configured."""
    sundog = Sundog("sundog", bench, bench.place / "storage-configured")
    bench.run(sundog.importing(makers.base("debian-arm64")), sundog.environment)
    dockerfile = _dockerfile(bench, "configured", CONFIGURED.format(base=BASE))
    bench.run(sundog.building(dockerfile), sundog.environment)
    tarball = bench.place / "configured.tar"
    convert = [str(bench.programs / "ch-convert"), "-i", "ch-image", "-o", "tar"]
    bench.run([*convert, "bench", str(tarball)], sundog.environment)
    return tarball


def _dockerfile(bench: Bench, name: str, text: str) -> Path:
    path = bench.directory(name) / "Dockerfile"
    path.write_text(text)
    return path
