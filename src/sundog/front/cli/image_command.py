"""From a command line of ``ch-image`` to an exit status.

Exit statuses: 0; 1, it failed; 2, the command line is wrong.  ^C and SIGTERM end it by the signal.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from sundog.errors import EXIT_ERROR, EXIT_USAGE, UsageError
from sundog.front.cli.build_arguments import (
    PROGRESS_AUTO,
    PROGRESS_JSON,
    PROGRESS_QUIET,
    BuildArguments,
    RunArguments,
)
from sundog.front.cli.image_arguments import parse_arguments, print_help
from sundog.front.cli.image_subcommands import SaveArguments
from sundog.front.cli.logged import logged
from sundog.front.cli.reference_options import notes, notes_on_variables
from sundog.front.cli.report import ERRORS_ONLY, Report
from sundog.front.cli.running import run_action
from sundog.front.cli.streams import name_stdout, open_closed, silence_stdout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.front.cli.common_arguments import ImageArguments


def run(argv: Sequence[str]) -> int:
    """Run ``ch-image`` with these arguments; return the exit status.

    A negative status is the number of the signal that this process is to die of.
    """
    open_closed()
    report = Report()
    if not argv:
        print_help(sys.stderr)
        return EXIT_ERROR
    try:
        arguments = parse_arguments(argv)
    except UsageError as error:
        report.error(error)
        return EXIT_USAGE
    if arguments.dependencies:
        from sundog.front.cli.developer import print_missing

        return run_action(print_missing, report, EXIT_USAGE)
    report = _chosen_report(arguments)
    try:
        report.open_log(os.environ.get("CH_LOG_FILE", ""))
    except UsageError as error:
        report.error(error)
        return EXIT_USAGE
    try:
        _prepare_output(report, silences=not _writes_archive(arguments))
    except UsageError as error:
        report.error(error)
        return EXIT_USAGE
    if arguments.no_limits:
        from sundog.image.layer.limits import UNLIMITED, set_limits

        set_limits(UNLIMITED)
    for line in notes(arguments):
        report.info(line)
    for line in notes_on_variables(os.environ):
        report.verbose(line)

    def subcommand() -> int:
        name = arguments.subcommand.replace("-", "_")
        status: int = import_module(f"sundog.front.cli.image_{name}").run(arguments, report)
        return status

    debug = arguments.debug or bool(os.environ.get("CH_IMAGE_DEBUG"))
    action: Callable[[], int] = subcommand
    if arguments.break_at is not None or arguments.profile:
        from sundog.front.cli.developer import observed

        try:
            action = observed(action, arguments.break_at, profiles=arguments.profile)
        except UsageError as error:
            report.error(error)
            return EXIT_USAGE
    return logged(arguments, lambda: run_action(action, report, EXIT_USAGE, debug=debug))


def _writes_archive(arguments: ImageArguments) -> bool:
    """Tell whether standard output is to be an archive, which no option silences."""
    if isinstance(arguments, SaveArguments):
        return arguments.output == "-"
    if not isinstance(arguments, BuildArguments) or not arguments.output:
        return False
    from sundog.front.cli.build_outputs import chosen_outputs  # seldom needed

    return any(output.is_stream for output in chosen_outputs(arguments.output))


def _prepare_output(report: Report, *, silences: bool) -> None:
    """Prepare standard output and the terminal for ``report``, whose log is open."""
    report.level = report.level or int(report.has_log)
    if report.hides_stdout and silences:
        silence_stdout()
    name_stdout()
    if report.draws:
        from sundog.runtime.process.watch import WATCH  # for terminals only

        WATCH.start()


def _chosen_report(arguments: ImageArguments) -> Report:
    """Return what shows the messages, as -v, -q and --progress say."""
    level = arguments.verbose - arguments.quiet
    progress = arguments.progress if isinstance(arguments, RunArguments) else PROGRESS_AUTO
    if progress == PROGRESS_QUIET:
        return Report(ERRORS_ONLY)
    if progress == PROGRESS_JSON:
        from sundog.front.cli.json_progress import JsonReport  # seldom needed

        return JsonReport(level)
    return Report(level, is_plain=progress == "plain")
