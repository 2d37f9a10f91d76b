"""The outcomes of checks, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict

from sundog.front.cli.output import print_json, print_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.doctor.outcome import Outcome

_STATE_WIDTH = len("not here")


def print_outcome(outcome: Outcome) -> None:
    """Print a line for an outcome, one for its hint, and one for the command that repairs it."""
    text = f"{outcome.state:<{_STATE_WIDTH}}  {outcome.name}"
    print_line(f"{text}: {outcome.detail}" if outcome.detail else text)
    indent = " " * (_STATE_WIDTH + 2)
    if outcome.advice:
        print_line(f"{indent}hint: {outcome.advice}")
    if outcome.remedy:
        print_line(f"{indent}{outcome.remedy}")


def print_failure(outcome: Outcome) -> None:
    """Print why a container is impossible."""
    print_line(f"error: {outcome.detail}")
    if outcome.errno:
        print_line(f"errno: {outcome.errno}")
    if outcome.hint:
        print_line(f"hint: {outcome.hint}")


def print_outcomes_as_json(outcomes: Sequence[Outcome]) -> None:
    """Print a list of objects with the fields of ``Outcome``."""
    print_json([asdict(outcome) for outcome in outcomes])
