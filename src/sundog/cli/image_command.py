"""From a command line of ``ch-image`` to an exit status: dispatch, errors, signals.

Exit statuses: 0; 1, it failed; 2, the command line is wrong.  Must not import what only one
subcommand needs: a start is to be fast.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from importlib import import_module

from sundog.cli.image_arguments import parse_arguments, print_help
from sundog.cli.report import Report
from sundog.cli.streams import name_stdout, open_closed, silence_stdout
from sundog.errors import EXIT_ERROR, EXIT_USAGE, KernelError, SundogError, UsageError
from sundog.kernel.libc import kernel_error
from sundog.kernel.refusal import explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from sundog.cli.image_arguments import ImageArguments


class Terminated(BaseException):
    """SIGTERM came: unwind as for ^C."""


def run(argv: Sequence[str]) -> int:
    """Run ``ch-image`` with these arguments; return the exit status."""
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
    report.level = arguments.verbose - arguments.quiet
    if report.hides_stdout:
        silence_stdout()
    signal.signal(signal.SIGTERM, _terminate)
    name_stdout()
    try:
        status = _run_subcommand(arguments, report)
    except BrokenPipeError:
        status = EXIT_ERROR
    try:
        sys.stdout.flush()
    except OSError:  # which has been told; or nobody reads any more
        silence_stdout()
        status = EXIT_ERROR
    return status


def _run_subcommand(arguments: ImageArguments, report: Report) -> int:
    if arguments.no_limits:
        from sundog.layer.limits import UNLIMITED, set_limits  # noqa: PLC0415 - seldom needed

        set_limits(UNLIMITED)
    try:
        name = str(arguments.subcommand).replace("-", "_")
        module = import_module(f"sundog.cli.image_{name}")
        status: int = module.run(arguments, report)
        sys.stdout.flush()
    except UsageError as error:
        _explain(error, arguments, report)
        return EXIT_USAGE
    except SundogError as error:
        _explain(error, arguments, report)
        return EXIT_ERROR
    except BrokenPipeError:
        raise
    except OSError as error:
        _explain(_in_words(error), arguments, report)
        return EXIT_ERROR
    except KeyboardInterrupt:
        report.fatal("interrupted (SIGINT)")
        return EXIT_ERROR
    except Terminated:
        report.fatal("terminated (SIGTERM)")
        return EXIT_ERROR
    report.finish()
    return status


def _explain(error: SundogError, arguments: ImageArguments, report: Report) -> None:
    """Print why the command failed, after the warnings that may have told it before."""
    refused = _refused(error)
    if refused is not None and not error.hint:
        error.hint = explain(refused)
    if arguments.debug:
        import traceback  # noqa: PLC0415 - for whoever asked for it

        traceback.print_exception(error)
    report.finish()
    report.error(error)


def _in_words(error: OSError) -> SundogError:
    """Return what the operating system refused as an error for the user."""
    from sundog.store.faults import reason  # noqa: PLC0415 - seldom needed

    if error.filename is None or not error.errno:
        return SundogError(error.strerror or str(error))
    path = os.path.abspath(os.fsencode(error.filename))
    worded = SundogError(f"{os.fsdecode(error.filename)}: {reason(error.errno, path)}")
    if error.errno in (errno.EACCES, errno.ENOENT):
        worded.__cause__ = error  # which part of the path it is
    return worded


def _refused(error: SundogError) -> KernelError | None:
    """Return what the kernel refused, if that is behind an error."""
    if isinstance(error, KernelError):
        return error
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno and cause.filename is not None:
        return kernel_error("open", os.fsencode(cause.filename), cause.errno)
    return None


def _terminate(number: int, frame: object) -> NoReturn:  # noqa: ARG001 - as signal(2) has it
    raise Terminated
