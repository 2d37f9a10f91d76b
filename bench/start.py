"""Starts of containers: the time of one and of many, and the files that a start names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scripts.bases import makers
from scripts.place import WorkshopError

from bench import filters, names
from bench.report import Row, Table, figure, ratio
from bench.tools import Buildah, Sundog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.measure import Bench, Repeated
    from bench.report import Results

ROUNDS = 60
MANY = 500
CROWD = 64  # starts at once
LAYERS = (5, 60)
HOST = "the host's static true"
INTERPRETER = "the interpreter, `python -I -S -E -c pass`"
OURS = f"sundog, `ch-run IMAGE -- true`, {LAYERS[0]} layers"
DEEP = f"sundog, the same, {LAYERS[1]} layers"
OPTIONS = "sundog, `ch-run -W --set-env -b … IMAGE -- true`"
DIRECTORY = "sundog, `ch-run DIRECTORY -- true`"
DECLINED = "sundog, a start that the compiled front declines"
PYTHON = "sundog, the Python launcher alone"
DEVICE = "sundog, the same with `--device=…`: CDI in JSON, four libraries"
NOTIFY = "sundog, `ch-run --notify IMAGE -- true`"
RUN = "sundog, `sundog run --rm IMAGE true`"
RUN_AS_CALLER = "sundog, `sundog run --rm --userns=keep-id IMAGE true`"
SIF = "sundog, `ch-run IMAGE.sif -- true`"
APPTAINER_SIF = "sundog, `sundog apptainer exec IMAGE.sif true`"
APPTAINER = "sundog, `sundog apptainer exec docker://IMAGE true`"
CHARLIECLOUD = "charliecloud, `ch-run DIRECTORY -- true`"
BUBBLEWRAP = "bubblewrap, `bwrap --unshare-user --bind …`"
BUILDAH = "buildah, `buildah run --isolation chroot …`"

# It makes the compiled front decline.  Without a front, it does nothing.
DECLINING = "SUNDOG_START=python"
# The script that starts Python, from the directory of ch-run: the front hands over to it.
LAUNCHER = "../share/sundog/ch-run"


@dataclass(frozen=True)
class _Subjects:
    """The commands by label, and their common environment."""

    commands: Mapping[str, Sequence[str]]
    environment: Mapping[str, str]


def measure(bench: Bench, results: Results) -> None:
    """Take all measurements of starts."""
    tree = bench.directory("busybox")
    bench.run(["tar", "-C", str(tree), "-xf", str(makers.base("busybox"))])
    make_true(bench, tree / "bin/true")
    tarball = bench.place / "busybox.tar"
    bench.run(["tar", "-C", str(tree), "-cf", str(tarball), "."])
    sundog = Sundog("sundog", bench, bench.place / "storage-start")
    bench.run(sundog.importing(tarball, "busybox"), sundog.environment)
    for layers in LAYERS:
        _build(bench, sundog, layers)
    sif = bench.place / "image.sif"
    build = [str(bench.programs / "sundog"), "apptainer", "build", str(sif)]
    bench.run([*build, f"docker://layers{LAYERS[0]}"], sundog.environment)
    subjects = _Subjects(_commands(bench, tree, sif), sundog.environment)
    _once(bench, subjects, tarball, results)
    _many(bench, subjects, results)
    named = (INTERPRETER, OURS, DEEP, OPTIONS, DIRECTORY, PYTHON, CHARLIECLOUD, BUBBLEWRAP)
    names.measure(
        bench,
        {label: subjects.commands[label] for label in named},
        subjects.environment,
        OURS,
        results,
    )
    filters.measure(bench, tree, results)


def make_true(bench: Bench, target: Path) -> None:
    """Replace BusyBox's `true`, whose own start takes as long as half a container's."""
    source = bench.place / "true.c"
    source.write_text("int main(void) { return 0; }\n")
    target.unlink()
    bench.run(["musl-gcc", "-Os", "-s", "-static", "-o", str(target), str(source)])


def _build(bench: Bench, sundog: Sundog, layers: int) -> None:
    """Build the image ``layersN``: BusyBox and copied files, in N layers."""
    context = bench.directory(f"context-layers-{layers}")
    (context / "file").write_text("a file\n")
    copies = "".join(f"COPY file /srv/{number}\n" for number in range(layers - 1))
    (context / "Dockerfile").write_text(f"FROM busybox\n{copies}")
    name = f"layers{layers}"
    bench.run(sundog.building(context / "Dockerfile", options=["-t", name]), sundog.environment)
    listed = bench.run(
        [str(bench.programs / "ch-image"), "list", "--format", "json", f"{name}*"],
        sundog.environment,
    )
    found = [image["layers"] for image in json.loads(listed)]
    if found != [layers]:
        raise WorkshopError(f"the image {name} has {found} layers")


def _commands(bench: Bench, tree: Path, sif: Path) -> dict[str, Sequence[str]]:
    interpreter = str((bench.programs / "python").resolve())
    ch_run = str(bench.programs / "ch-run")
    launcher = bench.programs / LAUNCHER
    if not launcher.exists():  # a pure wheel: ch-run is that script
        launcher = bench.programs / "ch-run"
    image = [f"layers{LAYERS[0]}", "--", "true"]
    run = [str(bench.programs / "sundog"), "run", "--rm"]
    apptainer = [str(bench.programs / "sundog"), "apptainer", "exec"]
    variables = bench.place / "variables"
    variables.write_text("ONE=1\nTWO=two\n")
    options = ["-W", f"--set-env={variables}", "--set-env=THREE=3", "-b", f"{bench.place}:/mnt"]
    device = [f"--cdi-dirs={_driver(bench)}", "--device=bench.local/gpu=all"]
    binds = ["--bind", str(tree), "/", "--dev", "/dev", "--proc", "/proc"]
    return {
        HOST: [str(tree / "bin/true")],
        INTERPRETER: [interpreter, "-I", "-S", "-E", "-c", "pass"],
        OURS: [ch_run, *image],
        DEEP: [ch_run, f"layers{LAYERS[1]}", "--", "true"],
        OPTIONS: [ch_run, *options, *image],
        DIRECTORY: [ch_run, str(tree), "--", "true"],
        DECLINED: [DECLINING, ch_run, *image],
        PYTHON: ["/bin/sh", str(launcher), *image],
        DEVICE: ["/bin/sh", str(launcher), *device, *image],
        NOTIFY: [ch_run, "--notify", *image],
        RUN: [*run, image[0], "true"],
        RUN_AS_CALLER: [*run, "--userns=keep-id", image[0], "true"],
        SIF: [ch_run, str(sif), "--", "true"],
        APPTAINER_SIF: [*apptainer, str(sif), "true"],
        APPTAINER: [*apptainer, f"docker://{image[0]}", "true"],
        CHARLIECLOUD: ["/usr/bin/ch-run", str(tree), "--", "true"],
        BUBBLEWRAP: ["/usr/bin/bwrap", "--unshare-user", *binds, "true"],
    }


def _driver(bench: Bench) -> Path:
    """Make a driver of four libraries and its specification; return the specification's place."""
    directory = bench.directory("driver")
    source = directory / "library.c"
    source.write_text("int nothing;\n")
    mounts, folder = [], "/usr/lib64/driver"
    for number in range(4):
        path = directory / f"libbench{number}.so.1.2.3"
        words = ["-shared", "-o", str(path), str(source), f"-Wl,-soname,libbench{number}.so.1"]
        bench.run(["gcc", *words])
        target = f"{folder}/{path.name}"
        mounts.append({"hostPath": str(path), "containerPath": target, "options": ["ro"]})
    words = ["nvidia-cdi-hook", "update-ldcache", "--folder", folder]
    hook = {"hookName": "createContainer", "path": f"/usr/bin/{words[0]}", "args": words}
    edits = {"env": ["GPU=1"], "mounts": mounts, "hooks": [hook]}
    devices = [{"name": "all", "containerEdits": edits}]
    document = {"cdiVersion": "0.6.0", "kind": "bench.local/gpu", "devices": devices}
    specifications = bench.directory("cdi")
    (specifications / "bench.json").write_text(json.dumps(document))
    return specifications


