"""From a command line of ``ch-test`` to an exit status: 0, or 1 if something failed."""

from __future__ import annotations

import os
import sys

from sundog.errors import EXIT_ERROR, EXIT_USAGE
from sundog.front.cli.outcomes import print_outcome, print_outcomes_as_json
from sundog.front.cli.output import print_line
from sundog.front.cli.selftest_arguments import SelfTestArguments, make_parser, parse
from sundog.front.cli.small_command import run_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sundog.front.cli.report import Report
    from sundog.front.doctor.outcome import Check, Outcome


def run(argv: Sequence[str]) -> int:
    """Run ``ch-test`` with these arguments; return the exit status.

    A negative status is the number of the signal that this process is to die of.
    """
    return run_command(argv, parse, make_parser, _test, EXIT_USAGE)


def _test(arguments: SelfTestArguments, _report: Report) -> int:
    from sundog.front.doctor.outcome import FAILED, attempt  # under the signals' care
    from sundog.front.doctor.place import trial_directory

    found: list[Outcome] = []
    with trial_directory(arguments.storage) as (place, first):
        for check in _checks(place, first, arguments, found):
            outcome = attempt(check)
            found.append(outcome)
            if arguments.format == "text":
                print_outcome(outcome)
                sys.stdout.flush()
    failed = sum(outcome.state == FAILED for outcome in found)
    if arguments.format == "json":
        print_outcomes_as_json(found)
    else:
        seconds = sum(outcome.seconds for outcome in found)
        print_line(f"{len(found)} checks in {seconds:.0f} s: {failed or 'none'} failed")
    return EXIT_ERROR if failed else 0


def _checks(
    place: bytes, first: Check, arguments: SelfTestArguments, found: list[Outcome]
) -> Iterator[Check]:
    """Yield the checks; ``found`` has the outcomes of those before."""
    from sundog.front.doctor.table import kernel_checks, surrounding_checks

    yield from kernel_checks()
    yield from surrounding_checks()
    yield first
    if place:
        yield from _checks_in(place, arguments, found)
    if arguments.registry is not None:
        from sundog.front.doctor.registry import registry_check

        yield registry_check(arguments.registry.partition("/")[0])


def _checks_in(place: bytes, arguments: SelfTestArguments, found: list[Outcome]) -> Iterator[Check]:
    """Yield the checks that need a directory.

    If the image can't be made, the checks that need it are left out.
    """
    from sundog.front.doctor.images import image_checks, pull_check, slurm_check
    from sundog.front.doctor.outcome import FAILED
    from sundog.front.doctor.storage import storage_checks

    for name in (b"file-system", b"images"):
        os.mkdir(os.path.join(place, name))
    yield from storage_checks(os.path.join(place, b"file-system"))
    images = os.path.join(place, b"images")
    first, *others = image_checks(images)
    yield first
    if found[-1].state != FAILED:
        yield from others
        if arguments.slurm:
            yield slurm_check(images)
    if arguments.registry is not None and "/" in arguments.registry:
        yield pull_check(images, arguments.registry)
