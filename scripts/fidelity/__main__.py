"""`make fidelity`: install five ways, compare, and print a table; status 1 if notify differs."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import account, install, packages
from scripts.bases import makers
from scripts.fidelity import bootstrapped, reference
from scripts.fidelity.compare import Verdict, judge
from scripts.fidelity.emulated import Builder, BuildFailed
from scripts.fidelity.sets import FURTHER, MORE, QUICK, SETS
from scripts.place import WorkshopError

if TYPE_CHECKING:
    from scripts.fidelity.reference import Reference
    from scripts.fidelity.sets import PackageSet

USER = "sundog"
SHOWN = 40  # differences shown for each way of looking
# Columns of the table: the value of --force, and that of SUNDOG_FAST_PATH.
MODES = {
    "seccomp": ("seccomp", "no"),
    "fakeroot": ("fakeroot", "no"),
    "notify": ("notify", "no"),
    "fast path": ("notify", "yes"),
}
FAITHFUL = ("notify", "fast path")
DRIVER = "CH_IMAGE_DRIVER"  # variables that the builds get


def verdict(
    user: account.Account, programs: Path, chosen: PackageSet, real: Reference, mode: str
) -> Verdict:
    """Build one set in one of MODES as the user, in fresh storage, and compare."""
    place = Path(tempfile.mkdtemp(prefix="sundog-fidelity.", dir="/var/tmp"))
    try:
        os.chown(place, user.uid, user.gid)
        environment = account.environment(user, programs)
        environment["CH_IMAGE_STORAGE"] = str(place / "storage")
        environment |= {key: value for key, value in os.environ.items() if key == DRIVER}
        force, environment["SUNDOG_FAST_PATH"] = MODES[mode]
        builder = Builder(user, environment, place, str(programs / "python"))
        return judge(real, builder.make(chosen, real.base, force))
    except BuildFailed as error:
        return Verdict(failure=str(error))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def measure(chosen: list[PackageSet], user: account.Account, programs: Path) -> bool:
    """Print a row for each set and its differences; tell whether FAITHFUL ones have none."""
    faithful = True
    columns = " ".join(f"{mode:>12}" for mode in MODES)
    print(f"{'set':24} {'paths':>7} {columns} {'seconds':>8}", flush=True)
    for packages_ in chosen:
        started = time.monotonic()
        real = reference.of(packages_)
        verdicts = {mode: verdict(user, programs, packages_, real, mode) for mode in MODES}
        notify = verdicts["notify"]
        seconds = time.monotonic() - started
        compared = notify.compared or len(real.tree.entries)
        columns = " ".join(f"{found!s:>12}" for found in verdicts.values())
        print(f"{packages_.name:24} {compared:7} {columns} {seconds:8.0f}", flush=True)
        for mode, found in verdicts.items():
            # What is not FAITHFUL need not succeed, but is worth a look.
            lines = found.lines(SHOWN) if mode in FAITHFUL else found.failure.splitlines()
            print("".join(f"  {mode}: {line}\n" for line in lines), end="", flush=True)
        faithful &= all(str(verdicts[mode]) == "0" for mode in FAITHFUL)
    return faithful


def main() -> int:
    """Parse the command line, prepare, measure; return the exit status."""
    table = {chosen.name: chosen for chosen in (*QUICK, *SETS, *MORE, *FURTHER)}
    parser = argparse.ArgumentParser(prog="python3 -m scripts.fidelity")
    parser.add_argument("--more", action="store_true", help="with further packages")
    parser.add_argument("--debootstrap", action="store_true", help="debootstrap alone")
    parser.add_argument("sets", nargs="*", help=f"some of: {', '.join(table)}")
    options = parser.parse_args()
    if unknown := set(options.sets) - set(table):
        parser.error(f"no such set: {', '.join(unknown)}")
    chosen = [table[name] for name in options.sets] or [
        *SETS,
        *((*MORE, *FURTHER) if options.more else ()),
    ]
    try:
        if os.geteuid() != 0:
            raise WorkshopError(
                "only root can make what real root makes: run this as root\n"
                "hint: what is compared with it is made by an ordinary user all the same"
            )
        bases = sorted({packages_.base for packages_ in chosen})
        needs = {*account.NEEDS, *install.NEEDS, *reference.NEEDS, *bootstrapped.NEEDS}
        packages.require(sorted(needs | {*makers.needs(bases)}))
        user = account.ordinary(USER)
        programs = install.environment("fidelity", install.SYSTEM_PYTHON, extra="[fast]")
        faithful = bool(options.sets) or bootstrapped.measure(user, programs)
        if not options.debootstrap:
            faithful = measure(chosen, user, programs) and faithful
        return 0 if faithful else 1
    except WorkshopError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
