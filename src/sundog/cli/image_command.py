"""From a command line of ``ch-image`` to an exit status: dispatch, errors, signals.

Exit statuses: 0; 1, it failed; 2, the command line is wrong.  ^C and SIGTERM end it by the signal.
"""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module

from sundog.cli.image_arguments import parse_arguments, print_help
from sundog.cli.interruption import INTERRUPTIONS, Interruption
from sundog.cli.report import Report
from sundog.cli.streams import name_stdout, open_closed, silence_stdout
from sundog.errors import EXIT_ERROR, EXIT_USAGE, KernelError, SundogError, UsageError
from sundog.kernel.libc import kernel_error, printable
from sundog.kernel.refusal import WANTED, explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.cli.image_arguments import ImageArguments


# The errors of the operating system that refusal.py can explain.
_EXPLAINED = frozenset({*WANTED, errno.EACCES, errno.ENOENT, errno.EXDEV})


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
    report.level = arguments.verbose - arguments.quiet
    if report.hides_stdout:
        silence_stdout()
    name_stdout()
    interruption = Interruption(report.end_display)
    try:
        status = _run_subcommand(arguments, report, interruption)
    except BrokenPipeError:
        status = EXIT_ERROR
    if interruption.number:
        report.end_display()
        report.fatal(interruption.text)
        status = -interruption.number
    try:
        sys.stdout.flush()
    except OSError:  # the user knows already, or nobody reads any more
        silence_stdout()
        status = status if status < 0 else EXIT_ERROR
    return status


def _run_subcommand(arguments: ImageArguments, report: Report, interruption: Interruption) -> int:
    if arguments.no_limits:
        from sundog.layer.limits import UNLIMITED, set_limits  # noqa: PLC0415 - seldom needed

        set_limits(UNLIMITED)
    try:
        name = str(arguments.subcommand).replace("-", "_")
        module = import_module(f"sundog.cli.image_{name}")
        with interruption:  # outside of it, a signal just kills: nothing needs cleaning up
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
    except INTERRUPTIONS:
        return EXIT_ERROR
    except Exception as error:
        report.trace(error)
        report.fatal(f"please report this bug: {type(error).__name__}: {error}")
        return EXIT_ERROR
    report.finish()
    return status


def _explain(error: SundogError, arguments: ImageArguments, report: Report) -> None:
    """Print the warnings again, then the error."""
    refused = _refused(error)
    if refused is not None and not error.hint:
        error.hint = explain(refused)
    if arguments.debug:
        report.trace(error)
    report.finish()
    report.error(error)


def _in_words(error: OSError) -> SundogError:
    """Turn an error of the operating system into one for the user."""
    from sundog.store.faults import names_in, reason  # noqa: PLC0415 - seldom needed

    if not error.errno:
        return SundogError(str(error))
    names = names_in(error)
    if not names:
        worded = SundogError(WANTED.get(error.errno, "") + os.strerror(error.errno))
    else:
        said = " to ".join(map(printable, names))
        worded = SundogError(f"{said}: {reason(error.errno, os.path.abspath(names[-1]))}")
    if error.errno in _EXPLAINED:
        worded.__cause__ = error
    return worded


def _refused(error: SundogError) -> KernelError | None:
    """Return the kernel's refusal that caused an error, None if there is none."""
    if isinstance(error, KernelError):
        return error
    cause = error.__cause__
    if not isinstance(cause, OSError) or not cause.errno:
        return None
    from sundog.store.faults import names_in  # noqa: PLC0415 - seldom needed

    if names := names_in(cause):
        return kernel_error("open", names[-1], cause.errno)
    return kernel_error("fork", b"", cause.errno) if cause.errno in WANTED else None
