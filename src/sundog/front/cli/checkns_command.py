"""From a command line of ``ch-checkns`` to an exit status: 0, 1 or 31."""

from __future__ import annotations

import os
import sys

from sundog.errors import EXIT_ERROR, EXIT_RUN, EXIT_USAGE
from sundog.front.cli.checkns_arguments import CheckArguments, make_parser, parse
from sundog.front.cli.outcomes import print_failure, print_outcome, print_outcomes_as_json
from sundog.front.cli.output import print_bytes, print_line
from sundog.front.cli.small_command import run_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sundog.front.cli.report import Report
    from sundog.front.doctor.outcome import Check, Outcome


def run(argv: Sequence[str]) -> int:
    """Run ``ch-checkns`` with these arguments; return the exit status.

    A negative status is the number of the signal that this process is to die of.
    """
    return run_command(argv, parse, make_parser, _check, EXIT_USAGE)


def _check(arguments: CheckArguments, _report: Report) -> int:
    from sundog.front.doctor.namespaces import STEPS  # under the signals' care

    if arguments.apparmor_profile:
        from sundog.front.doctor.apparmor import profile

        print_bytes(os.fsencode(profile().rstrip("\n")))
        return 0
    if arguments.all:
        from sundog.front.doctor.place import trial_directory

        with trial_directory(arguments.storage) as (place, first):
            return _make(_all_checks(place, first, arguments), arguments, stops=False)
    return _make(iter(STEPS), arguments, stops=True)


def _all_checks(place: bytes, first: Check, arguments: CheckArguments) -> Iterator[Check]:
    from sundog.front.doctor.registry import registry_checks
    from sundog.front.doctor.storage import storage_checks
    from sundog.front.doctor.table import kernel_checks, surrounding_checks

    yield from kernel_checks()
    yield first
    if place:
        yield from storage_checks(place)
    yield from surrounding_checks()
    yield from registry_checks(arguments.registry, os.environ)


def _make(checks: Iterator[Check], arguments: CheckArguments, *, stops: bool) -> int:
    """Make the checks, print their outcomes, and return the exit status.

    With ``stops``, the first that fails is the last: it explains the others.
    """
    from sundog.front.doctor.outcome import FAILED, attempt

    shows_each = (arguments.all or arguments.verbose) and not arguments.json
    found: list[Outcome] = []
    status = 0
    for check in checks:
        outcome = attempt(check)
        found.append(outcome)
        if shows_each:
            print_outcome(outcome)
            sys.stdout.flush()
        if outcome.state == FAILED:
            status = max(status, EXIT_RUN if check.is_required else EXIT_ERROR)
            if stops:
                break
    if arguments.json:
        print_outcomes_as_json(found)
    elif status and not shows_each:
        print_failure(found[-1])
    elif not status:
        print_line("ok")
    elif arguments.all:
        print_line(f"{sum(outcome.state == FAILED for outcome in found)} failed")
    return status
