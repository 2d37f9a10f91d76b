"""`make bench`: measure Sundog beside its peers in one run, and write the page of benchmarks.

It runs as root, and each part on a fresh ext4 in a loop-mounted file. Pulls and imports make many
files at once: there each tool has an ext4 of its own. The commands run as an ordinary user made for
them, who has subordinate ids, because buildah wants them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import account, install, packages
from scripts.bases import makers
from scripts.place import CHECKOUT, WorkshopError, own

from bench import (
    apptainer,
    cluster,
    configuration,
    convert,
    emulation,
    floor,
    foreign,
    growth,
    inputs,
    jobs,
    join,
    language,
    lazy,
    many,
    pull,
    push,
    report,
    shared_cache,
    squash,
    start,
    work,
)
from bench.build import builds, imports
from bench.file_system import WHOLE, ext4
from bench.measure import Bench
from bench.memory import Ballast
from bench.registry import NEEDS as REGISTRY_NEEDS
from bench.registry import Shelf, compressed, put, registry
from bench.tools import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

USER = "sundog-bench"
PEERS = (
    "bubblewrap", "buildah", "charliecloud-builders", "charliecloud-runtime", "podman", "proot",
    "skopeo", "umoci",
)  # fmt: skip
NEEDS = (
    "busybox-static", "dpkg-dev", "e2fsprogs", "gcc", "git", "gzip", "libarchive-tools",
    "linux-libc-dev", "mount", "musl-tools", "qemu-user", "squashfs-tools", "strace", "uidmap",
)  # fmt: skip


def user() -> account.Account:
    """Return the benchmark's user, who has subordinate ids for buildah."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", USER], check=True)
    if f"{USER}:" not in Path("/etc/subuid").read_text():
        ranges = ["--add-subuids", "500000-565535", "--add-subgids", "500000-565535"]
        subprocess.run(["usermod", *ranges, USER], check=True)
    return account.Account.of(pwd.getpwnam(USER))


@contextlib.contextmanager
def fresh_file_system(owner: account.Account) -> Iterator[Path]:
    """Mount an empty ext4, and give its directory, which belongs to the user."""
    work = Path(tempfile.mkdtemp(prefix="sundog-bench.", dir="/var/tmp"))
    work.chmod(0o755)
    mount = work / "fs"
    mount.mkdir()
    try:
        with ext4(mount, owner, WHOLE):
            yield mount
    finally:
        shutil.rmtree(work, ignore_errors=True)


def building(bench: Bench, results: report.Results) -> None:
    """Build and import."""
    tools = [kind(name, bench, bench.place / f"storage-{name}") for name, kind in KINDS.items()]
    builds(bench, tools, inputs.debian(), results)
    imports(bench, tools, inputs.big(), results)


def registries(bench: Bench, results: report.Results) -> None:
    """Pull and push images of one layer and of several."""
    flat = {"debian": inputs.debian(), "big": inputs.big()}
    layers = {"debian": [compressed(bench, flat["debian"])], "big": []}
    for file in inputs.big_layers():
        layers["big"].append(bench.place / file.name)
        shutil.copy(file, layers["big"][-1])
    storage = bench.directory("registry")
    with (
        registry(bench, storage) as host,
        registry(bench, storage, tls=True) as secure,
        contextlib.ExitStack() as file_systems,
    ):
        for name, files in layers.items():
            put(host, name, files)
        shelf = Shelf(host, secure, layers)
        pull.pulls(bench, shelf, file_systems, results)
        push.pushes(bench, shelf, flat, results)


def root_emulation(bench: Bench, results: report.Results) -> None:
    """Install packages and do other work under root emulation."""
    emulation.measure(bench, inputs.services(), results)
    work.measure(bench, inputs.work(), results)


def one_work(name: str, bench: Bench, results: report.Results) -> None:
    """Measure one kind of work under root emulation."""
    work.measure(bench, inputs.work(), results, [name])


LAZY = "lazy"
# Each part has a file system of its own, gone before the next part: together they need a lot.
PARTS: dict[str, Callable[[Bench, report.Results], None]] = {
    "start": start.measure,
    "configuration": configuration.measure,
    "join": join.measure,
    "cluster": cluster.measure,
    "builds": building,
    "registries": registries,
    "jobs": jobs.measure,
    "foreign": foreign.measure,
    "shared-cache": shared_cache.measure,
    "emulation": root_emulation,
    "many": many.measure,
    "convert": convert.measure,
    "apptainer": apptainer.measure,
    "language": language.measure,
    "squash": squash.measure,
    LAZY: lazy.measure,
}


# Its figures are for small sizes beside large ones; the page does not have them.
GROWTH = "growth"


def chosen(part: str, row: str, divisor: int) -> dict[str, Callable[[Bench, report.Results], None]]:
    """Return the parts to measure; ``part`` and ``row`` are "" for all of them."""
    if row in work.WORKS:
        return {"work": partial(one_work, row)}
    if row or part == GROWTH:
        return {GROWTH: partial(growth.measure, divisor=divisor, work=row)}
    if part == LAZY:
        return {LAZY: partial(lazy.measure, divisor=divisor)}
    return {part: PARTS[part]} if part else PARTS


def main() -> int:
    """Prepare, measure, write the page; return the exit status."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    for part in (*PARTS, GROWTH):
        parser.add_argument(
            f"--{part}",
            action="store_const",
            const=part,
            default="",
            dest="part",
            help="measure this part only, and print it",
        )
    parser.add_argument(
        "--work",
        choices=(*work.WORKS, *growth.WORKS),
        default="",
        help="of --emulation or --growth, this row alone",
    )
    parser.add_argument(
        "--divide",
        type=int,
        default=1,
        metavar="N",
        help="of --growth, with sizes N times smaller; of --lazy, the smaller image alone",
    )
    options = parser.parse_args()
    started = time.monotonic()
    parts = chosen(options.part, options.work, options.divide)
    is_whole = parts is PARTS
    try:
        if os.geteuid() != 0:
            raise WorkshopError(
                "the benchmark mounts a fresh file system: run it as root\n"
                "hint: the measured commands still run as an ordinary user"
            )
        packages.require(
            sorted(
                {
                    *account.NEEDS,
                    *install.NEEDS,
                    *NEEDS,
                    *PEERS,
                    *cluster.NEEDS,
                    *REGISTRY_NEEDS,
                    *makers.needs(["alpine", "busybox", "mpi"]),
                }
            )
        )
        packages.require(makers.MAKERS["debian"].needs)
        owner = user()
        programs = install.environment("bench", install.SYSTEM_PYTHON, extra="[fast]")
        results = report.Results()
        places = []
        with contextlib.closing(Ballast()) as ballast:
            ballast.load()
            alone = [floor.measure(inputs.debian())] if is_whole else []
            for measure in parts.values():
                with fresh_file_system(owner) as place:
                    bench = Bench(owner, place, programs)
                    for name in ("run", "tmp"):
                        bench.directory(name)
                    ballast.load()
                    measure(bench, results)
                places.append(str(place))
        results.tables += alone
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}"
        page = report.page(results, packages.versions(PEERS), machine)
        for directory in places:
            page = page.replace(directory, "$D")
        page = page.replace(str(own("bases")), "$BASES")
        page = page.replace(f"{programs}/", "")
        if is_whole:
            (CHECKOUT / "docs/reference/benchmarks.md").write_text(page)
    except WorkshopError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(page)
    if is_whole:
        print(f"wrote docs/reference/benchmarks.md in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
