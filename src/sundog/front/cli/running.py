"""Run the action of a command: its errors in words, signals, standard output.

^C and SIGTERM end a command by the signal.
"""

from __future__ import annotations

import errno
import os
import signal
import sys

from sundog.base.kernel.advice import advice
from sundog.base.kernel.libc import kernel_error, printable
from sundog.base.kernel.refusal import WANTED, explain
from sundog.errors import EXIT_ERROR, KernelError, SundogError, UsageError
from sundog.front.cli.interruption import INTERRUPTIONS, Interruption
from sundog.front.cli.streams import silence_stdout
from sundog.image.store.advice import ADVICE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.front.cli.report import Report

# The errors of the operating system that refusal.py can explain.
_EXPLAINED = frozenset({*WANTED, errno.EACCES, errno.ENOENT, errno.EXDEV})


def run_action(
    action: Callable[[], int], report: Report, usage_status: int, *, debug: bool = False
) -> int:
    """Run ``action``, which returns an exit status; return the status of the command.

    A negative status is the number of the signal that this process is to die of.  With ``debug``,
    errors have a stack trace.
    """
    interruption = Interruption(report.end_display)
    # Nobody can wait for the children of a process that ignores this signal.
    ignored = signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ADVICE.listener = report.warning
    try:
        status = _reported(action, report, interruption, usage_status, debug=debug)
    except BrokenPipeError:
        status = EXIT_ERROR
    ADVICE.listener = None
    if ignored:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
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


def _reported(
    action: Callable[[], int],
    report: Report,
    interruption: Interruption,
    usage_status: int,
    *,
    debug: bool,
) -> int:
    try:
        with interruption:  # outside of it, a signal just kills: nothing needs cleaning up
            status = action()
            sys.stdout.flush()
    except UsageError as error:
        _explain(error, report, debug=debug)
        return usage_status
    except SundogError as error:
        _explain(error, report, debug=debug)
        return EXIT_ERROR
    except BrokenPipeError:
        raise
    except OSError as error:
        _explain(_in_words(error), report, debug=debug)
        return EXIT_ERROR
    except INTERRUPTIONS:
        return EXIT_ERROR
    except ModuleNotFoundError as error:
        lacking = SundogError(
            f"this installation lacks the Python package {error.name}",
            "install Sundog again with all that it needs; no command reads $PYTHONPATH",
        )
        _explain(lacking, report, debug=debug)
        return EXIT_ERROR
    except Exception as error:
        report.trace(error)
        report.fatal(f"please report this bug: {type(error).__name__}: {error}")
        return EXIT_ERROR
    report.finish()
    return status


def _explain(error: SundogError, report: Report, *, debug: bool) -> None:
    """Print the warnings again, then the error."""
    error.hint = advice(error)
    if not error.hint and (cause := _refused_file(error)) is not None:
        error.hint = explain(cause)
    if debug:
        report.trace(error)
    report.finish()
    report.error(error)


def _in_words(error: OSError) -> SundogError:
    """Turn an error of the operating system into one for the user."""
    from sundog.image.store.faults import names_in, reason  # noqa: PLC0415 - seldom needed

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


def _refused_file(error: SundogError) -> KernelError | None:
    """Return the refusal of a file or a process that caused an error, None if none did."""
    cause = error.__cause__
    if not isinstance(cause, OSError) or not cause.errno:
        return None
    from sundog.image.store.faults import names_in  # noqa: PLC0415 - seldom needed

    if names := names_in(cause):
        return kernel_error("open", names[-1], cause.errno)
    return kernel_error("fork", b"", cause.errno) if cause.errno in WANTED else None
