"""From a command line of ``ch-checkns`` to an exit status: 0, or 31 if it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sundog.cli.checkns_arguments import CheckArguments, make_parser, parse
from sundog.cli.outcomes import print_failure, print_outcome, print_outcomes_as_json
from sundog.cli.output import print_line
from sundog.cli.small_command import run_command
from sundog.errors import EXIT_RUN, EXIT_USAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sundog.cli.report import Report
    from sundog.doctor.outcome import Check


def run(argv: Sequence[str]) -> int:
    """Run ``ch-checkns`` with these arguments; return the exit status.

    A negative status is the number of the signal that this process is to die of.
    """
    return run_command(argv, parse, make_parser, _check, EXIT_USAGE)


def _check(arguments: CheckArguments, _report: Report) -> int:
    from sundog.doctor.namespaces import STEPS  # noqa: PLC0415 - under the signals' care

    if arguments.all:
        from sundog.doctor.place import trial_directory  # noqa: PLC0415

        with trial_directory(arguments.storage) as (place, first):
            return _make(_all_checks(place, first), arguments, stops=False)
    return _make(iter(STEPS), arguments, stops=True)


def _all_checks(place: bytes, first: Check) -> Iterator[Check]:
    from sundog.doctor.features import FEATURES  # noqa: PLC0415
    from sundog.doctor.host import HOST  # noqa: PLC0415
    from sundog.doctor.namespaces import ROOT_EMULATION, STEPS  # noqa: PLC0415
    from sundog.doctor.storage import storage_checks  # noqa: PLC0415

    yield from STEPS
    yield from ROOT_EMULATION
    yield from FEATURES
    yield first
    if place:
        yield from storage_checks(place)
    yield from HOST


def _make(checks: Iterator[Check], arguments: CheckArguments, *, stops: bool) -> int:
    """Make the checks, print their outcomes, and return the exit status.

    With ``stops``, the first that fails is the last: it explains the others.
    """
    from sundog.doctor.outcome import FAILED, attempt  # noqa: PLC0415

    shows_each = (arguments.all or arguments.verbose) and not arguments.json
    found = []
    status = 0
    for check in checks:
        outcome = attempt(check)
        found.append(outcome)
        if shows_each:
            print_outcome(outcome)
        if outcome.state == FAILED and check.is_required:
            status = EXIT_RUN
            if stops:
                break
    if arguments.json:
        print_outcomes_as_json(found)
    elif status and not shows_each:
        print_failure(found[-1])
    elif not status:
        print_line("ok")
    return status
