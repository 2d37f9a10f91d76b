"""`make fidelity-programs`: run all rows on both sides, and compare; status 1 if one differs."""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import account, install, packages
from scripts.bases import makers
from scripts.place import WorkshopError
from scripts.programs import images, page, real
from scripts.programs.compare import Kind, Verdict, judge, worst
from scripts.programs.emulated import FAST_PATH, WAYS, Runner
from scripts.programs.rows import all_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.programs.rows import Row

WORKERS = 2
SHOWN = 30  # lines that differ, shown for each row
# The line of a row: number, name, kind, seconds.
LINE = re.compile(r"^ *\d+/\d+ (\S+) +(\S.*?) +[\d.]+ s$", re.MULTILINE)


def chosen(rows: Sequence[Row], names: Sequence[str], *, long: bool) -> list[Row]:
    """Return the rows of the named families, or of these names; the slow ones first."""
    if names:
        rows = [row for row in rows if row.family in names or str(row) in names]
    else:
        rows = [row for row in rows if long or not row.is_long]
    return sorted(rows, key=lambda row: -int(row.options["seconds"]))


def earlier(output: str, rows: Sequence[Row]) -> list[Verdict]:
    """Return the verdicts of ``rows`` by the ``output`` of a run, but for those to run again.

    Rows that differed or failed have none, nor have those that came later.
    """
    found = {match[1]: match[2] for match in LINE.finditer(output)}
    kinds = {kind.value: kind for kind in (Kind.EQUAL, Kind.DOCUMENTED)}
    return [
        Verdict(row, kinds[found[name]]) for row in rows if found.get(name := str(row)) in kinds
    ]


def measure(rows: Sequence[Row], runner: Runner, ways: Sequence[str]) -> list[Verdict]:
    """Run the rows, print a line for each, and return the verdicts.

    ``ways`` are those with and without the fast path.  The verdict is that of the worst one.
    """
    made = {name: images.make(name) for name in sorted({row.options["image"] for row in rows})}
    for image in made.values():
        runner.have(image)

    def one(row: Row) -> tuple[Verdict, float]:
        image = made[row.options["image"]]
        as_root = real.run(row, image)
        started = time.monotonic()
        verdicts = [judge(row, as_root, runner.on(way).run(row, image), way) for way in ways]
        return worst(verdicts), time.monotonic() - started

    verdicts = []
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        jobs = [pool.submit(one, row) for row in rows]
        for number, job in enumerate(concurrent.futures.as_completed(jobs), 1):
            verdict, seconds = job.result()
            verdicts.append(verdict)
            name, kind = str(verdict.row), verdict.kind.value
            print(f"{number:3}/{len(rows)} {name:40} {kind:20} {seconds:5.1f} s", flush=True)
            if verdict.kind is not Kind.EQUAL:
                print(f"      {FAST_PATH}={verdict.way}")
                lines = verdict.lines[:SHOWN]
                lines += (f"and {len(verdict.lines) - SHOWN} more",) * (len(verdict.lines) > SHOWN)
                print("".join(f"      {line}\n" for line in lines), end="", flush=True)
    return verdicts


def main() -> int:
    """Parse the command line, prepare, measure; return the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m scripts.programs")
    parser.add_argument("--long", action="store_true", help="with the rows that take minutes")
    parser.add_argument("--storage", type=Path, help="a directory to keep the images imported in")
    parser.add_argument(
        "--fast-path", choices=WAYS, help="programs have it, or not; default: both ways"
    )
    parser.add_argument(
        "--after",
        type=Path,
        metavar="FILE",
        help="the output of a whole run: run again what was not equal there, and what is named",
    )
    parser.add_argument("rows", nargs="*", help="families, or rows as FAMILY/NAME")
    options = parser.parse_args()
    rows = chosen(all_rows(), options.rows, long=options.long)
    if not rows:
        parser.error("no such rows")
    kept: list[Verdict] = []
    if options.after:
        named, rows = rows if options.rows else [], chosen(all_rows(), [], long=options.long)
        kept = earlier(options.after.read_text(), [row for row in rows if row not in named])
        rows = [row for row in rows if row not in [verdict.row for verdict in kept]]
    try:
        if os.geteuid() != 0:
            raise WorkshopError(
                "only root can run the rows as real root: run this as root\n"
                "hint: the other side of each row is run by an ordinary user all the same"
            )
        os.setpriority(os.PRIO_PROCESS, 0, 0)  # rows tell it, and real root's results are kept
        bases = sorted({images.BASES[row.options["image"]] for row in rows})
        needs = {*account.NEEDS, *install.NEEDS, *images.NEEDS, *makers.needs(bases)}
        packages.require(sorted(needs))
        place = options.storage or Path(tempfile.mkdtemp(prefix="sundog-rows.", dir="/var/tmp"))
        try:
            ways = [options.fast_path] if options.fast_path else WAYS
            verdicts = [*kept, *measure(rows, Runner.make(place), ways)]
        finally:
            if not options.storage:
                shutil.rmtree(place, ignore_errors=True)
    except WorkshopError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    counts = Counter(verdict.kind for verdict in verdicts)
    print(", ".join(f"{kind.value}: {counts[kind]}" for kind in Kind))
    if (options.after or not options.rows) and not options.fast_path:
        order = [str(row) for row in all_rows()]
        verdicts.sort(key=lambda verdict: order.index(str(verdict.row)))
        page.write(verdicts, again=len(rows) if kept else 0, is_long=options.long)
    return 1 if counts[Kind.DIFFERS] else 0


if __name__ == "__main__":
    sys.exit(main())
