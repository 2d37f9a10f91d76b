"""debootstrap(8) into a directory, as real root and as an ordinary user under sundog-fakeroot."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import account
from scripts.bases.bootstrap import SUITE, mirror
from scripts.fidelity import entries
from scripts.fidelity.compare import Verdict, compare
from scripts.place import WorkshopError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.fidelity.entries import View

NEEDS = ("debootstrap", "tar")


def debootstrap(maker: account.Account, programs: Path, prefix: Sequence[str] = ()) -> View:
    """Make a userland as ``maker`` in a directory of its own, and return what a tar of it has.

    Both commands, debootstrap and tar, start with the words ``prefix``.  Raises WorkshopError.
    """
    place = Path(tempfile.mkdtemp(prefix="sundog-debootstrap.", dir="/var/tmp"))
    try:
        place.chmod(0o755)
        os.chown(place, maker.uid, maker.gid)
        environment = account.environment(maker, programs)
        packed = ("tar", "-C", "tree", "--numeric-owner", "--xattrs", "-cf", "tree.tar", ".")
        for command in (
            ("debootstrap", "--variant=minbase", SUITE, "tree", mirror()),
            packed,
        ):
            with (place / "log").open("w+", errors="replace") as log:
                argv = [*prefix, *command]
                status = account.run(maker, argv, env=environment, cwd=place, output=log)
                if status:
                    log.seek(0)
                    tail = "\n".join(log.read().splitlines()[-20:])
                    raise WorkshopError(f"{' '.join(argv)}: exit status {status}\n{tail}")
        return entries.of_layers([place / "tree.tar"], everything=True)[0]
    finally:
        shutil.rmtree(place, ignore_errors=True)


def measure(user: account.Account, programs: Path) -> bool:
    """Print a row and the differences; tell whether there are none."""
    started = time.monotonic()
    state = ("sundog-fakeroot", "-s", "state", "-i", "state", "--")
    real = debootstrap(account.current(), programs)
    compared, found = compare("tar", real, debootstrap(user, programs, state), frozenset())
    verdict = Verdict(compared, {"tar": found})
    seconds = time.monotonic() - started
    print(f"debootstrap, sundog-fakeroot: {compared} paths, {verdict} differ, {seconds:.0f} s")
    print("".join(f"  {line}\n" for line in verdict.lines(40)), end="", flush=True)
    return not found
