"""`make fuzz`: throw random system calls at the supervisor of ``notify``, for ten minutes.

tests/notify/test_fuzz.py, from a seed that is printed, as `make test` would run it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from scripts import account, install, packages
from scripts.bases import makers
from scripts.check import NEEDS, USERS, workplace
from scripts.place import WorkshopError

SECONDS = 600


def main() -> int:
    """Parse the command line, prepare, run; an exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m scripts.fuzz")
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--seed", type=int, default=int(time.time()))
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
        given = {"SUNDOG_FUZZ_SEED": str(options.seed), "SUNDOG_FUZZ_SECONDS": str(options.seconds)}
        print(f"seed {options.seed}, {options.seconds} s", flush=True)
        with workplace(user) as place:
            command = ["python", "-m", "pytest", "-p", "no:cacheprovider", "-q"]
            passed = place.run(programs, [*command, "tests/notify/test_fuzz.py"], **given)
    except WorkshopError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
