"""The processes of a build: ``--jobs`` and ``--keep-going``."""

from __future__ import annotations

import os

from sundog.errors import UsageError
from sundog.image.builder.options import Jobs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.front.cli.build_arguments import BuildArguments
    from sundog.front.cli.report import Report

VARIABLE = "CH_IMAGE_JOBS"
_DIGITS = 4
_ALL = 10**_DIGITS - 1


def chosen_jobs(arguments: BuildArguments, environment: Mapping[str, str], report: Report) -> Jobs:
    """Return how stages are built at the same time; raise UsageError."""
    return Jobs(job_count(arguments.jobs, environment), report, arguments.keep_going)


def job_count(text: str | None, environment: Mapping[str, str]) -> int:
    """Return the number that ``--jobs`` gives, if it is there; raise UsageError.

    By default, it is that of the processors that this process may use.
    """
    where = "--jobs"
    if text is None:
        where, text = f"${VARIABLE}", environment.get(VARIABLE) or None
    if text is None:
        return len(os.sched_getaffinity(0))
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS:
        return int(text) or _ALL
    raise UsageError(f"{where}: not a number of jobs: {text}", "as in 4; 0 is no limit")
