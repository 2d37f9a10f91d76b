"""Messages of the commands: on standard error, in levels, with colours on a terminal.

Levels and prefixes are Charliecloud's.  -v and -vv tell more.  -q leaves out all but warnings and
errors.  -qq leaves out warnings as well, and the standard output of RUN.  -qqq leaves out the
standard error of RUN as well.  Errors are always printed.

$CH_LOG_FILE gets the messages instead of standard error; errors are on both.  $CH_LOG_FESTOON
puts the process and the time before each message.

A message is one line.  This module escapes what a terminal would obey, so no caller has to.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager

from sundog.base.kernel.libc import decode_text, escaped
from sundog.errors import SundogError, UsageError
from sundog.front.cli.output import TAB, human_size
from sundog.runtime.process.watch import WATCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TextIO

    from sundog.front.cli.running_lines import RunningLines
    from sundog.front.cli.transfers import Display
    from sundog.image.builder.report import Announcement, Message, Send
    from sundog.runtime.process.relay import OutputSink

_DEBUG, _VERBOSE, _INFO, _WARNING = 2, 1, 0, -1
_NO_STDOUT, _NO_STDERR = -2, -3
ERRORS_ONLY = _NO_STDERR

_COLOURS = {
    _DEBUG: "38;5;6",
    _VERBOSE: "38;5;14",
    _INFO: "33",
    _WARNING: "31",
}
# Children that moved fewer bytes leave no line.
_WORTH_A_LINE = 1 << 20
_ERROR_COLOUR = "1;31"
_ON_BOTH = ("", _ERROR_COLOUR)  # errors and their traces are on standard error in any case


def _own_hints() -> Sequence[str]:
    """Return the site's own line below errors, if there is one."""
    from sundog.base.configuration.holding import read_configuration  # for errors only
    from sundog.base.configuration.keys import SITE_HINT

    try:
        return [decode_text(value) for value in read_configuration(os.environb).values(SITE_HINT)]
    except SundogError:  # perhaps it is the error
        return ()