def _once(bench: Bench, subjects: _Subjects, tarball: Path, results: Results) -> None:
    """Start `true` by each command in turn."""
    commands = dict(subjects.commands)
    buildah = Buildah("buildah", bench, bench.directory("storage-start-buildah"))
    container, refusal = _container(bench, buildah, tarball)
    if container:
        commands[BUILDAH] = buildah.running(container, "true")
    costs = bench.time(list(commands.values()), rounds=ROUNDS, env=subjects.environment)
    cost = dict(zip(commands, costs, strict=True))
    own, peer = cost[OURS], cost[CHARLIECLOUD]
    results.tables.append(
        Table(
            "Container start",
            f"`true` is a static program that only exits; medians of {ROUNDS} rounds, the commands"
            f" interleaved. Ratios are those of the first of sundog's rows to the row.{refusal}",
            ("command", "wall, ms", "CPU, ms", "ratio: wall", "CPU"),
            [
                Row((
                    f"{label}{one.remark}",
                    figure(one.wall * 1e3, ".2f"),
                    figure(one.cpu * 1e3, ".2f"),
                    ratio(own.wall, one.wall),
                    ratio(own.cpu, one.cpu),
                ))
                for label, one in cost.items()
            ],
            commands=[" ".join(argv) for argv in commands.values()],
        )
    )  # fmt: skip
    results.target("start: CPU ÷ charliecloud's", own.cpu / peer.cpu, 0.5)
    results.target("start: wall ÷ charliecloud's", own.wall / peer.wall, 0.6)
    results.target(
        "start with -W --set-env -b: CPU ÷ charliecloud's", cost[OPTIONS].cpu / peer.cpu, 0.8
    )
    results.target(
        f"start: CPU with {LAYERS[1]} layers ÷ with {LAYERS[0]}", cost[DEEP].cpu / own.cpu, 1.5
    )
    more = (cost[DECLINED].cpu - cost[PYTHON].cpu) * 1e3
    added = (cost[DEVICE].cpu - cost[PYTHON].cpu) * 1e3
    results.target(
        "sundog run: CPU ÷ that of ch-run --notify", cost[RUN].cpu / cost[NOTIFY].cpu, 1.15
    )
    added_by_front = (cost[APPTAINER_SIF].cpu - cost[SIF].cpu) * 1e3
    results.target("sundog apptainer exec: CPU more than ch-run's of a SIF, ms", added_by_front, 4)
    results.target(
        "sundog apptainer exec docker://: CPU ÷ ch-run's", cost[APPTAINER].cpu / own.cpu, 3
    )
    results.target("start with a device of CDI: CPU more than the Python launcher's, ms", added, 3)
    results.target("start that is declined: CPU more than the Python launcher's, ms", more, 1)


