"""Run the action of a command: its errors in words, signals, standard output.

^C and SIGTERM end a command by the signal.
"""

from __future__ import annotations

import signal
import sys

from sundog.base.kernel.advice import explained, in_words
from sundog.errors import EXIT_ERROR, SundogError, UsageError
from sundog.front.cli.streams import silence_stdout
from sundog.image.store.advice import ADVICE
from sundog.runtime.process.interruption import INTERRUPTIONS, Interruption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.front.cli.report import Report


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
    except BrokenPipeError:
        raise
    except (SundogError, OSError) as error:
        _explain(error, report, debug=debug)
        return usage_status if isinstance(error, UsageError) else EXIT_ERROR
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
        report.fatal(in_words(error).message)
        return EXIT_ERROR
    report.finish()
    return status


def _explain(error: SundogError | OSError, report: Report, *, debug: bool) -> None:
    """Print the warnings again, then the error."""
    if debug:
        report.trace(error)
    report.finish()
    report.error(explained(error))
