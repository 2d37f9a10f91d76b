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
_ALL = 10**_DIGITS


def chosen_jobs(arguments: BuildArguments, environment: Mapping[str, str], report: Report) -> Jobs:
    """Return the number of stages to build at the same time; raise UsageError.

    By default, it is that of the processors that this process may use.
    """
    where, text = "--jobs", arguments.jobs
    if text is None:
        where, text = f"${VARIABLE}", environment.get(VARIABLE) or None
    if text is None:
        count = len(os.sched_getaffinity(0))
    elif text.isascii() and text.isdigit() and len(text) <= _DIGITS:
        count = int(text) or _ALL
    else:
        raise UsageError(f"{where}: not a number of jobs: {text}", "as in 4; 0 is no limit")
    return Jobs(count, report, arguments.keep_going)