def _many(bench: Bench, subjects: _Subjects, results: Results) -> None:
    """Start `true` many times in a row, and in two rows at once; count the failures."""
    rows, found = [], {}
    for label in (OURS, CHARLIECLOUD, BUBBLEWRAP):
        for at_once in (1, 2):
            many = bench.repeat(
                subjects.commands[label], MANY, at_once=at_once, env=subjects.environment
            )
            found[label, at_once] = many
            rows.append(_row(label, at_once, many))
    results.tables.append(
        Table(
            "Many starts",
            f"`true` {MANY} times, in one row or in two at once; wall time is that of all starts,"
            " divided by their number.",
            ("command", "starts", "failed", "wall of one, ms", "CPU of one, ms"),
            rows,
        )
    )
    for label in (APPTAINER, APPTAINER_SIF):
        many = bench.repeat(subjects.commands[label], MANY, at_once=CROWD, env=subjects.environment)
        results.target(f"{label}, {CROWD} at once: failures", many.failed, 0)
    for at_once, limit in ((1, 0.6), (2, 0.75)):
        starts = f"{at_once} x {MANY // at_once} starts"
        own, peer = found[OURS, at_once], found[CHARLIECLOUD, at_once]
        results.target(f"{starts}: failures", own.failed, 0)
        results.target(f"{starts}: CPU ÷ charliecloud's", own.cpu / peer.cpu, limit)


def _row(label: str, at_once: int, many: Repeated) -> Row:
    return Row((
        label,
        f"{at_once} x {many.count // at_once}",
        str(many.failed),
        f"{many.wall * 1e3:.2f}",
        f"{many.cpu * 1e3:.2f}",
    ))  # fmt: skip


def _container(bench: Bench, buildah: Buildah, tarball: Path) -> tuple[str, str]:
    """Make a working container of buildah's; return its name, or "" and why it failed."""
    try:
        bench.run(buildah.importing(tarball, "start"))
        name = bench.run(buildah.container("start")).strip()
        bench.run(buildah.running(name, "true"))
    except WorkshopError as error:
        return "", f" `buildah run` does not work here: {str(error).splitlines()[-1]}"
    return name, ""
