"""`make fuzz`: throw random input at its readers for ten minutes, shared among the targets.

``calls`` are system calls for the supervisor of ``notify`` (tests/runtime/notify/test_fuzz.py),
for one half of the time from programs that have the fast path.
``archives`` are mutated archives, manifests, indexes, configurations (tests/hostile/test_fuzz.py).
``squashfs`` are damaged SquashFS files (tests/runtime/squashfs/test_fuzz.py).
``permissions`` are calls of random users, compared with what the kernel says under real root
(tests/runtime/notify/test_permissions.py), with the fast path and without.  Only root can record
that, so others leave it out.
All run as `make test` would run them, from a seed that is printed.  The run saves an archive that
fails, and prints its path.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time

from scripts import account, install, packages
from scripts.bases import makers
from scripts.check import NEEDS, USERS, workplace
from scripts.place import WorkshopError

SECONDS = 600
TARGETS = {
    "calls": "tests/runtime/notify/test_fuzz.py",
    "archives": "tests/hostile/test_fuzz.py",
    "squashfs": "tests/runtime/squashfs/test_fuzz.py",
    "permissions": "tests/runtime/notify/test_permissions.py",
}
SECONDS_PER_SEED = 8  # of permissions: two runs as root, and three under notify


def record_permissions(directory: str, seed: int, seconds: int) -> None:
    """Record as root what the tests of permissions expect; its tests take ``seconds`` at most."""
    os.chmod(directory, 0o755)
    count = max(1, seconds // SECONDS_PER_SEED)
    record = [sys.executable, "-B", "-m", "tests.runtime.notify.record", "--into", directory]
    subprocess.run([*record, "--seeds", str(seed), str(count)], check=True)


def main() -> int:
    """Parse the command line, prepare, run; return the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m scripts.fuzz")
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--target", choices=TARGETS, help="default: all of them")
    options = parser.parse_args()
    try:
        packages.require(
            sorted({*account.NEEDS, *install.NEEDS, *NEEDS, *makers.needs(["busybox"])})
        )
        user = account.ordinary(USERS[0]) if os.geteuid() == 0 else account.current()
        python = next(iter(install.pythons().values()))
        programs = install.environment(
            f"test-{python.name}", python, groups=["test"], extra="[fast]"
        )
        makers.base("busybox")
        targets = [options.target] if options.target else list(TARGETS)
        if os.geteuid() != 0 and "permissions" in targets:
            print("permissions: left out, because only root knows the kernel's answers")
            targets.remove("permissions")
        if not targets:
            return 0
        seconds = max(1, options.seconds // len(targets))
        given = {"SUNDOG_FUZZ_SEED": str(options.seed), "SUNDOG_FUZZ_SECONDS": str(seconds)}
        print(f"seed {options.seed}, {seconds} s for each of: {', '.join(targets)}", flush=True)
        with workplace(user) as place, tempfile.TemporaryDirectory() as recorded:
            if "permissions" in targets:
                record_permissions(recorded, options.seed, seconds)
                given["SUNDOG_RECORDED"] = recorded
            command = ["python", "-m", "pytest", "-p", "no:cacheprovider", "-q", "-s"]
            passed = True
            for target in targets:
                passed &= place.run(programs, [*command, TARGETS[target]], **given)
    except WorkshopError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