class Report:
    """Prints messages at or below ``level``: -v raises it by one, -q lowers it.

    If ``is_plain``, it draws nothing on a terminal.  ``reprints``: warnings come again at the end.
    """

    def __init__(
        self,
        level: int = _INFO,
        stream: TextIO | None = None,
        *,
        is_plain: bool = False,
        reprints: bool = True,
    ) -> None:
        self.level = level
        self._reprints = reprints
        self._is_plain = is_plain
        self._stream = stream if stream is not None else sys.stderr
        plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        self._coloured = not plain and self._stream.isatty()
        self._warnings: list[str] = []
        self._lock = threading.RLock()  # transfers report from their own threads
        self._display: Display | None = None
        self._file: TextIO | None = None
        self._send: Send | None = None
        self._running: RunningLines | None = None
        self._festoons = bool(os.environ.get("CH_LOG_FESTOON"))

    def open_log(self, path: str) -> None:
        """Append the messages to a file from now on, if a path is given; raise UsageError."""
        if not path:
            return
        try:
            self._file = open(path, "a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        except OSError as error:
            raise UsageError(f"$CH_LOG_FILE: can't write {path}: {error.strerror}") from error

    @property
    def has_log(self) -> bool:
        """Tell whether a file gets the messages."""
        return self._file is not None

    @property
    def output_sink(self) -> OutputSink | None:
        """The object that takes the output of RUN; None: the user's own standard output."""
        return None

    @property
    def is_ordered(self) -> bool:
        """Return True: people read the messages of one stage after those of another."""
        return True

    def divert(self, send: Send | None) -> None:
        """Give all messages to ``send`` from now on; None: report them."""
        with self._lock:
            self._send = send

    def replay(self, message: Message) -> None:
        """Report what a diverted report gave away, even if this one is diverted."""
        with self._lock:
            send, self._send = self._send, None
            try:
                self._replay(message)
            finally:
                self._send = send

    def _replay(self, message: Message) -> None:
        from sundog.image.builder.report import Announcement  # for builds only

        match message:
            case ("begin", int(line), str(status), str(text), int(stage), str(place), tuple(needs)):
                self.begin(Announcement(line, status, text, stage, place, needs))
            case ("warning", str(text)):
                self.warning(text)
            case ("withdraw", str(text)):
                self.withdraw(text)
            case ("info", str(text)):
                self.info(text)
            case ("note", str(text)):
                self.note(text)
            case ("write", str(colour), *lines):
                self._write(colour, *map(str, lines))

    def _diverted(self, *message: object) -> bool:
        """Give a message away if messages are given away; tell whether they are."""
        with self._lock:
            if self._send is None:
                return False
            self._send(message)
            return True

    def begin(self, announcement: Announcement) -> None:
        """Report that an instruction of a build begins."""
        if not self._diverted("begin", *announcement.fields()):
            self.info(str(announcement))

    def end(self, error: str = "") -> None:
        """Take note that an instruction has ended."""
        self._diverted("end", error)

    def debug(self, text: str) -> None:
        """Report how something is done (-vv)."""
        self._print(_DEBUG, text)

    def verbose(self, text: str) -> None:
        """Report details (-v)."""
        self._print(_VERBOSE, text)

    def info(self, text: str) -> None:
        """Report progress."""
        self._print(_INFO, text)

    def warning(self, text: str) -> None:
        """Print a warning, each only once; ``finish`` repeats it."""
        if not self._diverted("warning", text) and text not in self._warnings:
            self._warnings.append(text)
            self._print(_WARNING, f"warning: {text}")

    def withdraw(self, warning: str) -> None:
        """Do not repeat a warning."""
        if not self._diverted("withdraw", warning) and warning in self._warnings:
            self._warnings.remove(warning)

    def finish(self) -> None:
        """Print all warnings again, because they may have scrolled out of sight."""
        if self._warnings and self._reprints:
            self._print(_WARNING, f"warning: reprinting {len(self._warnings)} warning(s)")
            for text in self._warnings:
                self._print(_WARNING, f"warning: {text}")

    def error(self, error: SundogError) -> None:
        """Print the error that ends the command, with its hint."""
        message, *excerpt = error.lines()
        self._fail(message, excerpt, error.hint)

    def trace(self, error: BaseException) -> None:
        """Print the stack trace of an error."""
        import traceback

        text = "".join(traceback.format_exception(error))
        self._write("", *text.rstrip("\n").split("\n"))

    def fatal(self, text: str, hint: str = "") -> None:
        """Print an error that is no exception."""
        self._fail(text, [], hint)

    def _fail(self, text: str, excerpt: Sequence[str], hint: str) -> None:
        with self._lock:  # no other thread comes between the two
            self._write(_ERROR_COLOUR, f"error: {text}", *excerpt)
            for each in (hint, *_own_hints()):
                if each:
                    self._write(_ERROR_COLOUR, f"hint: {each}")

    def transfer(self, label: str, verb: str, total: int | None) -> Transfer:
        """Report that a transfer of ``total`` bytes begins; on a terminal, show its progress."""
        if not self.draws:
            self.info(f"{label}: {verb}")
        return self.quiet_transfer(label, verb, total)

    def quiet_transfer(self, label: str, verb: str, total: int | None) -> Transfer:
        """Show a transfer on a terminal; elsewhere print nothing."""
        if not self.draws:
            return Transfer()
        with self._lock:
            return self._drawn(escaped(f"{label}: {verb}"), total)

    def _drawn(self, text: str, total: int | None, least: int = 1) -> _DrawnTransfer:
        if self._display is None:
            from sundog.front.cli.transfers import Display  # on a terminal only

            self._display = Display(self._stream)
        return _DrawnTransfer(self, self._display, text, total, least)

    @contextmanager
    def watched(self, text: str, total: int | None = None) -> Iterator[None]:
        """Show on a terminal how many bytes child processes move in the context, then keep a line.

        Elsewhere this prints nothing.
        """
        if not self.draws:
            yield
            return
        with self._lock:
            transfer = self._drawn(escaped(text), total, _WORTH_A_LINE)
        shown = 0

        def show(count: int) -> None:
            nonlocal shown
            transfer.advance(count - shown)
            shown = count

        try:
            with WATCH.shown(show):
                yield
            if shown and total is not None:
                show(total)
        except BaseException:
            transfer.give_up()
            raise
        transfer.end()

    def note(self, text: str) -> None:
        """Report progress on a terminal only."""
        if not self._diverted("note", text) and self.draws:
            self.info(text)

    def show_running(self, lines: Sequence[str]) -> None:
        """Draw lines at the bottom of the terminal, in place of those that are there."""
        with self._lock:
            if self._running is None:
                if not lines:
                    return
                from sundog.front.cli.running_lines import RunningLines  # on a terminal only

                self._running = RunningLines(self._stream)
            self._running.show(lines)

    def end_display(self) -> None:
        """Remove the drawing from the terminal, and show the cursor again."""
        self.show_running(())
        with self._lock:
            if self._display is not None and self._display.is_up:
                self._display.close()

    @property
    def draws(self) -> bool:
        """Tell whether the progress of transfers is drawn."""
        return (
            self.level >= _INFO
            and not self._is_plain
            and self._file is None
            and self._send is None
            and self._stream.isatty()
            and os.environ.get("TERM", "") not in ("", "dumb")
        )

    @property
    def is_verbose(self) -> bool:
        """Tell whether details are printed."""
        return self.level >= _VERBOSE

    @property
    def hides_stdout(self) -> bool:
        """Tell whether the standard output of RUN is hidden."""
        return self.level <= _NO_STDOUT

    @property
    def hides_stderr(self) -> bool:
        """Tell whether the standard error of RUN is hidden."""
        return self.level <= _NO_STDERR

    def _print(self, level: int, text: str) -> None:
        if self.level >= level:
            self._write(_COLOURS[level], text)

    def _write(self, colour: str, message: str, *excerpt: str) -> None:
        """Print a message of one line, and the text that goes below it."""
        if self._diverted("write", colour, message, *excerpt):
            return
        text = "\n".join([escaped(message), *(escaped(line, TAB) for line in excerpt)])
        if self._festoons:
            text = f"{os.getpid():5d} {time.strftime('%Y-%m-%dT%H:%M:%S%z')}  {text}"
        if self._file is not None:
            with self._lock:
                self._file.write(f"{text}\n")
                self._file.flush()
            if colour not in _ON_BOTH:
                return
        # Characters that this terminal can't show must not suppress the message.
        encoding = self._stream.encoding or "ascii"
        text = text.encode(encoding, "backslashreplace").decode(encoding)
        if self._coloured and colour:
            text = f"\033[{colour}m{text}\033[0m"
        with self._lock:
            self.show_running(())
            if self._display is not None and self._display.is_up:
                self._display.print(text)
                return
            self._stream.write(f"{text}\n")
            self._stream.flush()


class Transfer:
    """A transfer that shows no progress."""

    def advance(self, size: int) -> None:
        """Take note that ``size`` more bytes have been moved."""

    def end(self) -> None:
        """Take note that the transfer is complete, or given up."""


class _DrawnTransfer(Transfer):
    """A transfer with a line on the terminal; if it moved ``least`` bytes, a last line stays."""

    def __init__(
        self, report: Report, display: Display, text: str, total: int | None, least: int
    ) -> None:
        self._report = report
        self._display = display
        self._lock = report._lock
        self._text = text
        self._least = max(least, total or 0) if least == 1 else least
        self._moved = 0
        self._start = time.monotonic()
        self._task = display.add(text, total)

    def advance(self, size: int) -> None:
        with self._lock:
            self._moved += size
            self._display.advance(self._task, size)

    def give_up(self) -> None:
        """Leave no line."""
        with self._lock:
            self._display.remove(self._task)

    def end(self) -> None:
        self.give_up()
        if self._moved >= self._least:
            seconds = time.monotonic() - self._start
            self._report.info(f"{self._text}: {human_size(self._moved)} in {seconds:.1f} s")
