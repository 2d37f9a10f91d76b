"""`make conformance`: build all of tests/image/dockerfiles, and compare with buildah's images."""

from __future__ import annotations

import argparse
import os
import sys
import time

from scripts import account, check, install, packages
from scripts.bases import makers
from scripts.conformance import peer
from scripts.conformance.cases import cases
from scripts.place import WorkshopError


def main() -> int:
    """Prepare as root, build and compare as the user; return the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m scripts.conformance")
    parser.add_argument("names", nargs="*", help="some of tests/image/dockerfiles (default: all)")
    names = parser.parse_args().names
    table = {case.name: case for case in cases()}
    if unknown := set(names) - set(table):
        parser.error(f"no such Dockerfile: {', '.join(unknown)}")
    chosen = [table[name] for name in names] or list(table.values())
    try:
        if os.geteuid() != 0:
            raise WorkshopError("only root can make what real root makes: run this as root")
        bases = sorted({case.base for case in chosen})
        needs = {*account.NEEDS, *install.NEEDS, *peer.NEEDS, *makers.needs(bases)}
        packages.require(sorted(needs))
        for case in chosen:
            started = time.monotonic()
            if case.peer:
                peer.reference(case)
                seconds = time.monotonic() - started
                print(f"== buildah made {case.name}  [{seconds:.0f} s]", flush=True)
        user = account.ordinary(check.USERS[0])
        python, *_ = install.pythons().values()
        name = f"test-{python.name}"
        programs = install.environment(name, python, groups=["test"], extra="[fast]")
        with check.workplace(user) as place:
            pytest = ["python", "-m", "pytest", "-p", "no:cacheprovider", "-v", "--durations=0"]
            tests = [*pytest, "-n", str(os.cpu_count()), "tests/image/dockerfiles"]
            wanted = ["-k", " or ".join(f"[{case.name}]" for case in chosen)] if names else []
            passed = place.run(programs, [*tests, *wanted], **_variables("4"))
            several = [f"dockerfile[{case.name}]" for case in chosen if case.stages > 1]
            if several:
                again = [*tests, "-k", " or ".join(several)]
                passed = place.run(programs, again, **_variables("1")) and passed
    except WorkshopError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0 if passed else 1


def _variables(jobs: str) -> dict[str, str]:
    """Return the variables of a run; ``jobs`` is the number of stages at a time."""
    return {"SUNDOG_CONFORMANCE": "all", "CH_IMAGE_JOBS": jobs}


if __name__ == "__main__":
    sys.exit(main())
