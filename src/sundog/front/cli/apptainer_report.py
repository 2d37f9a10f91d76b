"""The reports of builds and conversions, in the form of Apptainer's messages."""

from __future__ import annotations

from sundog.errors import EXIT_ERROR, DockerfileError
from sundog.front.apptainer.messages import DEBUG, FATAL, INFO, VERBOSE, WARNING
from sundog.front.cli.report import Report, Transfer
from sundog.front.cli.running import run_action
from sundog.front.cli.streams import name_stdout, open_closed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.errors import SundogError
    from sundog.front.apptainer.messages import Messages

_EXIT_FAILED, _EXIT_USAGE = 255, 1
_USAGE_STATUS = 2  # of ``run_action``, which knows no other but 1


def run_reported(action: Callable[[], int], report: ApptainerReport) -> int:
    """Run what reads or changes files, under the signals' care; return the exit status."""
    open_closed()
    name_stdout()
    status = run_action(action, report, _USAGE_STATUS)
    return {EXIT_ERROR: _EXIT_FAILED, _USAGE_STATUS: _EXIT_USAGE}.get(status, status)


class ApptainerReport(Report):
    """Prints ``messages``, and draws nothing.  As ``convert.options.Progress``, too."""

    def __init__(self, messages: Messages) -> None:
        super().__init__(is_plain=True, reprints=False)
        self._messages = messages
        self._warned: set[str] = set()

    @property
    def report(self) -> ApptainerReport:
        """Return itself."""
        return self

    def stage(self, verb: str, total: int | None) -> Transfer:
        """Report that a stage of a conversion begins."""
        self.info(f"{verb} ...")
        return self.quiet_transfer("apptainer", verb, total)

    def info(self, text: str) -> None:
        """Report progress."""
        self._messages.say(INFO, text)

    def verbose(self, text: str) -> None:
        """Report details."""
        self._messages.say(VERBOSE, text)

    def debug(self, text: str) -> None:
        """Report how something is done."""
        self._messages.say(DEBUG, text)

    def warning(self, text: str) -> None:
        """Print a warning, each only once."""
        if text not in self._warned:
            self._warned.add(text)
            self._messages.say(WARNING, text)

    def error(self, error: SundogError) -> None:
        """Print the error that ends the command, with its hint."""
        message, *excerpt = error.lines() if isinstance(error, DockerfileError) else [error.message]
        self._messages.say(FATAL, message)
        for text in excerpt:
            self._messages.say(FATAL, text)
        if error.hint:
            self._messages.say(INFO, f"hint: {error.hint}")

    def fatal(self, text: str, hint: str = "") -> None:
        """Print an error that is no exception."""
        self._messages.say(FATAL, text)
        if hint:
            self._messages.say(INFO, f"hint: {hint}")
