"""`make bench`: measure Sundog beside its peers in one run, and write docs/benchmarks.md.

As root, on a fresh ext4 in a loop-mounted file: an ext4 that has seen mass deletions creates files
20 to 40 times slower, which would measure the machine's past. The commands run as an ordinary user
of their own, with subordinate ids, since buildah wants them.
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
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import account, install, packages
from scripts.bases import makers
from scripts.place import CHECKOUT, WorkshopError, own

from bench import emulation, floor, inputs, pull, report, start
from bench.build import builds, imports
from bench.measure import Bench
from bench.tools import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "sundog-bench"
PEERS = ("bubblewrap", "buildah", "charliecloud-builders", "charliecloud-runtime", "proot")
NEEDS = (
    "busybox-static", "dpkg-dev", "e2fsprogs", "gcc", "git", "gzip", "libarchive-tools",
    "linux-libc-dev", "mount", "musl-tools", "strace", "uidmap",
)  # fmt: skip
FILE_SYSTEM = 24 << 30


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
    """Mount an ext4 that holds nothing yet, and give a directory on it that is the user's."""
    work = Path(tempfile.mkdtemp(prefix="sundog-bench.", dir="/var/tmp"))
    work.chmod(0o755)
    image, mount = work / "ext4", work / "fs"
    mount.mkdir()
    try:
        with image.open("wb") as file:
            file.truncate(FILE_SYSTEM)
        made = ["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"]
        subprocess.run([*made, str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(mount)], check=True)
        try:
            os.chown(mount, owner.uid, owner.gid)
            yield mount
        finally:
            subprocess.run(["umount", "--lazy", str(mount)], check=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def measure(
    place: Path, owner: account.Account, programs: Path, *, only_emulation: bool = False
) -> report.Results:
    """Take all measurements, or only those of root emulation."""
    bench = Bench(owner, place, programs)
    for name in ("run", "tmp"):
        bench.directory(name)
    tools = [kind(name, bench, bench.directory(f"storage-{name}")) for name, kind in KINDS.items()]
    results = report.Results()
    for tool in tools:
        tool.storage.rmdir()
    if only_emulation:
        emulation.measure(bench, inputs.services(), results)
        return results
    start.measure(bench, makers.base("busybox"), results)
    builds(bench, tools, inputs.debian(), results)
    imports(bench, tools, inputs.big(), results)
    pull.pulls(bench, {"debian": inputs.debian(), "big": inputs.big()}, results)
    emulation.measure(bench, inputs.services(), results)
    return results


def main() -> int:
    """Prepare, measure, write the page; an exit status."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--emulation", action="store_true", help="that part only, and print it")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        if os.geteuid() != 0:
            raise WorkshopError(
                "the benchmark mounts a fresh file system: run it as root\n"
                "hint: what is measured runs as an ordinary user all the same"
            )
        packages.require(
            sorted(
                {
                    *account.NEEDS,
                    *install.NEEDS,
                    *NEEDS,
                    *PEERS,
                    *pull.NEEDS,
                    *makers.needs(["busybox"]),
                }
            )
        )
        packages.require(makers.MAKERS["debian"].needs)
        owner = user()
        programs = install.environment("bench", install.SYSTEM_PYTHON, extra="[fast]")
        alone = [] if options.emulation else [floor.measure(inputs.debian())]
        with fresh_file_system(owner) as place:
            results = measure(place, owner, programs, only_emulation=options.emulation)
        results.tables += alone
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}"
        page = report.page(results, packages.versions(PEERS), machine)
        page = page.replace(str(place), "$D").replace(str(own("bases")), "$BASES")
        page = page.replace(f"{programs}/", "")
        if not options.emulation:
            (CHECKOUT / "docs/benchmarks.md").write_text(page)
    except WorkshopError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(page)
    if not options.emulation:
        print(f"wrote docs/benchmarks.md in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
