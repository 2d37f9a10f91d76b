"""The way of the smaller commands from a command line to an exit status."""

from __future__ import annotations

import sys

from sundog import __version__
from sundog.errors import UsageError
from sundog.front.cli.report import Report
from sundog.front.cli.running import run_action
from sundog.front.cli.streams import name_stdout, open_closed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from typing import Protocol, TypeVar

    class Arguments(Protocol):
        """The options that each command has."""

        help: bool
        version: bool

    A = TypeVar("A", bound=Arguments)


def run_command(
    argv: Sequence[str],
    parse: Callable[[Sequence[str]], A],
    make_parser: Callable[[], argparse.ArgumentParser],
    act: Callable[[A, Report], int],
    usage_status: int,
    *,
    traces: Callable[[A], bool] = lambda _: False,
) -> int:
    """Run a command with these arguments; return its exit status.

    ``act`` gets what ``parse`` returns.  So does ``traces``, which tells whether an error is to
    show a stack trace.  A wrong command line has the status ``usage_status``.  A
    negative status is the number of the signal that this process is to die of.
    """
    open_closed()
    report = Report(reprints=False)  # their few lines stay in sight
    try:
        arguments = parse(argv)
    except UsageError as error:
        report.error(error)
        return usage_status
    if arguments.help:
        sys.stdout.write(make_parser().format_help())
        sys.stdout.flush()
        return 0
    if arguments.version:
        sys.stderr.write(f"{__version__}\n")  # as the reference, and ch-run
        return 0
    name_stdout()
    debug = traces(arguments)
    return run_action(lambda: act(arguments, report), report, usage_status, debug=debug)
